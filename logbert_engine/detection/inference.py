"""Inference: session files and a checkpoint in, ``results.json`` out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.contract import EventId
from logbert_engine.data.reading import session_files
from logbert_engine.data.store import Store, open_store, unused_in_words
from logbert_engine.detection.adapting import SMALLEST_BLOCK, Adapted, adapt, enough
from logbert_engine.detection.calibration import false_alarm_rate
from logbert_engine.detection.comparing import Comparing
from logbert_engine.detection.drift import drift_of
from logbert_engine.detection.evidence import DEFAULT_BUDGET, ranking
from logbert_engine.detection.explaining import Explained, explain
from logbert_engine.detection.rules import Rate
from logbert_engine.detection.scoring import Report, StoreScores, Weighing, check_vocabulary, surprisals_of
from logbert_engine.detection.tails import tails_in_words
from logbert_engine.evaluation.proportions import Span
from logbert_engine.models.checkpoint import ModelRecord, open_checkpoint
from logbert_engine.models.device import choose
from logbert_engine.presets.types import Device
from logbert_engine.protocol.errors import CheckpointError, DataError
from logbert_engine.protocol.locations import resolved_path
from logbert_engine.protocol.results import SessionResult
from logbert_engine.rundir.atomic import only_over, replacing, write_file
from logbert_engine.triage.of_run import verdicts_for
from logbert_engine.triage.verdicts import Verdicts

DETAILED_RANKS = 1000
"""The first of the list keep every position, as all alarms do."""
BESIDE_RANKS = 200
"""The first of the list are laid beside the nearest ordinary session."""
POSITIONS_DETAILED, POSITIONS_BRIEF = 12, 1


class Adaptation(msgspec.Struct, kw_only=True, frozen=True):
    """What an inference learnt from its input before it judged it."""

    blocks: int
    """Parts over time, one after another; 0 where there were too few sessions to learn from."""
    needed: int
    """Sessions that it takes."""
    learnt: list[EventId]
    """Events that are ordinary now."""
    alarms_before: int
    """Sessions that alarm by the checkpoint as it is."""


class InferenceSummary(msgspec.Struct, kw_only=True, frozen=True):
    """What an inference found; also ``results.meta.json``, with the templates beside it."""

    checkpoint: str
    inputs: list[str]
    output: str
    sessions: int
    distinct: int
    anomalies: int
    threshold: float | None
    budget: float | None
    false_alarm_rate: float
    """Share of ordinary sessions that alarm, by the held-out ones: (1 + above) / (n + 1)."""
    false_alarm_span: Span | None = None
    """Where that share lies with a probability of 95%, as far as the held-out sessions can tell; None with a
    threshold."""
    silenced: int = 0
    """Sessions that would alarm but for a verdict."""
    components: dict[str, int]
    """Alarms by the kind of evidence that they come from."""
    calibration_sessions: int
    mean: float
    deviation: float
    lowest: float
    highest: float
    rejected: int
    unused: str = ""
    """What of the inputs could not be used, and why; empty where everything was."""
    drift: str = ""
    """Why the calibration, adapted where it was to be, does not hold for these sessions; empty where it does."""
    adapted: Adaptation | None = None
    """What was learnt from these sessions; None where nothing was to be."""
    tails: str = ""
    """Which tails do not fit, where sessions are ranked by evidence; empty where all do."""
    templates: dict[str, str] = {}


def meta_path(output: Path) -> Path:
    """The file beside a results file that says how it was made."""
    return output.with_suffix(".meta.json")


def infer(
    checkpoint: Path,
    inputs: list[Path],
    output: Path,
    *,
    threshold: float | None = None,
    budget: float | None = None,
    device: Device = "auto",
    allow_unknown: bool = False,
    adapting: bool = False,
    report: Report | None = None,
) -> InferenceSummary:
    """Score sessions and write them ranked, highest first.

    Args:
        checkpoint: run directory, stage directory, model file or exported folder.
        inputs: session files or directories of them.
        output: the JSON list to write; it takes its place whole.
        threshold: of ``anomaly_score``; sessions are then ranked by it.
        budget: share of ordinary sessions that may alarm, 0.1% when neither is given; sessions are ranked by their
            evidence.
        device: where to score.
        allow_unknown: score although most events are unknown to the checkpoint.
        adapting: adapt to the sessions first (``detection.adapting``); not with a threshold, and the checkpoint stays
            as it is.
        report: called with (phase, done, all).

    Raises:
        LogbertError: checkpoint, input or output do not allow it; the message says which and why.
    """
    say = report or (lambda _phase, _done, _all: None)
    files = list(dict.fromkeys(file.resolve() for path in inputs for file in session_files(path)))
    output = _writable(output, files)
    model, record, found = open_checkpoint(checkpoint)
    if record.calibration is None:
        raise CheckpointError(f"{found} has no calibration; use a best_model.pt or epoch file of a run.")
    compute = choose(device, "fp32")
    # what cannot be used is counted and listed, however much it is: the rest still wants scores
    store = open_store(files, progress=lambda done, total: say("reading", done, total), max_rejected=1.0)
    if not store.n_sessions:
        raise DataError(f"no usable session in {', '.join(map(str, inputs))}.")
    check_vocabulary(record, store, allow_unknown=allow_unknown or adapting)
    judged, distinct = verdicts_for(found), store.n_unique
    if threshold is None and budget is None:
        budget = DEFAULT_BUDGET
    surprisals = surprisals_of(
        model, record, store, compute.device, lambda done, total: say("scoring", done, total)
    )
    weighing: Weighing | Adapted = Weighing(record, store, surprisals, budget or DEFAULT_BUDGET)
    scores = weighing.scores(judged.taught())
    alarms, odd = scores.alarms, ranking(scores.evidence, scores.alarms)
    rate, span = weighing.share, weighing.span if threshold is None else None
    if threshold is not None:
        alarms, odd = scores.score > threshold, scores.score
        rate = false_alarm_rate(record.calibration, threshold)
    adaptation = None
    if adapting:
        before = int(alarms[store.sequence_of].sum())
        adaptation = Adaptation(blocks=0, needed=SMALLEST_BLOCK, learnt=[], alarms_before=before)
    if adaptation is not None and enough(store.n_sessions):
        assert budget is not None
        weighing = adapt(model, record, store, compute, budget, say)
        adaptation = msgspec.structs.replace(adaptation, blocks=len(weighing.blocks), learnt=weighing.learnt)
        store, record, scores = weighing.store, weighing.record, weighing.scores(judged.taught())
        alarms, odd = scores.alarms, ranking(scores.evidence, scores.alarms)
        rate, span = weighing.share, weighing.span
    assert record.calibration is not None
    drift = drift_of(
        scores.p,
        alarms,
        scores.findings.fires("unseen"),
        np.asarray(store.counts),
        Rate(*record.calibration.rules["unseen"]).upper if "unseen" in record.calibration.rules else 0.0,
        rate,
    )
    limits = Limits(alarms=alarms, odd=odd, threshold=threshold, budget=budget)
    tally = _Tally()
    say("writing", 0, store.n_sessions)
    with replacing(output) as file:
        encoder = msgspec.json.Encoder()
        between = b"[\n"
        for result in results(store, scores, record, limits, judged):
            tally.add(result)
            file.write(between + encoder.encode(result))
            between = b",\n"
        file.write(b"\n]\n")
    by_session = scores.score[store.sequence_of]
    summary = InferenceSummary(
        checkpoint=str(found),
        inputs=[str(path) for path in inputs],
        output=str(output),
        sessions=store.n_sessions,
        distinct=distinct,
        anomalies=tally.anomalies,
        silenced=tally.silenced,
        threshold=threshold,
        budget=budget,
        false_alarm_rate=rate,
        false_alarm_span=span,
        components=dict(tally.components.most_common()),
        calibration_sessions=weighing.held_out,
        mean=float(by_session.mean()),
        deviation=float(by_session.std()),
        lowest=float(by_session.min()),
        highest=float(by_session.max()),
        rejected=store.rejected,
        unused=unused_in_words(store),
        drift=drift.in_words(adapted=adapting) if drift is not None else "",
        adapted=adaptation,
        tails=tails_in_words(record.calibration) if budget is not None else "",
        templates=record.templates,
    )
    write_file(meta_path(output), msgspec.json.encode(summary))
    say("writing", store.n_sessions, store.n_sessions)
    return summary


def _writable(output: Path, files: list[Path]) -> Path:
    """Where the results go, links resolved.

    Raises:
        DataError: an input, or something that is no file, would be overwritten.
        LogbertError: there is no such path.
    """
    resolved = resolved_path(output, "--output")
    for path in (resolved, meta_path(resolved)):
        if path in files:
            raise DataError(f"--output {output} would overwrite the input {path}; choose another file.")
        if path.exists() and not path.is_file():
            raise DataError(f"--output {output}: {path} is there and is not a file; choose another one.")
        if path.exists() and any(path.samefile(file) for file in files):
            raise DataError(f"--output {output} is another name of an input; choose another file.")
    only_over(resolved, b"[", "--output", "no results")
    return resolved


@dataclass(frozen=True)
class Limits:
    """Which of a store's distinct sequences alarm, and in which order they are shown."""

    alarms: NDArray[np.bool_]
    odd: NDArray[np.float64]
    """What they are ranked by, highest first."""
    threshold: float | None
    budget: float | None


@dataclass
class _Tally:
    """What the sessions come to as they are written."""

    anomalies: int = 0
    silenced: int = 0
    components: Counter[str] = field(default_factory=Counter)

    def add(self, result: SessionResult) -> None:
        self.silenced += result.silenced
        if result.is_anomaly:
            self.anomalies += 1
            self.components[result.component] += 1


def results(
    store: Store, scores: StoreScores, record: ModelRecord, limits: Limits, judged: Verdicts
) -> Iterator[SessionResult]:
    """The sessions of a store, ranked; equally odd sessions in order of time. What people judged decides."""
    assert record.normals is not None  # as it was scored with
    comparing = Comparing(record.normals, record.vocabulary)
    explained: dict[int, Explained] = {}
    explained_odd = float("nan")
    ranked = np.argsort(-limits.odd[store.sequence_of], kind="stable")
    for rank, session in enumerate(ranked.tolist()):
        sequence = int(store.sequence_of[session])
        odd, alarm = float(limits.odd[sequence]), bool(limits.alarms[sequence])
        detailed = alarm or rank < DETAILED_RANKS
        if sequence not in explained:
            if odd != explained_odd:  # identical sessions are equally odd, so they stand together
                explained.clear()
                explained_odd = odd
            most = POSITIONS_DETAILED if detailed else POSITIONS_BRIEF
            explained[sequence] = explain(
                store,
                scores,
                record,
                comparing,
                sequence,
                most=most,
                detailed=detailed,
                beside=rank < BESIDE_RANKS,
            )
        why = explained[sequence]
        label = int(store.label[session])
        name = store.session_id(session)
        verdict = judged.of(name, why.signature)
        yield SessionResult(
            session_id=name,
            anomaly_score=round(float(scores.score[sequence]), 6),
            is_anomaly=alarm if verdict is None else verdict.verdict == "anomaly",
            threshold=limits.threshold,
            budget=limits.budget,
            p_value=float(scores.p[sequence]),
            evidence=round(-float(scores.evidence.weight[sequence]), 4),
            component=scores.evidence.which[sequence],
            surprisal=round(float(scores.mean[sequence]), 6),
            length=int(store.lengths[sequence]),
            reason=why.reason,
            identical=int(store.counts[sequence]),
            unseen_events=why.unseen_events,
            service_name=store.services[store.service_of[session]] or None,
            timestamp=store.timestamp(session),
            file=store.files[store.file_of[session]],
            label=None if label < 0 else label,
            highest=why.positions if detailed else why.positions[:POSITIONS_BRIEF],
            event_sequence=why.events if detailed else None,
            surprisals=why.surprisals if detailed else None,
            nearest=why.nearest,
            signature=why.signature if detailed else "",
            verdict=verdict.verdict if verdict is not None else "",
            silenced=alarm and verdict is not None and verdict.verdict != "anomaly",
            by_verdict=not alarm and verdict is not None and verdict.verdict == "anomaly",
            counts=why.counts,
        )
