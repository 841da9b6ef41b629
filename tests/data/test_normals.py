from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.data.normals import Normals, bag_numbers

SESSIONS = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=6), min_size=1, max_size=12)


def normals(sessions: Sequence[Sequence[int]], counts: Sequence[int]) -> Normals:
    return Normals(
        tokens=np.array([event for session in sessions for event in session], dtype=np.int32),
        offsets=np.concatenate(([0], np.cumsum([len(session) for session in sessions]))).astype(np.int64),
        counts=np.array(counts, dtype=np.int64),
    )


@given(SESSIONS)
def test_sequences_have_the_same_number_where_they_hold_the_same_events_as_often(
    sessions: list[list[int]],
) -> None:
    laid = normals(sessions, [1] * len(sessions))
    numbers = bag_numbers(laid.tokens, laid.offsets).tolist()
    for session, number in zip(sessions, numbers, strict=True):
        for other, its in zip(sessions, numbers, strict=True):
            assert (number == its) == (sorted(session) == sorted(other))


@given(SESSIONS, SESSIONS)
def test_ordinary_sessions_and_others_stand_one_behind_the_other(
    sessions: list[list[int]], more: list[list[int]]
) -> None:
    counts = list(range(1, len(sessions) + 1)), list(range(7, len(more) + 7))
    both = normals(sessions, counts[0]).with_more(normals(more, counts[1]))
    expected = normals([*sessions, *more], [*counts[0], *counts[1]])
    for name in ("tokens", "offsets", "counts"):
        assert getattr(both, name).dtype == getattr(expected, name).dtype
        assert getattr(both, name).tolist() == getattr(expected, name).tolist()
