"""Scores of the sessions of a store: surprisals of distinct sequences, then a score each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from logbert_engine.data.batches import pieces_of
from logbert_engine.data.store import Store
from logbert_engine.detection.calibration import anomaly_scores
from logbert_engine.models.checkpoint import ModelRecord
from logbert_engine.models.encoder import MaskedModel, longest_input
from logbert_engine.models.surprisal import Scorer, Surprisals
from logbert_engine.models.vocabulary import UNK
from logbert_engine.protocol.errors import CheckpointError

EXPECTED = 5
"""Likeliest events kept for each position."""
MOST_UNKNOWN = 0.5
"""Share of events that a checkpoint may not know before it counts as one of other logs."""


@dataclass(frozen=True)
class StoreScores:
    """Every distinct sequence of a store, scored. Arrays over sequences align with the store's."""

    surprisals: Surprisals
    mean: NDArray[np.float64]
    """Mean surprisal, nats."""
    score: NDArray[np.float64]
    """Robust z."""
    unseen: NDArray[np.int64]
    """Events that training never saw."""


def check_vocabulary(record: ModelRecord, store: Store, *, allow_unknown: bool) -> None:
    """Refuse a checkpoint that was plainly trained on other logs.

    Raises:
        CheckpointError: it knows less than half of the events that occur.
    """
    unknown = record.vocabulary.lookup(store.events) == UNK
    occurs = np.bincount(store.tokens, minlength=len(store.events))
    share = float(occurs[unknown].sum() / max(1, occurs.sum()))
    if share > MOST_UNKNOWN and not allow_unknown:
        raise CheckpointError(
            f"the checkpoint has another vocabulary: it does not know {share:.0%} of the events of this input "
            f"({int(unknown.sum())} of {len(unknown)} event ids). Use a checkpoint trained on these logs, "
            "or --allow-unknown to score them all the same."
        )


def score_store(
    model: MaskedModel,
    record: ModelRecord,
    store: Store,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> StoreScores:
    """Score every distinct sequence of a store.

    An event that training never saw has at least the highest surprisal that a calibration event had: a model
    cannot be trusted to be surprised by what it has no row for.

    Raises:
        CheckpointError: the checkpoint has no calibration.
    """
    if record.calibration is None:
        raise CheckpointError(
            "the checkpoint has no calibration; use a best_model.pt or epoch file of a run."
        )
    everything = np.arange(store.n_sessions, dtype=np.int64)
    pieces = pieces_of(store, everything, record.room or longest_input(model))
    scorer = Scorer(model.to(device), record.vocabulary, store, device, top=EXPECTED)
    found = scorer.score(pieces, progress)
    unknown = scorer.unknown(found)
    found.values[unknown] = np.maximum(found.values[unknown], record.calibration.highest_event)
    mean = found.means()
    return StoreScores(
        surprisals=found,
        mean=mean,
        score=anomaly_scores(record.calibration, mean),
        unseen=np.add.reduceat(unknown.astype(np.int64), store.offsets[:-1]),
    )
