"""Session files compiled into the arrays of a store. Memory grows with distinct sequences and a few numbers a
session, never with the text of the files."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.contract import EventId, Rejected, Session
from logbert_engine.data.reading import sessions_in
from logbert_engine.data.source import BrokenFileError, naming, opened
from logbert_engine.data.times import day_at
from logbert_engine.rundir.atomic import sync_file, sync_folder
from logbert_engine.rundir.checksums import record_sums, sha256_of

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
    """Entries of the list of what could not be used."""
    broken: int
    """Files among them that could not be used to their end."""
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
        self.keys = array("q")
        """A hash of what makes a session the same as another: its id, its events and its time."""
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
        # Where a session tells no time of its own, ids may count from the same number in each file.
        self.keys.append(hash((line, digest, session.time, file if session.timestamp is None else -1)))
        self._names_end += len(line)

    def repeated(self) -> Iterator[tuple[int, int]]:
        """Sessions that are there a second time and the one that each of them repeats, as rows.

        Two of a million different ones are taken for the same with a probability of 3e-8.
        """
        _, first, group = np.unique(np.asarray(self.keys), return_index=True, return_inverse=True)
        again = np.ones(len(self.keys), dtype=bool)
        again[first] = False
        rows = np.flatnonzero(again)
        yield from zip(rows.tolist(), first[group[rows]].tolist(), strict=True)

    def remove(self, rows: Sequence[int]) -> None:
        """Take sessions out. Of each sequence one has to stay."""
        kept = np.ones(len(self.keys), dtype=bool)
        kept[rows] = False
        for row in rows:
            self.counts[self.rows["sequence_of"][row]] -= 1
        for name, column in self.rows.items():
            self.rows[name] = array(column.typecode, np.asarray(column)[kept].tobytes())

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


class _Quarantine:
    """The list of what cannot be used."""

    def __init__(self, lines: BinaryIO) -> None:
        self.entries = self.files = 0
        self._lines = lines

    def put(self, rejected: Rejected) -> None:
        self._lines.write(msgspec.json.encode(rejected) + b"\n")
        self.entries += 1

    def put_file(self, file: Path, position: int, reason: str) -> None:
        self.put(Rejected(file=str(file), position=position, reason=reason, rest=True))
        self.files += 1


def _originals(files: Sequence[Path]) -> dict[Path, Path]:
    """Files with the content of an earlier one, and that one. Only files of equal size are read for it."""
    of_size: dict[int, list[Path]] = {}
    for file in files:
        with naming(file):
            of_size.setdefault(file.stat().st_size, []).append(file)
    found: dict[Path, Path] = {}
    for size, alike in of_size.items():
        first: dict[str, Path] = {}
        for file in alike if size and len(alike) > 1 else ():
            with naming(file):
                original = first.setdefault(sha256_of(file), file)
            if original != file:
                found[file] = original
    return found


def _put_repeated_aside(growing: _Growing, aside: _Quarantine, files: Sequence[Path]) -> None:
    rows = growing.rows
    repeated = []
    for row, original in growing.repeated():
        place = f"record {rows['position_of'][original]} of {files[rows['file_of'][original]]}"
        reason = f"it repeats {place}: the same session_id, events and time"
        file = str(files[rows["file_of"][row]])
        aside.put(Rejected(file=file, position=rows["position_of"][row], reason=reason))
        repeated.append(row)
    if repeated:
        growing.remove(repeated)


def compile_into(folder: Path, fingerprint: str, files: Sequence[Path], progress: Progress | None) -> None:
    """Write the store of some session files into an empty folder, safely on the disk when this returns.

    What cannot be used is listed in it: records, the rest of a file from where it is broken, files that hold the
    same as another, and sessions that are there a second time. The digests of all its files are in its SHA256SUMS.

    Raises:
        DataError: a file cannot be read.
        OSError: the folder cannot be written.
    """
    total = 0
    for file in files:
        with naming(file):
            total += file.stat().st_size
    done = 0
    with (folder / NAMES).open("wb") as names, (folder / REJECTED).open("wb") as quarantine:
        growing, aside = _Growing(names), _Quarantine(quarantine)
        originals = _originals(files)
        for number, file in enumerate(files):
            if file in originals:
                aside.put_file(file, 0, f"it holds the same as {originals[file]}, whose sessions count once")
                done += file.stat().st_size
                continue
            with opened(file) as source:
                position = 0
                try:
                    with naming(file):
                        source.verify()
                    for found in sessions_in(source):
                        position = found.position + 1
                        if isinstance(found, Rejected):
                            aside.put(found)
                        else:
                            growing.add(found, number)
                        if progress is not None and position % _REPORT_EACH == 0:
                            progress(min(total, done + source.consumed()), total)
                except BrokenFileError as error:
                    aside.put_file(file, position, str(error).replace(str(file), "the file", 1))
                done += source.consumed()
        _put_repeated_aside(growing, aside, files)
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
        rejected=aside.entries,
        broken=aside.files,
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
