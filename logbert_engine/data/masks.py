"""Which events are hidden from the model: in training at random, in scoring each exactly once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.batches import NEXT, Batch
from logbert_engine.data.hashing import uniform

MASKS = 4
"""Complementary masks in scoring; each hides a quarter of the events, a share that training sees too."""
TOKENS_AT_ONCE = 8192
"""That are scored at once."""
_EVENT, _RATIO, _ROTATION = 21, 22, 23


def training_mask(
    batch: Batch, visit_B: NDArray[np.int64], ratio: tuple[float, float], *, seed: int, stage: int, epoch: int
) -> NDArray[np.bool_]:
    """What of each piece is to be predicted: a share of its targets, drawn for the piece between two bounds.

    At least one target of each piece. In the next view all are, as nothing is hidden for that. A pure function of
    its arguments.

    Returns:
        True where an event is to be predicted, shape (B, T).
    """
    keys = (seed, stage, epoch, batch.sequence_B[:, None], batch.start_B[:, None], visit_B[:, None])
    low, high = ratio
    share_B1 = low + (high - low) * uniform(_RATIO, *keys)
    draw_BT = uniform(_EVENT, *keys, np.arange(batch.ids_BT.shape[1])[None, :])
    draw_BT = np.where(batch.targets_BT, draw_BT, 2.0)
    hidden = draw_BT < share_B1
    hidden[np.arange(len(hidden)), draw_BT.argmin(axis=1)] = True
    wanted: NDArray[np.bool_] = (hidden | (batch.view_B == NEXT)[:, None]) & batch.targets_BT
    return wanted


def complementary_masks(targets_BT: NDArray[np.bool_], count: int, rotation: int = 0) -> NDArray[np.bool_]:
    """Masks that together hide each target exactly once.

    They depend on positions alone, so a session's score does not depend on its neighbours in a batch.

    Args:
        targets_BT: what is to be hidden.
        count: of masks.
        rotation: another division of the targets among the masks for each number: 0 takes every ``count``-th in
            turn, others deal them out in an order that is drawn once and for all.

    Returns:
        Shape (count, B, T).
    """
    nth_BT = np.cumsum(targets_BT, axis=1) - 1
    if rotation:
        draw_BT = np.where(targets_BT, uniform(_ROTATION, rotation, nth_BT), 2.0)
        nth_BT = np.argsort(np.argsort(draw_BT, axis=1, kind="stable"), axis=1)
    masks: NDArray[np.bool_] = targets_BT[None] & (nth_BT[None] % count == np.arange(count)[:, None, None])
    return masks
