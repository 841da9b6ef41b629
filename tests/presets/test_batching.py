"""The batch follows the share that a stage trains on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.presets.batching import batch_for, micro_batch_for, rounds_of, within_tokens
from logbert_engine.presets.stages import plan_stages
from logbert_engine.presets.types import Stages, Training

GROWING = Training(batch=32, batch_by_ratio=((0.1, 2), (0.3, 4), (0.7, 8)))


def test_without_a_list_every_stage_has_the_batch() -> None:
    assert [batch_for(Training(batch=6), ratio) for ratio in (0.01, 0.5, 1.0)] == [6, 6, 6]


@pytest.mark.parametrize(
    ("ratio", "batch"), [(0.01, 2), (0.1, 2), (0.29, 2), (0.3, 4), (0.69, 4), (0.7, 8), (1.0, 8)]
)
def test_the_largest_share_not_above_the_stages_wins(ratio: float, batch: int) -> None:
    assert batch_for(GROWING, ratio) == batch


def test_a_share_that_is_a_sum_of_steps_meets_its_entry() -> None:
    assert batch_for(GROWING, 0.1 + 0.1 + 0.1 - 1e-12) == 4
    ratios = [stage.ratio for stage in plan_stages(Stages())]
    assert [batch_for(GROWING, ratio) for ratio in ratios] == [2, 2, 4, 4, 4, 4, 8, 8, 8, 8]


@pytest.mark.parametrize(
    ("micro_batch", "ratio", "cap", "expected"),
    [
        (0, 0.1, 0, 2),
        (0, 1.0, 0, 8),
        (4, 0.1, 0, 2),
        (4, 1.0, 0, 4),
        (0, 1.0, 3, 3),
        (4, 1.0, 1, 1),
        (4, 0.1, 7, 2),
    ],
)
def test_the_micro_batch_is_above_neither_the_batch_nor_the_cap(
    micro_batch: int, ratio: float, cap: int, expected: int
) -> None:
    training = Training(batch_by_ratio=GROWING.batch_by_ratio, micro_batch=micro_batch)
    assert micro_batch_for(training, ratio, cap) == expected


shares = st.floats(min_value=0.001, max_value=1.0)


@given(
    st.dictionaries(shares, st.integers(1, 512), min_size=1, max_size=8),
    shares,
    st.integers(0, 64),
    st.integers(0, 64),
)
def test_any_list_gives_one_of_its_batches_and_a_micro_batch_within_it(
    batches: dict[float, int], ratio: float, micro_batch: int, cap: int
) -> None:
    training = Training(batch_by_ratio=tuple(sorted(batches.items())), micro_batch=micro_batch)
    batch = batch_for(training, ratio)
    assert batch in batches.values()
    assert 1 <= micro_batch_for(training, ratio, cap) <= min(batch, micro_batch or batch, cap or batch)


@pytest.mark.parametrize(
    ("steps", "epochs", "passes"),
    [(5000, 1, 1), (4000, 1, 1), (1000, 4, 1), (400, 10, 1), (100, 20, 2), (34, 20, 6), (1, 20, 200)],
)
def test_a_stage_has_about_as_many_steps_as_are_wanted(steps: int, epochs: int, passes: int) -> None:
    """Many sessions are gone through in fewer epochs, few several times an epoch."""
    assert rounds_of(Training(stage_steps=4000), 20, steps) == (epochs, passes)


def test_without_a_number_of_steps_epochs_alone_count() -> None:
    assert rounds_of(Training(), 7, 100_000) == rounds_of(Training(), 7, 1) == (7, 1)


@given(st.integers(1, 10_000), st.integers(1, 50), st.integers(1, 10_000))
def test_steps_are_missed_by_less_than_half(wanted: int, most: int, steps: int) -> None:
    epochs, passes = rounds_of(Training(stage_steps=wanted), most, steps)
    assert 1 <= epochs <= most
    if wanted >= steps:
        assert wanted / 2 <= epochs * passes * steps <= 2 * wanted


@pytest.mark.parametrize(
    ("tokens", "batch"), [(4.0, 48), (21.3, 48), (22.0, 47), (64.0, 16), (256.0, 4), (900.0, 1), (5000.0, 1)]
)
def test_of_long_sessions_a_step_takes_fewer(tokens: float, batch: int) -> None:
    assert within_tokens(Training(batch=48, batch_tokens=1024), 48, tokens) == batch
    assert within_tokens(Training(batch=48), 48, tokens) == 48
