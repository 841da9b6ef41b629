"""What is asked of a worker while it works: pause or stop, by control file or signal."""

from __future__ import annotations

import signal
from types import FrameType

from logbert_engine.rundir import control
from logbert_engine.rundir.control import Wish
from logbert_engine.rundir.layout import RunLayout


class Interrupted(Exception):
    """Raised where the work can be left: the state on disk is whole and a resume goes on from it."""

    def __init__(self, wish: Wish, cause: str) -> None:
        super().__init__(cause)
        self.wish = wish
        self.cause = cause


class Wishes:
    """Looks for requests between steps."""

    def __init__(self, run: RunLayout) -> None:
        self._run = run
        self._signal: int | None = None

    def listen(self) -> None:
        """Take SIGTERM and SIGINT as a request to stop, and let a hang-up pass."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def check(self) -> None:
        """Raise ``Interrupted`` when something is asked; costs microseconds when nothing is."""
        if self._signal is not None:
            raise Interrupted("stop", f"signal {signal.Signals(self._signal).name}")
        wish = control.pending(self._run)
        if wish is not None:
            raise Interrupted(wish, f"asked to {wish}")

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signal = number
        signal.signal(number, signal.SIG_DFL)  # a second one ends a worker that cannot look any more
