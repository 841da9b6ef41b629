from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.data.hashing import mix, uniform

KEYS = st.integers(0, 2**64 - 1)
WORD = 2**64 - 1


def by_hand(*keys: int) -> int:
    """The same in Python's own integers."""
    state = 0
    for key in keys:
        state = (state * 0xBF58476D1CE4E5B9 + key + 0x9E3779B97F4A7C15) & WORD
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & WORD
        state ^= state >> 31
    return state


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ((0,), 0xE220A8397B1DCDAF),
        ((1,), 0x910A2DEC89025CC1),
        ((2, 1337), 0x1CEFB759D2520D17),
        ((11, 1337, 1, 1, 42, 0, 0), 0x7759CFC1362E9486),
    ],
)
def test_the_values_never_change(keys: tuple[int, ...], expected: int) -> None:
    assert int(mix(*keys)) == expected


@given(st.lists(KEYS, min_size=1, max_size=6))
def test_it_is_splitmix_applied_once_a_key(keys: list[int]) -> None:
    assert int(mix(*keys)) == by_hand(*keys)


@given(st.lists(KEYS, min_size=1, max_size=20), KEYS)
def test_an_array_of_keys_gives_what_each_key_gives_alone(keys: list[int], seed: int) -> None:
    together = mix(seed, np.array(keys, dtype=np.uint64))
    assert together.tolist() == [int(mix(seed, key)) for key in keys]


def test_keys_broadcast_against_one_another() -> None:
    grid = mix(1, np.arange(3)[:, None], np.arange(4)[None, :])
    assert grid.shape == (3, 4)
    assert int(grid[2, 1]) == int(mix(1, 2, 1))


def test_the_type_of_an_integer_key_does_not_matter() -> None:
    values = [mix(np.arange(9, dtype=kind)).tolist() for kind in (np.int64, np.uint16, np.int32, np.uint64)]
    assert all(value == values[0] for value in values)


def test_the_order_of_keys_matters() -> None:
    assert int(mix(1, 2)) != int(mix(2, 1))
    assert int(mix(0)) != int(mix(0, 0))


def test_numbers_lie_in_the_unit_interval_and_are_spread_evenly() -> None:
    drawn = uniform(3, 1337, np.arange(200_000))
    assert drawn.min() >= 0.0
    assert drawn.max() < 1.0
    counts = np.bincount((drawn * 64).astype(int), minlength=64)
    chi_square = float(((counts - counts.mean()) ** 2 / counts.mean()).sum())
    assert chi_square < 110  # 63 degrees of freedom: above 103 in 1 of 1,000


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_neighbouring_keys_in_any_place_give_unrelated_numbers(place: int) -> None:
    keys: list[np.ndarray[tuple[int], np.dtype[np.int64]] | int] = [5, 1337, 2, 7]
    keys[place] = np.arange(50_000)
    drawn = uniform(*keys)
    assert abs(float(np.corrcoef(drawn[:-1], drawn[1:])[0, 1])) < 0.02
    assert len(np.unique(drawn)) == len(drawn)


@given(KEYS, st.integers(0, 63))
def test_one_bit_of_a_key_changes_about_half_of_the_bits(key: int, bit: int) -> None:
    changed = int(mix(9, key)) ^ int(mix(9, key ^ (1 << bit)))
    assert 8 <= changed.bit_count() <= 56
