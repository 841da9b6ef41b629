"""Random numbers as a pure function of what they are for: no generator, no state, nothing to replay.

Order, masks and samples follow from ``(seed, stage, epoch, session)`` alone, so a resumed run draws exactly
what an uninterrupted one would have drawn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def mix(*keys: int | NDArray[np.generic]) -> NDArray[np.uint64]:
    """64 well-mixed bits for each combination of keys; arrays broadcast.

    Source: the SplitMix64 finalizer (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
    OOPSLA 2014), applied once a key.
    """
    state = np.zeros((), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for key in keys:
            state = state * _FIRST + np.asarray(key).astype(np.uint64) + _GOLDEN
            state = (state ^ (state >> np.uint64(30))) * _FIRST
            state = (state ^ (state >> np.uint64(27))) * _SECOND
            state = state ^ (state >> np.uint64(31))
    return state


def uniform(*keys: int | NDArray[np.generic]) -> NDArray[np.float64]:
    """A number in [0, 1) for each combination of keys; arrays broadcast."""
    return (mix(*keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53
