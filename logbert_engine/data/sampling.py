"""Which sessions a run uses, which of them are held out, and which each stage draws: pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.hashing import mix

_POOL, _STAGE, _VALID = 1, 2, 3


@dataclass(frozen=True)
class Split:
    """Session indices of a store (which is in time order)."""

    train: NDArray[np.int64]
    """What stages draw from; all earlier than ``valid``."""
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


def split(sessions: NDArray[np.int64], valid_share: float, valid_most: int, seed: int) -> Split:
    """Hold out the latest share of the sessions; of more than ``valid_most``, a fixed sample."""
    held_out = min(max(1, round(len(sessions) * valid_share)), len(sessions) - 1)
    train, late = sessions[: len(sessions) - held_out], sessions[len(sessions) - held_out :]
    return Split(train=train, valid=_lowest(late, valid_most, _VALID, seed))


def stage_sample(train: NDArray[np.int64], ratio: float, seed: int) -> NDArray[np.int64]:
    """The sessions of a stage: nested, so a stage's sample holds all of every smaller one's."""
    return _lowest(train, max(1, round(len(train) * ratio)), _STAGE, seed)
