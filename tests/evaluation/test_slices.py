from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.evaluation.detections import sample_of
from logbert_engine.evaluation.slices import slices_of


def test_each_slice_holds_what_it_says_and_counts_the_rest() -> None:
    sample = sample_of(
        np.array([0, 0, 1, 0, 1, 1], dtype=np.int8),
        np.array([5, 5, 5, 9, 7, 7]),
        unseen=np.array([False, False, False, True, True, True]),
        time=np.arange(6.0),
        normal_weight=33.6,
    )
    whole, unique, unseen, seen = slices_of(sample)
    assert whole.sample is sample
    assert whole.excluded == {}
    assert unique.rows.tolist() == [0, 2, 3, 4]  # sequence 5 once as normal and once as anomaly
    assert unique.excluded == {"repeats of a session of the same label": 2}
    assert unique.sample.weight.tolist() == [1.0] * 4
    assert np.isnan(unique.sample.time).all()
    assert unseen.rows.tolist() == [3, 4, 5]
    assert unseen.sample.weight.tolist() == [33.6, 1.0, 1.0]
    assert unseen.excluded == {"without an unseen event": 3}
    assert seen.rows.tolist() == [0, 1, 2]


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 5), st.booleans()), max_size=40))
def test_no_session_is_lost_without_being_counted(rows: list[tuple[int, int, bool]]) -> None:
    sample = sample_of(
        np.array([row[0] for row in rows], dtype=np.int8),
        np.array([row[1] for row in rows], dtype=np.int64),
        unseen=np.array([row[2] for row in rows], dtype=np.bool_),
    )
    slices = slices_of(sample)
    for part in slices:
        assert len(part.rows) + sum(part.excluded.values()) == len(sample)
        assert len(part.sample) == len(part.rows)
    assert len(slices[1].rows) == len({row[:2] for row in rows})
    assert sorted([*slices[2].rows, *slices[3].rows]) == list(range(len(rows)))
