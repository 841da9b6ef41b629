"""Calls that read what inference wrote: pages of the ranked list, and single sessions whole."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from logbert_engine.daemon.offers import options_of
from logbert_engine.daemon.paths import absolute
from logbert_engine.protocol.errors import DataError
from logbert_engine.protocol.messages import InferenceOptions, RunRef
from logbert_engine.protocol.results import (
    ReadResult,
    ReadResults,
    ResultDetail,
    ResultRow,
    ResultsPage,
    SessionResult,
)
from logbert_engine.protocol.rpc import FRAME_LIMIT
from logbert_engine.rundir import reading
from logbert_engine.triage.of_run import verdicts_for
from logbert_engine.triage.verdicts import Verdicts

if TYPE_CHECKING:
    from logbert_engine.daemon.connection import Connection
    from logbert_engine.daemon.engine import Engine

MOST_FILE_BYTES = 1 << 30
MOST_META_BYTES = 64 << 20
MOST_ROWS = 1000
KEPT_FILES = 2
_PEEK = 64 << 10
_FRAME_ROOM = FRAME_LIMIT - 4096
"""Leaves room for the envelope."""


class _Scored(msgspec.Struct):
    """What ranking needs of a record. The fields make sure that the file holds results and nothing else."""

    session_id: int | str
    anomaly_score: float
    is_anomaly: bool
    surprisal: float
    length: int
    reason: str
    threshold: float | None = None
    budget: float | None = None
    evidence: float = 0.0
    silenced: bool = False
    by_verdict: bool = False

    @property
    def alarms(self) -> bool:
        """Whether it alarms by its evidence, whatever people judged."""
        return self.silenced or (self.is_anomaly and not self.by_verdict)


class _Meta(msgspec.Struct):
    """The file beside the results, ``results.meta.json``."""

    templates: dict[str, str] = {}
    false_alarm_rate: float | None = None
    false_alarm_span: tuple[float, float] | None = None
    drift: str = ""
    tails: str = ""
    unused: str = ""


class _Stamp(NamedTuple):
    """Differs when the results, or what the file beside them tells of them, have changed."""

    path: Path
    results: tuple[int, int, int] | None
    meta: tuple[int, int, int] | None


@dataclass(frozen=True)
class Ranked:
    """A results file, ready for pages. Records stay as bytes until they are asked for."""

    records: list[msgspec.Raw]
    """Highest score first, with a budget those that alarm and then the evidence; equal ones as the file has them."""
    templates: dict[str, str]
    page: ResultsPage
    """The figures of the whole file, without rows."""


_raws = msgspec.json.Decoder(list[msgspec.Raw])
_scored = msgspec.json.Decoder(_Scored)
_session = msgspec.json.Decoder(SessionResult)
_meta = msgspec.json.Decoder(_Meta)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Results:
    """Keeps the files that were read last. Used from threads."""

    def __init__(self) -> None:
        self._kept: dict[_Stamp, Ranked] = {}
        self._lock = threading.Lock()

    def load(self, path: Path) -> Ranked:
        """A results file as it stands now.

        Raises:
            DataError: it is not there, too large, or no list of results.
        """
        with self._lock:  # two clients that open the same file read it once
            stamp = _Stamp(path, _state(path), _state(_meta_path(path)))
            ranked = self._kept.pop(stamp, None) or _rank(path)
            self._kept = {known: r for known, r in self._kept.items() if known.path != path}
            self._kept[stamp] = ranked
            while len(self._kept) > KEPT_FILES:
                del self._kept[next(iter(self._kept))]
            return ranked


async def read_results(engine: Engine, client: Connection, params: ReadResults) -> ResultsPage:
    """``read_results``."""
    path = absolute(params.output, "the results file")
    return await client.think(lambda: _page(engine.results.load(path), params, verdicts_for(path)))


async def read_result(engine: Engine, client: Connection, params: ReadResult) -> ResultDetail:
    """``read_result``."""
    path = absolute(params.output, "the results file")
    return await client.think(lambda: _detail(engine.results.load(path), params, verdicts_for(path)))


async def inference_options(engine: Engine, client: Connection, params: RunRef) -> InferenceOptions:
    """``inference_options``."""
    run = await engine.runs.get(params.run_dir)
    losses = {s.plan.name: s.best_valid_loss for s in run.state.stages}
    return await client.think(lambda: options_of(run.layout, losses))


def _meta_path(path: Path) -> Path:
    return path.parent / f"{path.stem}.meta.json"


def _state(path: Path) -> tuple[int, int, int] | None:
    """Inode, size and time of change; None where there is no such file, which reading it then says."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _content(path: Path, most: int) -> bytes:
    """What a file holds.

    Raises:
        OSError: it is not there or cannot be read.
        DataError: it is no file, or too large.
    """
    try:
        return reading.content(path, most)
    except reading.NotAFileError as error:
        raise DataError(f"{path} is not a file; give the results that logbert-engine infer wrote.") from error
    except reading.TooLargeError as error:
        raise DataError(
            f"{path} has {error.size >> 20} MiB; up to {most >> 20} MiB can be browsed; "
            "infer fewer sessions at a time."
        ) from error


def _check_beginning(path: Path, content: bytes) -> None:
    """A look at the first record: a gigabyte of something else would take many times its size to decode."""
    start = content[:_PEEK].lstrip()
    if len(content) > _PEEK and not (start.startswith(b"[") and b'"anomaly_score"' in start):
        raise DataError(f"{path} holds no results of logbert-engine infer; give its --output file.")


def _rank(path: Path) -> Ranked:
    import numpy as np

    try:
        content, written_at = _content(path, MOST_FILE_BYTES), path.stat().st_mtime
        _check_beginning(path, content)
        records = _raws.decode(content)
        # One record at a time gives other threads their turn; a whole file in one call would hold the
        # interpreter for seconds.
        heads = [_scored.decode(record) for record in records]
    except FileNotFoundError as error:
        raise DataError(f"there are no results at {path} any more; score again, or open others.") from error
    except OSError as error:
        raise DataError(f"cannot read the results {path}: {error.strerror or error}.") from error
    except _UNREADABLE as error:
        raise DataError(
            f"{path} holds no results of logbert-engine infer ({error}); give its --output file."
        ) from error
    scores = np.array([head.anomaly_score for head in heads], dtype=np.float64)
    some = bool(heads)
    by_budget = some and heads[0].budget is not None
    if by_budget:
        order = sorted(range(len(heads)), key=lambda i: (not heads[i].alarms, -heads[i].evidence))
    else:
        order = np.argsort(-scores, kind="stable").tolist()
    meta = _read_meta(path)
    page = ResultsPage(
        output=str(path),
        total=len(records),
        anomalies=sum(head.is_anomaly for head in heads),
        threshold=heads[0].threshold if some else None,
        budget=heads[0].budget if some else None,
        mean=float(scores.mean()) if some else 0.0,
        deviation=float(scores.std()) if some else 0.0,
        lowest=float(scores.min()) if some else 0.0,
        highest=float(scores.max()) if some else 0.0,
        offset=0,
        rows=[],
        false_alarm_rate=meta.false_alarm_rate,
        false_alarm_span=meta.false_alarm_span,
        drift=meta.drift,
        tails=meta.tails,
        unused=meta.unused,
        written_at=written_at,
    )
    return Ranked([records[i] for i in order], meta.templates, page)


def _read_meta(path: Path) -> _Meta:
    meta = _meta_path(path)
    try:
        return _meta.decode(_content(meta, MOST_META_BYTES))
    except FileNotFoundError:
        return _Meta()
    except OSError as error:
        raise DataError(f"cannot read {meta}: {error.strerror or error}.") from error
    except _UNREADABLE as error:
        raise DataError(
            f"{meta} is damaged ({error}); remove it to see the results without texts."
        ) from error


def _page(ranked: Ranked, params: ReadResults, verdicts: Verdicts) -> ResultsPage:
    offset = min(max(0, params.offset), len(ranked.records))
    most = max(0, min(params.most, MOST_ROWS))
    rows: list[ResultRow] = []
    size = 0
    for rank in range(offset, min(offset + most, len(ranked.records))):
        row = _row(rank, record(ranked, rank, params.output), verdicts)
        size += len(msgspec.json.encode(row)) + 1
        if size > _FRAME_ROOM:
            break  # the client asks on from where the rows end
        rows.append(row)
    return msgspec.structs.replace(ranked.page, offset=offset, rows=rows)


def _row(rank: int, session: SessionResult, verdicts: Verdicts) -> ResultRow:
    return ResultRow(
        rank=rank,
        session_id=session.session_id,
        anomaly_score=session.anomaly_score,
        is_anomaly=session.is_anomaly,
        length=session.length,
        reason=session.reason,
        p_value=session.p_value,
        evidence=session.evidence,
        component=session.component,
        identical=session.identical,
        unseen_events=session.unseen_events,
        service_name=session.service_name,
        timestamp=session.timestamp,
        label=session.label,
        verdict=_judged(session, verdicts),
    )


def _judged(session: SessionResult, verdicts: Verdicts) -> str:
    found = verdicts.of(session.session_id, session.signature)
    return found.verdict if found is not None else ""


def _detail(ranked: Ranked, params: ReadResult, verdicts: Verdicts) -> ResultDetail:
    session = record(ranked, params.rank, params.output)
    events = {str(event) for event in session.event_sequence or []}
    for place in session.highest:
        events.add(str(place.event))
        events.update(str(event) for event, _ in place.expected)
    events.update(str(row.event) for row in session.counts)
    if session.nearest is not None:
        events.update(str(event) for step in session.nearest.steps for event in step.ordinary)
    texts = {event: ranked.templates[event] for event in events if event in ranked.templates}
    judged = _judged(session, verdicts)
    detail = ResultDetail(rank=params.rank, session=session, templates=texts, verdict=judged)
    if len(msgspec.json.encode(detail)) > _FRAME_ROOM:
        # A session of many thousand events: its highest positions tell what matters.
        session.event_sequence, session.surprisals = None, None
        if session.nearest is not None:
            session.nearest.steps = []
    return detail


def record(ranked: Ranked, rank: int, output: str) -> SessionResult:
    """A session by its rank, from 0.

    Raises:
        DataError: there is none, or it is damaged.
    """
    if not 0 <= rank < len(ranked.records):
        raise DataError(f"{output} has {len(ranked.records)} sessions, none of rank {rank}.")
    try:
        return _session.decode(ranked.records[rank])
    except _UNREADABLE as error:
        raise DataError(f"a record of {output} is damaged ({error}); infer again.") from error
