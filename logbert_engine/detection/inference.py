"""Inference: session files and a checkpoint in, ``results.json`` out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np

from logbert_engine.data.reading import session_files
from logbert_engine.data.store import Store, open_store
from logbert_engine.detection.calibration import false_alarm_rate, threshold_for
from logbert_engine.detection.scoring import StoreScores, check_vocabulary, score_store
from logbert_engine.detection.wording import reason
from logbert_engine.models.checkpoint import ModelRecord, open_checkpoint
from logbert_engine.models.device import choose
from logbert_engine.presets.types import Device
from logbert_engine.protocol.errors import CheckpointError, DataError
from logbert_engine.protocol.messages import EventScore, SessionResult
from logbert_engine.rundir.atomic import replacing, write_file

DEFAULT_THRESHOLD = 2.0
DETAILED_RANKS = 1000
"""The first of the list keep every position, as all alarms do."""
POSITIONS_DETAILED, POSITIONS_BRIEF = 12, 1

Report = Callable[[str, int, int], None]


class InferenceSummary(msgspec.Struct, kw_only=True, frozen=True):
    """What an inference found; also ``results.meta.json``, with the templates beside it."""

    checkpoint: str
    inputs: list[str]
    output: str
    sessions: int
    distinct: int
    anomalies: int
    threshold: float
    false_alarm_rate: float
    """Share of ordinary sessions that this threshold alarms on, by the held-out ones: (1 + above) / (n + 1)."""
    calibration_sessions: int
    mean: float
    deviation: float
    lowest: float
    highest: float
    rejected: int
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
    report: Report | None = None,
) -> InferenceSummary:
    """Score sessions and write them ranked, highest first.

    Args:
        checkpoint: run directory, stage directory, model file or exported folder.
        inputs: session files or directories of them.
        output: the JSON list to write; it takes its place whole.
        threshold: of ``anomaly_score``; 2.0 when neither it nor a budget is given.
        budget: share of ordinary sessions that may alarm; the threshold follows from the calibration.
        device: where to score.
        allow_unknown: score although most events are unknown to the checkpoint.
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
    check_vocabulary(record, store, allow_unknown=allow_unknown)
    scores = score_store(
        model, record, store, compute.device, lambda done, total: say("scoring", done, total)
    )
    if threshold is not None:
        limit = threshold
    else:
        limit = DEFAULT_THRESHOLD if budget is None else threshold_for(record.calibration, budget)
    say("writing", 0, store.n_sessions)
    with replacing(output) as file:
        encoder = msgspec.json.Encoder()
        between = b"[\n"
        for result in results(store, scores, record, limit):
            file.write(between + encoder.encode(result))
            between = b",\n"
        file.write(b"\n]\n")
    by_session = scores.score[store.sequence_of]
    summary = InferenceSummary(
        checkpoint=str(found),
        inputs=[str(path) for path in inputs],
        output=str(output),
        sessions=store.n_sessions,
        distinct=store.n_unique,
        anomalies=int((by_session > limit).sum()),
        threshold=limit,
        false_alarm_rate=false_alarm_rate(record.calibration, limit),
        calibration_sessions=record.calibration.sessions,
        mean=float(by_session.mean()),
        deviation=float(by_session.std()),
        lowest=float(by_session.min()),
        highest=float(by_session.max()),
        rejected=store.rejected,
        templates=record.templates,
    )
    write_file(meta_path(output), msgspec.json.encode(summary))
    say("writing", store.n_sessions, store.n_sessions)
    return summary


def _writable(output: Path, files: list[Path]) -> Path:
    """Where the results go, links resolved.

    Raises:
        DataError: an input, or something that is no file, would be overwritten.
    """
    resolved = output.resolve()
    for path in (resolved, meta_path(resolved)):
        if path in files:
            raise DataError(f"--output {output} would overwrite the input {path}; choose another file.")
        if path.exists() and not path.is_file():
            raise DataError(f"--output {output}: {path} is there and is not a file; choose another one.")
    return resolved


def results(
    store: Store, scores: StoreScores, record: ModelRecord, threshold: float
) -> Iterator[SessionResult]:
    """The sessions of a store, ranked; sessions of equal score in order of time."""
    explained: dict[int, tuple[str, list[EventScore]]] = {}
    explained_score = float("nan")
    ranked = np.argsort(-scores.score[store.sequence_of], kind="stable")
    for rank, session in enumerate(ranked.tolist()):
        sequence = int(store.sequence_of[session])
        score = float(scores.score[sequence])
        detailed = score > threshold or rank < DETAILED_RANKS
        if sequence not in explained:
            if score != explained_score:  # identical sessions have equal scores, so they stand together
                explained.clear()
                explained_score = score
            most = POSITIONS_DETAILED if detailed else POSITIONS_BRIEF
            explained[sequence] = _explain(store, scores, record, sequence, most)
        why, positions = explained[sequence]
        begin, end = int(store.offsets[sequence]), int(store.offsets[sequence + 1])
        label = int(store.label[session])
        yield SessionResult(
            session_id=store.session_id(session),
            anomaly_score=round(score, 6),
            is_anomaly=score > threshold,
            threshold=threshold,
            surprisal=round(float(scores.mean[sequence]), 6),
            length=end - begin,
            reason=why,
            identical=int(store.counts[sequence]),
            unseen_events=int(scores.unseen[sequence]),
            service_name=store.services[store.service_of[session]] or None,
            timestamp=store.timestamp(session),
            file=store.files[store.file_of[session]],
            label=None if label < 0 else label,
            highest=positions if detailed else positions[:POSITIONS_BRIEF],
            event_sequence=[store.events[i] for i in store.sequence(sequence)] if detailed else None,
            surprisals=[round(float(v), 4) for v in scores.surprisals.values[begin:end]]
            if detailed
            else None,
        )


def _explain(
    store: Store, scores: StoreScores, record: ModelRecord, sequence: int, most: int
) -> tuple[str, list[EventScore]]:
    begin, end = int(store.offsets[sequence]), int(store.offsets[sequence + 1])
    values = scores.surprisals.values[begin:end]
    events = [store.events[i] for i in store.sequence(sequence)]
    assert scores.surprisals.expected is not None
    assert scores.surprisals.probability is not None
    positions = []
    for place in np.argsort(-values, kind="stable")[:most].tolist():
        expected = scores.surprisals.expected[begin + place]
        probability = scores.surprisals.probability[begin + place]
        named = [
            (record.vocabulary.event(int(i)), float(p)) for i, p in zip(expected, probability, strict=True)
        ]
        positions.append(
            EventScore(
                position=place,
                event=events[place],
                surprisal=round(float(values[place]), 4),
                expected=[(event, round(p, 4)) for event, p in named if event is not None],
            )
        )
    known = set(record.vocabulary.events) if scores.unseen[sequence] else set(events)
    unseen = [event for event in events if event not in known]
    return reason(positions[0], unseen, len(events), record.templates), positions
