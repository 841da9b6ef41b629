"""Scores of the sessions of a store: surprisals of distinct sequences, then a score each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from logbert_engine.data.batches import pieces_of
from logbert_engine.data.store import Store
from logbert_engine.detection.calibration import anomaly_scores
from logbert_engine.detection.evidence import Evidence, evidence_of, final_p, statistics_of
from logbert_engine.detection.rules import Findings, Rate, Rules
from logbert_engine.detection.teaching import Taught, learn, passed_over
from logbert_engine.models.checkpoint import Calibration, ModelRecord
from logbert_engine.models.encoder import MaskedModel, longest_input
from logbert_engine.models.surprisal import Scorer, Surprisals, raise_unknown
from logbert_engine.models.vocabulary import UNK
from logbert_engine.presets.types import View
from logbert_engine.protocol.errors import CheckpointError

EXPECTED = 5
"""Likeliest events kept for each position."""
MOST_UNKNOWN = 0.5
"""Share of events that a checkpoint may not know before it counts as one of other logs."""


@dataclass(frozen=True)
class StoreScores:
    """Every distinct sequence of a store, scored. Arrays over sequences align with the store's."""

    surprisals: Mapping[View, Surprisals]
    """Of each event, in each view that the model has."""
    mean: NDArray[np.float64]
    """Mean surprisal, nats, over events and views."""
    score: NDArray[np.float64]
    """Robust z."""
    findings: Findings
    """Of the rules."""
    evidence: Evidence
    p: NDArray[np.float64]
    """Share of ordinary sessions with evidence as strong."""


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
    taught: Taught = (),
) -> StoreScores:
    """Score every distinct sequence of a store.

    Args:
        model: to score with.
        record: of the model.
        store: what is scored.
        device: where.
        progress: called with sequences done and all, over the views.
        taught: sequences that people judged normal.

    Raises:
        CheckpointError: the checkpoint has no calibration.
    """
    return weigh(record, store, surprisals_of(model, record, store, device, progress), taught)


def surprisals_of(
    model: MaskedModel,
    record: ModelRecord,
    store: Store,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> dict[View, Surprisals]:
    """The surprisal of every event of a store, in each view that the model has.

    An event that training never saw has at least the highest surprisal that a calibration event had: a model
    cannot be trusted to be surprised by what it has no row for.

    Raises:
        CheckpointError: the checkpoint has no calibration.
    """
    calibration = _calibration(record)
    everything = np.arange(store.n_sessions, dtype=np.int64)
    pieces = pieces_of(store, everything, record.room or longest_input(model))
    scorer = Scorer(
        model.to(device),
        record.vocabulary,
        store,
        device,
        rotations=record.rotations,
        centres=record.centres,
        top=EXPECTED,
    )
    found: dict[View, Surprisals] = {}
    for nth, view in enumerate(record.views):

        def say(done: int, total: int, nth: int = nth) -> None:
            if progress is not None:
                progress(nth * total + done, len(record.views) * total)

        found[view] = scorer.score(pieces, view, say)
        raise_unknown(found[view], scorer.unknown(found[view]), calibration.highest[view])
    return found


def weigh(
    record: ModelRecord, store: Store, found: Mapping[View, Surprisals], taught: Taught = ()
) -> StoreScores:
    """What the surprisals of a store's sequences, and the rules, come to.

    Args:
        record: of the model.
        store: that was scored.
        found: view to surprisals.
        taught: sequences that people judged normal: their events are no surprise any more, and the rules know them.

    Raises:
        CheckpointError: the checkpoint has no calibration.
    """
    calibration = _calibration(record)
    assert record.normals is not None
    lesson = learn(record.vocabulary, store.events, record.normals, taught)
    tokens = lesson.lookup[store.tokens].astype(np.int32)
    found = {view: passed_over(each, tokens >= lesson.first_taught) for view, each in found.items()}
    mean = np.mean([surprisals.means() for surprisals in found.values()], axis=0)
    findings = Rules(lesson.normals).find(tokens, np.asarray(store.offsets))
    rates = {rule: Rate(*counts) for rule, counts in calibration.rules.items()}
    evidence = evidence_of(statistics_of(found), findings, calibration.statistics, rates)
    return StoreScores(
        surprisals=found,
        mean=mean,
        score=anomaly_scores(calibration, mean),
        findings=findings,
        evidence=evidence,
        p=final_p(np.array(calibration.evidence), evidence),
    )


def _calibration(record: ModelRecord) -> Calibration:
    if record.calibration is None or record.normals is None:
        raise CheckpointError(
            "the checkpoint has no calibration; use a best_model.pt or epoch file of a run."
        )
    return record.calibration
