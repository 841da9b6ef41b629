"""Writes a simulated system: raw logs, session files, vocabulary, the truth about its faults."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path, PurePosixPath
from random import Random
from typing import Any, BinaryIO

from logbert_engine.demo.simulate import Line, Scale, SimulatedSession, simulate
from logbert_engine.demo.system import SERVICES, TEMPLATES
from logbert_engine.protocol.errors import DiskFullError, LogbertError
from logbert_engine.rundir import reading
from logbert_engine.rundir.atomic import replacing, storage_error, write_file

AUTHOR = "logbert-engine demo-data"
METADATA = "metadata.json"
VOCABULARY = "vocabulary.csv"
FAULTS = "faults.csv"

LINES_SHOWN = 0.1
"""Share of the normal evaluation sessions that carry their original lines; all faulty ones do."""

_SESSION_BYTES = 2_400
"""On the disk, raw lines and record; measured on 4,000 and 40,000 sessions."""
_FLUSH_EVERY = 400
_WINDOW_MINUTES = 5


@dataclass
class Written:
    """What was written."""

    directory: str
    sessions: int = 0
    events: int = 0
    templates: int = len(TEMPLATES)
    training_sessions: int = 0
    evaluation_sessions: int = 0
    faults_in_training: dict[str, int] = field(default_factory=dict)
    """Kind to count; the session files of the training days do not tell them."""
    faults_in_evaluation: dict[str, int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    """Path in the directory to its lines, sessions or rows."""


def raw_path(service: str, date: str) -> str:
    """Where a service's lines of a day are, in the demo directory."""
    return f"raw/{service}/{service}-{date}.log"


def session_path(scale: Scale, day: int) -> str:
    """Where a day's sessions are, in the demo directory."""
    folder = "sessions" if day < scale.training_days else "eval"
    return f"{folder}/preprocessed_logs_{scale.date(day)}.json"


def clock(time_ms: int) -> str:
    """A time of the day as ``09:05:00.042``."""
    seconds, ms = divmod(time_ms, 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}.{ms:03}"


def raw_line(line: Line, date: str, trace_id: str) -> str:
    """A line as the service writes it: time, level, service and trace, thread, logger, message."""
    template = line.template
    return (
        f"{date} {clock(line.time_ms)} {template.level:<5} [{template.service},{trace_id}] "
        f"[{line.thread}] {template.logger} - {line.message}"
    )


def record_of(session: SimulatedSession, date: str) -> dict[str, Any]:
    """A session as session files of unlabelled days hold it."""
    start = session.lines[0].time_ms
    minutes = start // 60_000 // _WINDOW_MINUTES * _WINDOW_MINUTES
    levels = {line.template.level for line in session.lines}
    services = dict.fromkeys(line.template.service for line in session.lines)
    return {
        "session_id": session.session_id,
        "event_sequence": [line.template.event_id for line in session.lines],
        "service_name": session.service,
        "has_error": "ERROR" in levels,
        "has_warn": "WARN" in levels,
        "timestamp": f"{date}T{clock(start)}",
        "time_window": f"{date}_{minutes // 60:02}_{minutes % 60:02}",
        "session_length": len(session.lines),
        "trace_id": session.trace_id,
        "related_services": [service for service in services if service != session.service],
    }


def _csv(header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _metadata(scale: Scale, files: Iterable[str], written: Written | None, longest: int) -> str:
    """``metadata.json``: what session files' readers expect, who wrote it, and what belongs to it."""
    content = {
        "written_by": AUTHOR,
        "complete": written is not None,
        "total_sessions": scale.sessions,
        "date_range": {"start": str(scale.date(0)), "end": str(scale.date(scale.days - 1))},
        "services": list(SERVICES),
        "preprocessing_config": {
            "grouping": "trace_id",
            "window_size": longest,
            "max_seq_length": 512,
            "vocab_size": len(TEMPLATES),
        },
        "simulation": {
            "sessions": scale.sessions,
            "days": scale.days,
            "seed": scale.seed,
            "anomaly_rate": scale.anomaly_rate,
        },
        "files": sorted(files),
    }
    return json.dumps(content, indent=2) + "\n"


def _files_of(directory: Path) -> set[str]:
    """The files of an earlier demo in the directory.

    Raises:
        LogbertError: the directory holds something else.
    """
    if not directory.exists():
        return set()
    if not directory.is_dir():
        raise LogbertError(f"{directory} is a file; name a directory for the demo data.")
    try:
        if not any(directory.iterdir()):
            return set()
        found = json.loads(reading.content(directory / METADATA))
    except FileNotFoundError:
        found = None
    except (ValueError, reading.NotAFileError):
        found = None
    except OSError as error:
        raise storage_error(directory, error) from error
    if not isinstance(found, dict) or found.get("written_by") != AUTHOR:
        raise LogbertError(
            f"{directory} is not empty and was not written by demo-data; name a new or an empty directory."
        )
    listed = found.get("files")
    names = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    return {
        name
        for name in names
        if not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts
    }


def _files_for(scale: Scale) -> set[str]:
    raw = {raw_path(service, str(scale.date(day))) for service in SERVICES for day in range(scale.days)}
    return raw | {session_path(scale, day) for day in range(scale.days)} | {VOCABULARY, FAULTS, METADATA}


class _DayFiles:
    """The raw logs and the session file of one day, written as its sessions come."""

    def __init__(self, directory: Path, scale: Scale, day: int, open_files: ExitStack) -> None:
        self._date = str(scale.date(day))
        self._labelled = day >= scale.training_days
        self._shown = Random(f"{scale.seed}/{day}/shown")

        def opened(name: str) -> BinaryIO:
            return open_files.enter_context(replacing(directory / name))

        self._raw = {service: opened(raw_path(service, self._date)) for service in SERVICES}
        self._sessions = opened(session_path(scale, day))
        self._sessions.write(b"[")
        self._waiting: list[tuple[int, int, int, str, str]] = []
        """Time, session, position, service, line: not yet known to be the next."""
        self.count = 0
        self.lines: Counter[str] = Counter(dict.fromkeys(SERVICES, 0))

    def add(self, session: SimulatedSession) -> None:
        """Take a session; they come in the order of their first lines."""
        lines = [raw_line(line, self._date, session.trace_id) for line in session.lines]
        self._waiting += [
            (line.time_ms, self.count, position, line.template.service, text)
            for position, (line, text) in enumerate(zip(session.lines, lines, strict=True))
        ]
        record = record_of(session, self._date)
        if self._labelled:
            record["label"] = int(session.fault is not None)
            if self._shown.random() < LINES_SHOWN or session.fault is not None:
                record["original_logs"] = lines
        text = json.dumps(record, separators=(",", ":"))
        self._sessions.write((",\n" if self.count else "\n").encode() + text.encode())
        self.count += 1
        if self.count % _FLUSH_EVERY == 0:
            self._flush(session.lines[0].time_ms)

    def _flush(self, until_ms: int | None = None) -> None:
        """Write the lines before a time, which no later session can precede."""
        self._waiting.sort()
        ready = 0
        for time_ms, _, _, service, text in self._waiting:
            if until_ms is not None and time_ms >= until_ms:
                break
            self._raw[service].write(text.encode() + b"\n")
            self.lines[service] += 1
            ready += 1
        del self._waiting[:ready]

    def finish(self) -> None:
        """Write what waits, and close the session file's array."""
        self._flush()
        self._sessions.write(b"\n]\n")


def _write_days(directory: Path, scale: Scale, written: Written) -> Iterator[SimulatedSession]:
    """Write each session and pass it on."""
    for day, sessions in groupby(simulate(scale), key=lambda session: session.day):
        with ExitStack() as open_files:
            files = _DayFiles(directory, scale, day, open_files)
            for session in sessions:
                files.add(session)
                yield session
            files.finish()
        written.files[session_path(scale, day)] = files.count
        for service, count in files.lines.items():
            written.files[raw_path(service, str(scale.date(day)))] = count


def _check_room(directory: Path, scale: Scale, earlier: Iterable[str]) -> None:
    """Refuse what the disk has no room for, before a file is touched.

    Raises:
        DiskFullError: it has not.
        StorageError: it cannot be asked.
    """
    place = next(
        folder for folder in (directory.absolute(), *directory.absolute().parents) if folder.exists()
    )
    try:
        replaced = sum(path.stat().st_size for path in map(directory.joinpath, earlier) if path.is_file())
        room = shutil.disk_usage(place).free + replaced
    except OSError as error:
        raise storage_error(place, error) from error
    needed = scale.sessions * _SESSION_BYTES
    if needed > room:
        raise DiskFullError(
            f"{scale.sessions:,} sessions take about {needed / 1e6:,.0f} MB, and {directory} has room for "
            f"{room / 1e6:,.0f} MB; give a smaller --sessions, or a directory on another disk."
        )


def _remove(directory: Path, names: Iterable[str]) -> None:
    for name in names:
        path = directory / name
        try:
            path.unlink(missing_ok=True)
            for folder in path.relative_to(directory).parents:
                place = directory / folder
                if place != directory and place.is_dir() and not any(place.iterdir()):
                    place.rmdir()
        except OSError as error:
            raise storage_error(path, error) from error


def write_demo(directory: Path, scale: Scale) -> Written:
    """Simulate and write everything.

    Args:
        directory: New, empty, or written by this function before; then its files are replaced.
        scale: What to simulate.

    Raises:
        LogbertError: the directory holds something else.
        StorageError: the file system refused, or has no room for so much.
    """
    earlier = _files_of(directory)
    files = _files_for(scale)
    _check_room(directory, scale, earlier)
    # Written first as well: a demo that was cut off is then known as one, and can be written again.
    write_file(directory / METADATA, _metadata(scale, files | earlier, None, 0))
    _remove(directory, earlier - files)
    written = Written(directory=str(directory))
    faults: list[tuple[object, ...]] = []
    kinds: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    longest = 0
    for session in _write_days(directory, scale, written):
        training = session.day < scale.training_days
        written.training_sessions += training
        written.evaluation_sessions += not training
        written.events += len(session.lines)
        longest = max(longest, len(session.lines))
        if session.fault is not None:
            kind, position, words = session.fault
            kinds[training][kind] += 1
            faults.append((session.session_id, scale.date(session.day), kind, words, position))
    written.sessions = written.training_sessions + written.evaluation_sessions
    written.faults_in_training = dict(sorted(kinds[True].items()))
    written.faults_in_evaluation = dict(sorted(kinds[False].items()))
    templates = [(template.event_id, template.text) for template in TEMPLATES.values()]
    write_file(directory / VOCABULARY, _csv(("event_id", "template"), templates))
    write_file(directory / FAULTS, _csv(("session_id", "date", "kind", "in_words", "position"), faults))
    write_file(directory / METADATA, _metadata(scale, files, written, longest))
    written.files |= {VOCABULARY: len(templates), FAULTS: len(faults), METADATA: 1}
    return written
