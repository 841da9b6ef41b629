"""The lock of a run directory: one worker at a time, and a second one learns who holds it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from logbert_engine.protocol.errors import RunError
from logbert_engine.rundir.atomic import storage_error
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.processes import ProcessIdentity, identify

_PATIENCE_S = 0.5
"""How long a taker waits for those who only look: ``holder`` has the lock for microseconds."""


def holder(run: RunLayout) -> ProcessIdentity | None:
    """Who holds the run directory's lock now, or None when it is free.

    Looking takes a shared lock for a moment, so that any number may look at once.

    Raises:
        StorageError: the lock file cannot be opened.
    """
    try:
        descriptor = os.open(run.lock, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise storage_error(run.lock, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(run.lock) or ProcessIdentity(pid=0, started=0.0, host="?")
    else:
        return None
    finally:
        os.close(descriptor)


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
            other = _read(run.lock)
            name = f"process {other.pid} on {other.host}" if other else "another process"
            raise RunError(
                f"the run directory {run.root} is held by {name}; "
                "choose another --run-dir, or stop that run first."
            )
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, msgspec.json.encode(identify()), 0)
        except OSError as error:
            raise storage_error(run.lock, error) from error
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        else:
            return True


def _read(path: Path) -> ProcessIdentity | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=ProcessIdentity)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
