"""Which sessions a run uses, which of them are held out, and which each stage draws: pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.hashing import mix
from logbert_engine.presets.types import Data

BLOCKS = 200
"""Parts of equal size in time order, of which some are held out whole: neighbours in time are much alike."""
CENTRE_SESSIONS = 1000
"""From which a centre of ordinary sessions is computed: enough for a mean."""
_POOL, _STAGE, _VALID, _BLOCK, _CENTRE = 1, 2, 3, 4, 5


@dataclass(frozen=True)
class Split:
    """Session indices of a store (which is in time order)."""

    train: NDArray[np.int64]
    """What stages draw from."""
    valid: NDArray[np.int64]
    """Held out from training, for validation and calibration; the same in every stage."""


def _lowest(sessions: NDArray[np.int64], count: int, *keys: int) -> NDArray[np.int64]:
    """The ``count`` sessions of lowest hash, in their order. A larger count keeps all of a smaller one's."""
    if count >= len(sessions):
        return sessions
    rank = np.argsort(mix(*keys, sessions), kind="stable")
    return np.sort(sessions[rank[:count]])


def pick(n_sessions: int, sample_ratio: float, seed: int) -> NDArray[np.int64]:
    """The share of all sessions that a run uses; at least two, so that one can be held out."""
    everything = np.arange(n_sessions, dtype=np.int64)
    return _lowest(everything, max(min(2, n_sessions), round(n_sessions * sample_ratio)), _POOL, seed)


def split(sessions: NDArray[np.int64], data: Data, seed: int) -> Split:
    """Hold out a share of the sessions for validation and calibration; of very many, a fixed sample.

    The latest ones tell how the model will do on logs to come, and what they hold of new events makes alarms on
    such events rare. Blocks spread over time know all times as training does, so that a new event among the
    sessions to come stands out; logs that change later are then found by how much they differ, not beforehand.

    Args:
        sessions: indices of a store, which is in time order.
        data: how many to hold out, and which.
        seed: of the draws.
    """
    held_out = min(max(1, round(len(sessions) * data.valid_share)), len(sessions) - 1)
    if data.hold_out == "latest":
        first = len(sessions) - held_out
        return Split(train=sessions[:first], valid=_lowest(sessions[first:], data.valid_most, _VALID, seed))
    blocks = part_of(np.arange(len(sessions)), len(sessions))
    drawn = np.argsort(mix(_BLOCK, seed, np.arange(blocks[-1] + 1)), kind="stable")
    of_each = np.bincount(blocks)[drawn]
    enough = max(1, int(np.searchsorted(np.cumsum(of_each), held_out, side="right")))
    held = np.isin(blocks, drawn[:enough])
    return Split(train=sessions[~held], valid=_lowest(sessions[held], data.valid_most, _VALID, seed))


def part_of(sessions: NDArray[np.int64], n_sessions: int) -> NDArray[np.int64]:
    """In which of ``BLOCKS`` parts of equal size in time order each session lies.

    Args:
        sessions: indices of a store, which is in time order.
        n_sessions: of the store.
    """
    return sessions * min(n_sessions, BLOCKS) // n_sessions


def stage_sample(train: NDArray[np.int64], ratio: float, seed: int) -> NDArray[np.int64]:
    """The sessions of a stage: nested, so a stage's sample holds all of every smaller one's."""
    return _lowest(train, max(1, round(len(train) * ratio)), _STAGE, seed)


def centre_sample(train: NDArray[np.int64], ratio: float, seed: int) -> NDArray[np.int64]:
    """At most ``CENTRE_SESSIONS`` sessions of a stage."""
    return _lowest(stage_sample(train, ratio, seed), CENTRE_SESSIONS, _CENTRE, seed)
