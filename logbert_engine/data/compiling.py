"""Session files compiled into the arrays of a store. Memory grows with distinct sequences and a few numbers a
session, never with the text of the files."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.contract import EventId, Rejected, Session
from logbert_engine.data.reading import sessions_in
from logbert_engine.data.source import naming, opened
from logbert_engine.data.times import day_at
from logbert_engine.rundir.atomic import sync_file, sync_folder
from logbert_engine.rundir.checksums import record_sums

FORMAT = 2
"""Of the store. Part of the fingerprint, so that a store of another format is never opened."""
META, NAMES, REJECTED = "store.json", "names.ndjson", "rejected.ndjson"
COLUMNS = {
    "tokens": "u",
    "offsets": "<i8",
    "counts": "<i8",
    "sequence_of": "<i4",
    "time": "<f8",
    "service_of": "u",
    "has_error": "|i1",
    "has_warn": "|i1",
    "label": "|i1",
    "file_of": "<u4",
    "position_of": "<i4",
    "name_at": "<i8",
}
"""Array and type; ``u`` is uint16, or uint32 where there are more than 65,536 of what it counts."""
Progress = Callable[[int, int], None]
"""Called with the bytes of the source files read so far and all of them."""
_DIGEST = 16
"""Bytes. Two of a billion distinct sequences get the same digest with a probability of 1e-21."""
_REPORT_EACH = 8192
"""Sessions."""
_UNKNOWN, _NO_TIME = -1, float("nan")


class StoreMeta(msgspec.Struct, kw_only=True):
    """``store.json``: what the arrays do not hold."""

    format: int
    fingerprint: str
    """Of the source files: a store that lies in another's place is found by it."""
    events: list[EventId]
    services: list[str]
    files: list[str]
    sessions: int
    sequences: int
    rejected: int
    first_day: str
    last_day: str


class _Index(dict[EventId, int]):
    """Numbers things in the order in which they are first seen."""

    def __missing__(self, key: EventId) -> int:
        self[key] = number = len(self)
        return number


class _Growing:
    """The columns while files are read; rows are in the order of the files."""

    def __init__(self, names: BinaryIO) -> None:
        self.events = _Index()
        self.services = _Index()
        self.tokens = array("I")
        self.ends = array("q", [0])
        self.counts = array("q")
        self.rows: dict[str, array[Any]] = {
            "sequence_of": array("i"),
            "time": array("d"),
            "service_of": array("I"),
            "has_error": array("b"),
            "has_warn": array("b"),
            "label": array("b"),
            "file_of": array("I"),
            "position_of": array("i"),
            "name_at": array("q"),
        }
        self._known: dict[bytes, int] = {}
        self._append = [column.append for column in self.rows.values()]
        self._names = names
        self._names_end = names.write(b"\n")  # never empty: an empty file cannot be mapped
        self._encode = msgspec.json.Encoder().encode

    def add(self, session: Session, file: int) -> None:
        tokens = array("I", map(self.events.__getitem__, session.events))
        digest = blake2b(tokens, digest_size=_DIGEST).digest()
        sequence = self._known.get(digest)
        if sequence is None:
            sequence = self._known[digest] = len(self.counts)
            self.tokens.extend(tokens)
            self.ends.append(len(self.tokens))
            self.counts.append(0)
        self.counts[sequence] += 1
        line = self._encode((session.session_id, session.timestamp)) + b"\n"
        self._names.write(line)
        row = (
            sequence,
            _NO_TIME if session.time is None else session.time,
            self.services[session.service],
            _UNKNOWN if session.has_error is None else session.has_error,
            _UNKNOWN if session.has_warn is None else session.has_warn,
            _UNKNOWN if session.label is None else session.label,
            file,
            session.position,
            self._names_end,
        )
        for append, value in zip(self._append, row, strict=True):
            append(value)
        self._names_end += len(line)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The finished columns; rows are in the order of time."""
        made: dict[str, NDArray[np.generic]] = {
            "tokens": np.asarray(self.tokens, dtype=_unsigned(len(self.events))),
            "offsets": np.asarray(self.ends, dtype="<i8"),
            "counts": np.asarray(self.counts, dtype="<i8"),
        }
        order = time_order(np.asarray(self.rows["time"], dtype="<f8"))
        for name, column in self.rows.items():
            kind = COLUMNS[name] if COLUMNS[name] != "u" else _unsigned(len(self.services))
            made[name] = np.asarray(column).astype(kind)[order]
        return made


def _unsigned(count: int) -> str:
    return "<u2" if count <= 1 << 16 else "<u4"


def time_order(time: NDArray[np.float64]) -> NDArray[np.int64]:
    """The stable order by time in which a session without a time stays behind the one before it in its file.

    Args:
        time: Unix seconds in the order of the files, nan where unknown.
    """
    last_known = np.maximum.accumulate(np.where(np.isnan(time), -1, np.arange(len(time))))
    filled = np.where(last_known < 0, -np.inf, time[last_known])
    return np.argsort(filled, kind="stable")


def compile_into(folder: Path, fingerprint: str, files: Sequence[Path], progress: Progress | None) -> None:
    """Write the store of some session files into an empty folder, safely on the disk when this returns.

    The digests of all its files are in its SHA256SUMS.

    Raises:
        DataError: a file cannot be read or is cut short.
        OSError: the folder cannot be written.
    """
    total = 0
    for file in files:
        with naming(file):
            total += file.stat().st_size
    rejected = done = 0
    with (folder / NAMES).open("wb") as names, (folder / REJECTED).open("wb") as quarantine:
        growing = _Growing(names)
        for number, file in enumerate(files):
            with opened(file) as source:
                for record, found in enumerate(sessions_in(source)):
                    if isinstance(found, Rejected):
                        quarantine.write(msgspec.json.encode(found) + b"\n")
                        rejected += 1
                    else:
                        growing.add(found, number)
                    if progress is not None and record % _REPORT_EACH == _REPORT_EACH - 1:
                        progress(min(total, done + source.consumed()), total)
                done += source.consumed()
        for written in (names, quarantine):
            written.flush()
            sync_file(written.fileno())
    arrays = growing.arrays()
    for name, values in arrays.items():
        with (folder / f"{name}.npy").open("wb") as column:
            np.save(column, values)
            column.flush()
            sync_file(column.fileno())
    time = arrays["time"]
    known = time[~np.isnan(time)]
    meta = StoreMeta(
        format=FORMAT,
        fingerprint=fingerprint,
        events=list(growing.events),
        services=[str(service) for service in growing.services],
        files=[str(file) for file in files],
        sessions=len(time),
        sequences=len(growing.counts),
        rejected=rejected,
        first_day=day_at(float(known.min())) if len(known) else "",
        last_day=day_at(float(known.max())) if len(known) else "",
    )
    with (folder / META).open("wb") as file_of_meta:
        file_of_meta.write(msgspec.json.encode(meta))
        file_of_meta.flush()
        sync_file(file_of_meta.fileno())
    record_sums(folder)
    sync_folder(folder)
    if progress is not None:
        progress(total, total)
