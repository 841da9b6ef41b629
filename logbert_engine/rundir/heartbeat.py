"""A sign of life: a file that the worker touches, so that a worker that hangs is told from one that is slow."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from logbert_engine.protocol.errors import StorageError
from logbert_engine.rundir.atomic import storage_error
from logbert_engine.rundir.layout import RunLayout

BEAT_S = 1.0
"""Least time between two touches."""


class Heartbeat:
    """The worker's side."""

    def __init__(self, run: RunLayout) -> None:
        self._path = run.heartbeat
        self._last = float("-inf")

    def beat(self) -> None:
        """Say that the work goes on. Cheap: touches the file once a second at most.

        Raises:
            StorageError: the run directory is gone or read-only.
        """
        now = time.monotonic()
        if now - self._last < BEAT_S:
            return
        self._last = now
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.utime(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise storage_error(self._path, error) from error

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Beat from a thread while a single long call runs that is bounded otherwise: a download, a save."""
        done = threading.Event()

        def run() -> None:
            with suppress(StorageError):  # the call itself meets the same trouble, and says so
                while not done.wait(BEAT_S):
                    self.beat()

        thread = threading.Thread(target=run, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


class Pulse:
    """The side of those who look: how long ago the heart last beat, by their own clock.

    Times of change are only compared with one another, so a clock that is set does no harm; and what lies
    between two looks counts for at most ``longest_gap_s``, so neither does a machine that slept.
    """

    def __init__(self, run: RunLayout, longest_gap_s: float = 5.0, also: Sequence[Path] = ()) -> None:
        """Of a run; a change of one of the files in ``also`` is a beat too."""
        self._paths = (run.heartbeat, *also)
        self._longest_gap_s = longest_gap_s
        self._seen = self._read()
        self._looked = time.monotonic()
        self._silent_s = 0.0

    def silent_s(self) -> float:
        """Seconds since the last beat, or since this object was made."""
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, self._longest_gap_s), now
        seen = self._read()
        if seen != self._seen:
            self._seen, self._silent_s = seen, 0.0
        else:
            self._silent_s += passed
        return self._silent_s

    def _read(self) -> list[int]:
        return [_changed(path) for path in self._paths]


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
