"""The lock of a run directory: one worker at a time, and a second one learns who holds it.

The kernel's lock (``flock``) counts by inode, so that one on a file alone would be gone for others with the file's
name: after ``rm RUN/lock``, or when a tool that keeps folders alike has put its copy there, a second supervisor
would find a free one and train into the same files. So whoever holds a run holds two locks: that of the directory
itself, which cannot be replaced while it is the run's, and that of the file ``lock``, which names the holder and
which file systems lock that do not lock directories, or do so for one machine only. The supervisor puts the file back
(``Hold.keep``) when it is gone.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from logbert_engine.protocol.errors import RunError
from logbert_engine.rundir.atomic import storage_error
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.processes import UNKNOWN, ProcessIdentity, identify

_PATIENCE_S = 0.5
"""How long a taker waits for those who only look (``holder`` has the lock for microseconds)."""
_NAMED_S = 1.5
"""How long a looker waits for the name of one who has the lock: it writes it a moment later, and a supervisor whose
lock file was removed puts it back when it looks next, once a second."""
_AGAIN_S = 0.01


class Hold:
    """A run directory that this process holds."""

    def __init__(self, run: RunLayout) -> None:
        """Open what is to be locked.

        Raises:
            OSError: the directory cannot be made, or the file not be written.
        """
        self._name = run.lock.name
        run.root.mkdir(parents=True, exist_ok=True)
        self._folder = os.open(run.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._file = self._open()
        except OSError:
            os.close(self._folder)
            raise
        self._since_ns = 0

    def take(self) -> bool:
        """Take it, unless another process has it; returns whether it is taken.

        Raises:
            OSError: the file cannot be locked or written.
        """
        if not (_patiently(self._folder, folder=True) and _patiently(self._file)):
            return False
        write_name(self._file)
        self._since_ns = os.fstat(self._file).st_mtime_ns
        return True

    def keep(self) -> None:
        """Put the lock file back where it was removed or replaced.

        What cannot be done now (a full disk, a looker at this very moment) is done at the next call: the lock of
        the directory keeps others out meanwhile.
        """
        with suppress(OSError):
            if self._is_there():
                return
            fresh = self._open()
            try:
                fcntl.flock(fresh, fcntl.LOCK_EX | fcntl.LOCK_NB)
                write_name(fresh)
                os.utime(fresh, ns=(self._since_ns, self._since_ns))  # its time tells when the run was taken
            except OSError:
                os.close(fresh)
                raise
            os.close(self._file)
            self._file = fresh

    def close(self) -> None:
        """Let go of it."""
        os.close(self._file)
        os.close(self._folder)

    def _open(self) -> int:
        return os.open(self._name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644, dir_fd=self._folder)

    def _is_there(self) -> bool:
        try:
            there = os.stat(self._name, dir_fd=self._folder)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._file))


def holder(run: RunLayout) -> ProcessIdentity | None:
    """Who holds the run directory's lock now, or None when it is free.

    Looking takes a shared lock for a moment, so that any number may look at once.

    Raises:
        StorageError: the lock file cannot be opened.
    """
    deadline = time.monotonic() + _NAMED_S
    while _taken(run.root, folder=True) or _taken(run.lock):
        found = named_in(run.lock)
        if found is not None or time.monotonic() >= deadline:
            return found or UNKNOWN
        time.sleep(_AGAIN_S)
    return None


@contextmanager
def held(run: RunLayout) -> Iterator[Hold]:
    """Hold the run directory's lock. The kernel frees it when the process dies, however it dies.

    Raises:
        RunError: another process holds it; the message names it.
        StorageError: the lock file cannot be written.
    """
    try:
        hold = Hold(run)
    except OSError as error:
        raise storage_error(run.lock, error) from error
    try:
        try:
            taken = hold.take()
        except OSError as error:
            raise storage_error(run.lock, error) from error
        if not taken:
            raise RunError(
                f"the run directory {run.root} is held by {holder(run) or UNKNOWN}; "
                "choose another --run-dir, or stop that run first."
            )
        yield hold
    finally:
        hold.close()


def write_name(descriptor: int) -> None:
    """Write who has taken a lock into its file.

    Raises:
        OSError: no room.
    """
    name = msgspec.json.encode(identify())
    os.pwrite(descriptor, name, 0)
    os.ftruncate(descriptor, len(name))


def is_name_plate(descriptor: int) -> bool:
    """Whether a file is a lock's, whoever wrote it last: empty, zeroed by a crash, or with a name in it."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return False
    begins = os.pread(descriptor, 16, 0)
    return not begins.strip(b"\0") or begins.startswith(b'{"pid":')


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


def _taken(path: Path, *, folder: bool = False) -> bool:
    try:
        # Not to wait for a writer, where somebody has put a pipe there.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise storage_error(path, error) from error
    try:
        return not _lock(descriptor, fcntl.LOCK_SH, folder=folder)
    finally:
        os.close(descriptor)


def _patiently(descriptor: int, *, folder: bool = False) -> bool:
    deadline = time.monotonic() + _PATIENCE_S
    while not _lock(descriptor, fcntl.LOCK_EX, folder=folder):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_AGAIN_S)
    return True


def _lock(descriptor: int, kind: int, *, folder: bool) -> bool:
    """Whether nobody else had it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        if not folder:
            raise
        # A file system that locks files alone: so do we there.
    return True
