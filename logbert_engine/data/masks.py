"""Which events are hidden from the model: in training at random, in scoring each exactly once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.batches import Batch
from logbert_engine.data.hashing import uniform

_EVENT, _RATIO = 21, 22


def training_mask(
    batch: Batch, visit_B: NDArray[np.int64], ratio: tuple[float, float], *, seed: int, stage: int, epoch: int
) -> NDArray[np.bool_]:
    """Hide a share of each piece's events, the share drawn for the piece between two bounds.

    At least one event of each piece is hidden. A pure function of its arguments.

    Returns:
        True where an event is to be predicted, shape (B, T).
    """
    keys = (seed, stage, epoch, batch.sequence_B[:, None], batch.start_B[:, None], visit_B[:, None])
    low, high = ratio
    share_B1 = low + (high - low) * uniform(_RATIO, *keys)
    draw_BT = uniform(_EVENT, *keys, np.arange(batch.ids_BT.shape[1])[None, :])
    draw_BT = np.where(batch.events_BT, draw_BT, 2.0)
    hidden = draw_BT < share_B1
    hidden[np.arange(len(hidden)), draw_BT.argmin(axis=1)] = True
    return hidden & batch.events_BT


def complementary_masks(events_BT: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Masks that together hide each event exactly once: every ``count``-th event in turn.

    They depend on positions alone, so a session's score does not depend on its neighbours in a batch.

    Returns:
        Shape (count, B, T).
    """
    nth_BT = np.cumsum(events_BT, axis=1) - 1
    masks: NDArray[np.bool_] = events_BT[None] & (nth_BT[None] % count == np.arange(count)[:, None, None])
    return masks
