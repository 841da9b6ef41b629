"""Rare events that training shows as unknown, so that a model learns what to make of an event it has no row for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.batches import BAG, NEXT, Batch
from logbert_engine.data.hashing import uniform

_UNKNOWN = 24


def replacement_odds(count_V: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """How likely each event is shown as unknown: alpha / (alpha + count); 0 for what does not occur.

    Of the occurrences of any one event about alpha are replaced in a pass through the sessions, so that frequent
    events lose nothing, and an event that occurs once stands for those to come.

    Args:
        count_V: occurrences of each model id in the training sample.
        alpha: 0: nothing is replaced; 0.25 in the source.

    Source: Kiperwasser and Goldberg, Simple and Accurate Dependency Parsing Using Bidirectional LSTM Feature
    Representations, TACL 2016 (word dropout, after Iyyer et al., ACL 2015); Dyer et al., ACL 2015, replace
    singletons alone.
    """
    odds: NDArray[np.float64] = np.where(count_V > 0, alpha / np.maximum(alpha + count_V, 1e-300), 0.0)
    return odds


def show_as_unknown(
    batch: Batch,
    hidden_BT: NDArray[np.bool_],
    visit_B: NDArray[np.int64],
    odds_V: NDArray[np.float64],
    *,
    seed: int,
    stage: int,
    epoch: int,
) -> tuple[Batch, NDArray[np.bool_]]:
    """Draw which events of a batch the model is shown as unknown.

    Only what it is shown changes: an event that is to be predicted is predicted as the one that it was. Predicted as
    unknown it would teach that unknown events are to be expected, and left out it would take from rare events what
    little there is to learn them from; what surprise an unknown event itself is, is not read off the model. In the
    order and bag views an event that is hidden stays hidden. In the bag view unknown events come first, as they do
    where sessions are scored. A pure function of its arguments; what is drawn for a piece does not depend on its
    neighbours in the batch.

    Args:
        batch: B pieces of T tokens.
        hidden_BT: what is to be predicted.
        visit_B: which visit of the epoch it is, as for ``training_mask``.
        odds_V: ``replacement_odds`` of each model id.
        seed: of the run.
        stage: its number.
        epoch: of the stage.

    Returns:
        The batch with ``unknown_BT``, and ``hidden_BT`` in its order.
    """
    keys = (seed, stage, epoch, batch.sequence_B[:, None], batch.start_B[:, None], visit_B[:, None])
    drawn_BT = uniform(_UNKNOWN, *keys, np.maximum(batch.place_BT, 0)) < odds_V[batch.ids_BT]
    covered_BT = hidden_BT & (batch.view_B != NEXT)[:, None]
    unknown_BT = drawn_BT & batch.events & ~covered_BT
    if not unknown_BT.any():
        return batch, hidden_BT
    moved = (batch.view_B == BAG)[:, None] & batch.events
    rank_BT = np.where(moved, np.where(unknown_BT, 1, 2), np.arange(batch.ids_BT.shape[1])[None, :] * 3)
    order_BT = np.argsort(rank_BT, axis=1, kind="stable")

    def sorted_by(values_BT: NDArray[Any]) -> NDArray[Any]:
        return np.take_along_axis(values_BT, order_BT, axis=1)

    turned = replace(
        batch,
        ids_BT=sorted_by(batch.ids_BT),
        place_BT=sorted_by(batch.place_BT),
        targets_BT=sorted_by(batch.targets_BT),
        unknown_BT=sorted_by(unknown_BT),
    )
    return turned, sorted_by(hidden_BT)
