"""Scores of the sessions of a store: surprisals of distinct sequences, then a score each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from logbert_engine.data.batches import pieces_of
from logbert_engine.data.hashing import mix
from logbert_engine.data.normals import Normals, bag_numbers
from logbert_engine.data.store import Store
from logbert_engine.detection.calibration import anomaly_scores
from logbert_engine.detection.evidence import (
    DEFAULT_BUDGET,
    Evidence,
    evidence_of,
    final_p,
    limit_of,
    statistics_of,
)
from logbert_engine.detection.nearest import Nearest
from logbert_engine.detection.rules import Findings, Rate, Rules
from logbert_engine.detection.teaching import Taught, learn, passed_over
from logbert_engine.evaluation.proportions import Span
from logbert_engine.models.checkpoint import Calibration, ModelRecord
from logbert_engine.models.encoder import MaskedModel, longest_input
from logbert_engine.models.surprisal import Scorer, Surprisals, raise_unknown
from logbert_engine.models.vocabulary import UNK
from logbert_engine.presets.types import View
from logbert_engine.protocol.errors import CheckpointError

EXPECTED = 5
"""Likeliest events kept for each position."""
_UNKNOWN = 51
NEARLY_ALL = 0.9
"""Share of a session's events that are unknown, and of the sessions of which that holds, above which a checkpoint
counts as one of other logs. Logs that have changed much keep below it, and ``detection.drift`` tells of them."""
Report = Callable[[str, int, int], None]
"""Told how far the scoring of an input is: phase, done, all."""


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
    alarms: NDArray[np.bool_]
    """Whether it alarms within the budget."""
    rate: NDArray[np.float64]
    """The share of ordinary sessions whose evidence alarms, in each sequence's calibration."""
    alike: NDArray[np.uint64]
    """A number that sequences share which are odd by the same: by the events that are unknown, else by how often each
    event occurs."""


def check_vocabulary(record: ModelRecord, store: Store, *, allow_unknown: bool) -> None:
    """Refuse a checkpoint that was plainly trained on other logs.

    Raises:
        CheckpointError: in nearly all sessions it knows hardly an event.
    """
    unknown = record.vocabulary.lookup(store.events) == UNK
    strange = np.add.reduceat(unknown[store.tokens].astype(np.int64), store.offsets[:-1])
    foreign = strange >= NEARLY_ALL * store.lengths
    share = float(store.counts[foreign].sum() / store.n_sessions)
    if share > NEARLY_ALL and not allow_unknown:
        raise CheckpointError(
            f"the checkpoint has another vocabulary: in {share:.0%} of the sessions of this input it knows hardly "
            f"an event ({int(unknown.sum())} of {len(unknown)} event ids are new to it). Use one trained on these "
            "logs; where they have changed since, --adapt; or --allow-unknown to score them all the same."
        )


def score_store(
    model: MaskedModel,
    record: ModelRecord,
    store: Store,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
    taught: Taught = (),
    budget: float = DEFAULT_BUDGET,
) -> StoreScores:
    """Score every distinct sequence of a store.

    Args:
        model: to score with.
        record: of the model.
        store: what is scored.
        device: where.
        progress: called with sequences done and all, over the views.
        taught: sequences that people judged normal.
        budget: share of ordinary sessions that may alarm.

    Raises:
        CheckpointError: the checkpoint has no calibration.
    """
    found = surprisals_of(model, record, store, device, progress)
    return Weighing(record, store, found, budget).scores(taught)


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


class Weighing:
    """Turns the surprisals of a store's sequences, and the rules, into scores; again as more is taught."""

    def __init__(
        self, record: ModelRecord, store: Store, found: Mapping[View, Surprisals], budget: float
    ) -> None:
        """Take what does not depend on what is taught.

        Args:
            record: of the model.
            store: that was scored.
            found: view to surprisals.
            budget: share of ordinary sessions that may alarm.

        Raises:
            CheckpointError: the checkpoint has no calibration.
        """
        self._calibration = _calibration(record)
        self.limit = limit_of(self._calibration, budget)
        assert record.normals is not None
        self._normals, self._vocabulary, self._store, self._found = (
            record.normals,
            record.vocabulary,
            store,
            found,
        )
        self._offsets = np.asarray(store.offsets)
        self._tokens = record.vocabulary.lookup(store.events)[store.tokens].astype(np.int32)
        self._nearest = Nearest(record.normals)
        self._distances = self._nearest.distances(self._tokens, self._offsets)

    @property
    def share(self) -> float:
        """Share of ordinary sessions that alarms, by the held-out ones."""
        return self.limit.share

    @property
    def held_out(self) -> int:
        """Ordinary sessions that this is by."""
        return self._calibration.sessions

    @property
    def span(self) -> Span:
        """Where that share lies, as far as the held-out sessions can tell."""
        return self.limit.span

    def scores(self, taught: Taught = ()) -> StoreScores:
        """What it all comes to.

        Args:
            taught: sequences that people judged normal: their events are no surprise any more, and the rules know
                them.
        """
        calibration = self._calibration
        lesson = learn(self._vocabulary, self._store.events, self._normals, taught)
        tokens = lesson.lookup[self._store.tokens].astype(np.int32)
        left_out = tokens >= lesson.first_taught
        found = {view: passed_over(each, left_out) for view, each in self._found.items()}
        mean = np.mean([surprisals.means() for surprisals in found.values()], axis=0)
        findings = Rules(lesson.normals).find(tokens, self._offsets)
        rates = {rule: Rate(*counts) for rule, counts in calibration.rules.items()}
        statistics = statistics_of(found, self._distances_with(lesson.taught, left_out))
        evidence = evidence_of(statistics, findings, calibration.statistics, rates)
        return StoreScores(
            surprisals=found,
            mean=mean,
            score=anomaly_scores(calibration, mean),
            findings=findings,
            evidence=evidence,
            p=final_p(calibration, evidence),
            alarms=self.limit.alarms(calibration, evidence),
            rate=np.full(len(mean), self.limit.rate),
            alike=self._alike(tokens),
        )

    def _alike(self, tokens: NDArray[np.int32]) -> NDArray[np.uint64]:
        found = bag_numbers(tokens, self._offsets)
        unknown = np.flatnonzero(tokens == UNK)
        if not len(unknown):
            return found
        owner = np.repeat(np.arange(len(found)), np.diff(self._offsets))[unknown]
        held = np.unique(np.stack((owner, self._store.tokens[unknown].astype(np.int64))), axis=1)
        numbers = np.zeros(len(found), dtype=np.uint64)
        with np.errstate(over="ignore"):
            np.add.at(numbers, held[0], mix(_UNKNOWN, held[1]))
        return np.where(np.isin(np.arange(len(found)), held[0]), numbers, found)

    def _distances_with(self, taught: Normals | None, left_out: NDArray[np.bool_]) -> NDArray[np.float64]:
        """[U] To the nearest of the ordinary sessions, or of what was taught; events that were taught may be passed
        over."""
        if taught is None:
            return self._distances
        found = self._nearest.distances(self._tokens, self._offsets, (taught.tokens, taught.offsets))
        rest = np.add.reduceat((~left_out).astype(np.int64), self._offsets[:-1])
        shorter = np.flatnonzero((rest > 0) & (rest < np.diff(self._offsets)))
        if len(shorter):
            kept = np.repeat(np.isin(np.arange(len(rest)), shorter), np.diff(self._offsets)) & ~left_out
            offsets = np.concatenate(([0], np.cumsum(rest[shorter])))
            without = self._nearest.distances(self._tokens[kept], offsets)
            found[shorter] = np.minimum(found[shorter], without)
        return np.minimum(self._distances, found)


def _calibration(record: ModelRecord) -> Calibration:
    if record.calibration is None or record.normals is None:
        raise CheckpointError(
            "the checkpoint has no calibration; use a best_model.pt or epoch file of a run."
        )
    return record.calibration
