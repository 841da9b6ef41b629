"""The journal: the truth about a run. Appended by whoever holds the run's lock, read by everybody."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from types import TracebackType

import msgspec

from logbert_engine.protocol.errors import RunError, StorageError
from logbert_engine.protocol.events import JournalEvent, decode_event, encode_event
from logbert_engine.rundir.atomic import storage_error
from logbert_engine.rundir.reading import NotAFileError, opened

_BLOCK = 1 << 20
TORN = "the journal's last line was torn by a crash and has been dropped"
"""What is logged by a writer that found one."""


class JournalWriter:
    """Appends events, numbering them on from what the file holds. The caller holds the run's lock.

    A torn last line, left by a crash or a full disk, is cut off first. ``torn`` says whether there was one.
    Each event is one ``write``, so a reader sees whole lines. Durable after ``sync``.
    """

    def __init__(self, path: Path) -> None:
        """Open it, or make it.

        Raises:
            StorageError: it cannot be written, or is no file.
        """
        self._path = path
        self.torn = False
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
            try:
                self.seq = self._recover()
            except OSError:
                os.close(self._descriptor)
                raise
        except OSError as error:
            raise storage_error(path, error) from error

    def append(self, event: JournalEvent) -> JournalEvent:
        """Write an event with the next ``seq`` and the time now; returns it as written.

        Raises:
            StorageError: no room, or the file is gone. What was written in part is taken back.
        """
        if os.fstat(self._descriptor).st_nlink == 0:  # nobody would ever read what is written there
            raise StorageError(
                f"{self._path} has been removed while the run was at work; what was trained since the last saved "
                "state is lost, and a resume goes on from there if the run directory is still there."
            )
        stamped: JournalEvent = msgspec.structs.replace(event, seq=self.seq + 1, t=round(time.time(), 3))
        line = encode_event(stamped) + b"\n"
        try:
            written = os.write(self._descriptor, line)
            while written < len(line):  # cut short: the next write raises, where there is no room
                written += os.write(self._descriptor, line[written:])
        except OSError as error:
            os.ftruncate(self._descriptor, self._size)
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
            raise storage_error(self._path, error) from error
        self._size += len(line)
        self.seq += 1
        return stamped

    def sync(self) -> None:
        """Put everything appended so far on the disk."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise storage_error(self._path, error) from error

    def close(self) -> None:
        """Close the file; the writer is of no use afterwards."""
        os.close(self._descriptor)

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _recover(self) -> int:
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise NotAFileError(self._path)
        size = found.st_size
        last, end = _last_whole_line(self._descriptor, size)
        if end < size:
            self.torn = True
            os.ftruncate(self._descriptor, end)
        self._size = end
        os.lseek(self._descriptor, end, os.SEEK_SET)
        return last.seq if last is not None else 0


def last_event(path: Path) -> JournalEvent | None:
    """The last event of a journal; None where there is none. Cost does not depend on the journal's length."""
    try:
        with _opened(path) as file:
            return _last_whole_line(file.fileno(), os.fstat(file.fileno()).st_size)[0]
    except FileNotFoundError:
        return None


def _last_whole_line(descriptor: int, size: int) -> tuple[JournalEvent | None, int]:
    """The last line that decodes, and its end offset; (None, 0) where none does."""
    start, tail = size, b""
    while start > 0:
        step = min(_BLOCK, start)
        start -= step
        tail = os.pread(descriptor, step, start) + tail
        end = tail.rfind(b"\n") + 1
        while end > 0:
            begin = tail.rfind(b"\n", 0, end - 1) + 1
            if begin == 0 and start > 0:
                break
            try:
                return decode_event(tail[begin : end - 1]), start + end
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                end = begin
    return None, 0


class JournalReader:
    """Reads events from an offset on; keeps its place between calls. Never waits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.offset = 0
        """Bytes of the file that have been read."""
        self.seq = 0
        """The last event returned."""

    def read(self, most_bytes: int = 8 * _BLOCK) -> list[JournalEvent]:
        """The events appended since the last call, up to a limit of bytes; a torn last line is left alone."""
        try:
            with _opened(self._path) as file:
                size = os.fstat(file.fileno()).st_size
                if size < self.offset:
                    self.offset, self.seq = 0, 0
                file.seek(self.offset)
                block = file.read(most_bytes)
                while b"\n" not in block and (rest := file.read(most_bytes)):
                    block += rest  # a line longer than the limit
        except FileNotFoundError:
            return []
        events: list[JournalEvent] = []
        start = good = 0
        while (end := block.find(b"\n", start)) >= 0:
            try:
                event = decode_event(block[start:end])
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                start = end + 1
                continue  # damaged: passed over for good only when a whole event follows
            start = good = end + 1
            if event.seq > self.seq:
                self.seq = event.seq
                events.append(event)
        if not good and start and size > self.offset + len(block):
            good = start  # nothing but damage in as much as is read at a time, and more behind it
        # A writer cuts off what follows the last whole event. A reader who stood behind that cut would find
        # itself in the middle of a line as soon as the journal has grown again, and lose an event.
        self.offset += good
        return events


def _opened(path: Path) -> BufferedReader:
    """A journal, open for reading.

    Raises:
        FileNotFoundError: it is not there.
        RunError: it cannot be read, or is no file.
    """
    try:
        return opened(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}.") from error


def read_journal(path: Path) -> Iterator[JournalEvent]:
    """Every event of a journal, in order."""
    reader = JournalReader(path)
    offset = -1
    while reader.offset != offset:
        offset = reader.offset
        yield from reader.read()


_MOST_SHOWN = 5


def damage(path: Path) -> str:
    """What a journal has lost, in a sentence; empty where it has lost nothing. Reads all of it.

    A torn end is not counted: the next writer cuts it off, and has it said.
    """
    bad: list[int] = []
    gaps: list[str] = []
    pending: list[int] = []
    seq = 0
    try:
        with _opened(path) as file:
            for number, line in enumerate(file, 1):
                try:
                    event = decode_event(line)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    pending.append(number)
                    continue
                bad += pending
                pending.clear()
                if event.seq > seq + 1:
                    gaps.append(f"{seq + 1}" if event.seq == seq + 2 else f"{seq + 1} to {event.seq - 1}")
                seq = max(seq, event.seq)
    except FileNotFoundError:
        return ""
    found = []
    if bad:
        found.append(f"lines that cannot be read: {_listed(list(map(str, bad)))}")
    if gaps:
        found.append(f"events that are missing: {_listed(gaps)}")
    if not found:
        return ""
    return (
        f"{path} is damaged ({'; '.join(found)}); what they told is lost, the training itself is not touched."
    )


def _listed(items: list[str]) -> str:
    more = len(items) - _MOST_SHOWN
    return ", ".join(items[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")
