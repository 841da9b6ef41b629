from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.data.sampling import BLOCKS, pick, split, stage_sample
from logbert_engine.presets.types import Data

RATIOS = st.floats(0.001, 1.0)
SEEDS = st.integers(0, 2**63)


@given(st.integers(1, 400), SEEDS, st.permutations([0.1, 0.2, 0.35, 0.5, 0.8, 1.0]))
def test_a_stage_holds_every_smaller_one_whatever_is_drawn_first(
    sessions: int, seed: int, ratios: list[float]
) -> None:
    train = np.arange(sessions, dtype=np.int64) * 3
    drawn = {ratio: stage_sample(train, ratio, seed) for ratio in ratios}
    for smaller, larger in itertools.pairwise(sorted(ratios)):
        assert set(drawn[smaller].tolist()) <= set(drawn[larger].tolist())
    assert drawn[1.0].tolist() == train.tolist()


@given(st.integers(1, 400), RATIOS, SEEDS)
def test_a_stage_has_its_share_of_the_sessions_each_once_in_order_of_time(
    sessions: int, ratio: float, seed: int
) -> None:
    drawn = stage_sample(np.arange(sessions, dtype=np.int64), ratio, seed)
    assert len(drawn) == max(1, round(sessions * ratio))
    assert np.all(np.diff(drawn) > 0)


def test_a_stage_draws_from_the_whole_span_of_time() -> None:
    drawn = stage_sample(np.arange(10_000, dtype=np.int64), 0.1, 1337)
    tenths = np.bincount(drawn // 1000, minlength=10)
    assert tenths.min() > 60
    assert tenths.max() < 140


def test_another_seed_draws_other_sessions() -> None:
    train = np.arange(1000, dtype=np.int64)
    shared = np.intersect1d(stage_sample(train, 0.1, 1), stage_sample(train, 0.1, 2))
    assert len(shared) < 40


@given(st.integers(2, 300), st.floats(0.01, 0.5), st.integers(1, 50), SEEDS)
def test_the_latest_sessions_are_held_out(sessions: int, share: float, most: int, seed: int) -> None:
    used = np.arange(sessions, dtype=np.int64) * 2 + 5
    divided = split(used, Data(valid_share=share, valid_most=most), seed)
    late = used[len(divided.train) :]
    assert divided.train.tolist() == used[: len(divided.train)].tolist()
    assert len(late) == max(1, min(round(sessions * share), sessions - 1))
    assert len(divided.valid) == min(most, len(late))
    assert set(divided.valid.tolist()) <= set(late.tolist())
    assert divided.train.max() < divided.valid.min()


@given(st.integers(2, 3000), st.floats(0.01, 0.5), SEEDS)
def test_blocks_over_time_are_held_out_whole(sessions: int, share: float, seed: int) -> None:
    used = np.arange(sessions, dtype=np.int64) * 2 + 5
    divided = split(used, Data(valid_share=share, valid_most=10_000, hold_out="spread"), seed)
    assert np.sort(np.concatenate((divided.train, divided.valid))).tolist() == used.tolist()
    assert len(divided.train) >= 1
    assert len(divided.valid) >= 1
    block = -(-sessions // min(sessions, BLOCKS))
    assert abs(len(divided.valid) - sessions * share) <= block
    held = np.isin(used, divided.valid)
    begins = np.flatnonzero(np.diff(np.concatenate(([False], held)).astype(np.int8)) > 0)
    assert len(begins) <= len(divided.valid) // (sessions // min(sessions, BLOCKS))


def test_blocks_lie_in_every_part_of_the_time() -> None:
    divided = split(np.arange(20_000, dtype=np.int64), Data(valid_share=0.2, hold_out="spread"), 1337)
    assert np.bincount(divided.valid // 4000, minlength=5).min() > 200


@given(st.integers(2, 1000), RATIOS, SEEDS)
def test_a_run_uses_its_share_and_never_too_few_to_hold_one_out(
    sessions: int, ratio: float, seed: int
) -> None:
    used = pick(sessions, ratio, seed)
    assert len(used) == max(2, round(sessions * ratio))
    assert np.all(np.diff(used) > 0)
    assert 0 <= used.min() <= used.max() < sessions


def test_which_sessions_a_run_uses_and_which_a_stage_draws_are_independent_draws() -> None:
    used = pick(20_000, 0.5, 1337)
    first = stage_sample(used, 0.1, 1337)
    again = pick(20_000, 0.05, 1337)
    assert len(np.intersect1d(first, again)) < 200  # the same draw twice would share all 1,000


@pytest.mark.parametrize("seed", [0, 1337])
def test_samples_never_change(seed: int) -> None:
    golden = {0: [18, 19, 22, 28, 30, 32, 33, 34], 1337: [1, 7, 12, 18, 25, 30, 31, 37]}
    assert stage_sample(np.arange(40, dtype=np.int64), 0.2, seed).tolist() == golden[seed]
