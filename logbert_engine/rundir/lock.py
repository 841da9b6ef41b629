"""The lock of a run directory: one worker at a time, and a second one learns who holds it."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from logbert_engine.protocol.errors import RunError
from logbert_engine.rundir.atomic import storage_error
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.processes import UNKNOWN, ProcessIdentity, identify

_PATIENCE_S = 0.5
"""How long a taker waits for those who only look (``holder`` has the lock for microseconds), and a looker for
the name of one who has taken the lock and not written it yet."""
_AGAIN_S = 0.01


def holder(run: RunLayout) -> ProcessIdentity | None:
    """Who holds the run directory's lock now, or None when it is free.

    Looking takes a shared lock for a moment, so that any number may look at once.

    Raises:
        StorageError: the lock file cannot be opened.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while _taken(run):
        found = named_in(run.lock)
        if found is not None or time.monotonic() >= deadline:
            return found or UNKNOWN
        time.sleep(_AGAIN_S)
    return None


@contextmanager
def held(run: RunLayout) -> Iterator[None]:
    """Hold the run directory's lock. The kernel frees it when the process dies, however it dies.

    Raises:
        RunError: another process holds it; the message names it.
        StorageError: the lock file cannot be written.
    """
    try:
        run.root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(run.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise storage_error(run.lock, error) from error
    try:
        if not _take(descriptor):
            raise RunError(
                f"the run directory {run.root} is held by {named_in(run.lock) or UNKNOWN}; "
                "choose another --run-dir, or stop that run first."
            )
        try:
            write_name(descriptor)
        except OSError as error:
            raise storage_error(run.lock, error) from error
        yield
    finally:
        os.close(descriptor)


def write_name(descriptor: int) -> None:
    """Write who has taken a lock into its file.

    Raises:
        OSError: no room.
    """
    name = msgspec.json.encode(identify())
    os.pwrite(descriptor, name, 0)
    os.ftruncate(descriptor, len(name))


def named_in(path: Path) -> ProcessIdentity | None:
    """The process that a lock file that is taken names.

    None where it names nobody, or somebody who is gone: the one before, as who has taken a lock writes its
    name a moment later. A process of another host (on a shared file system) is believed.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=ProcessIdentity)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if found.host != socket.gethostname() or found.alive() else None


def _taken(run: RunLayout) -> bool:
    try:
        # Not to wait for a writer, where somebody has put a pipe there.
        descriptor = os.open(run.lock, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise storage_error(run.lock, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _take(descriptor: int) -> bool:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_AGAIN_S)
        else:
            return True
