"""What is asked of a worker while it works: pause or stop, by control file or signal."""

from __future__ import annotations

import signal
from types import FrameType

from logbert_engine.rundir import control
from logbert_engine.rundir.control import Wish
from logbert_engine.rundir.heartbeat import Heartbeat
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lifeline import TO_RANKS

_CODES: tuple[Wish | None, ...] = (None, "pause", "stop")


class Interrupted(Exception):
    """Raised where the work can be left: the state on disk is whole and a resume goes on from it."""

    def __init__(self, wish: Wish, cause: str) -> None:
        super().__init__(cause)
        self.wish = wish
        self.cause = cause


class Wishes:
    """Looks for requests between steps, and shows on the way that the worker lives."""

    def __init__(self, run: RunLayout, *, leads: bool = True) -> None:
        """Of rank 0 (``leads``), who reads the control file for all, or of another rank."""
        self._run = run
        self._leads = leads
        self._signal: int | None = None
        self.heart = Heartbeat(run)

    def listen(self, *, alone: bool = True) -> None:
        """Take SIGTERM and SIGINT as a request to stop, and let a hang-up pass.

        To ranks of a team torchrun sends SIGTERM when another one has ended, which is no request: the supervisor
        sends them ``TO_RANKS`` instead.

        Once is enough: whoever insists is heard by the supervisor. Here a second signal is the same one that came
        by two ways, however late it is noticed: Python hears of signals between two of its instructions, and one of
        them may be a write that takes seconds.
        """
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if alone:
            signal.signal(signal.SIGTERM, self._on_signal)
            signal.signal(signal.SIGINT, self._on_signal)
        else:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(TO_RANKS, self._on_signal)

    def check(self) -> None:
        """Raise ``Interrupted`` when something is asked; for where no other rank has to follow."""
        code = self.code()
        if code:
            raise self.interruption(code)

    def code(self) -> int:
        """What is asked, as a number that ranks can agree on by the highest: 0 nothing. Costs microseconds."""
        self.beat()
        if self._signal is not None:
            return _CODES.index("stop")
        return _CODES.index(control.pending(self._run)) if self._leads else 0

    def beat(self) -> None:
        """Show that the work goes on; rank 0 speaks for all."""
        if self._leads:
            self.heart.beat()

    def interruption(self, code: int) -> Interrupted:
        """The exception for what was agreed on."""
        wish = _CODES[code]
        assert wish is not None
        heard = self._signal
        if heard is None and wish == "stop" and control.pending(self._run) is None:
            heard = TO_RANKS  # another rank was the first to hear it
        if heard is None:
            return Interrupted(wish, f"asked to {wish}")
        name = "SIGTERM" if heard == TO_RANKS else signal.Signals(heard).name
        return Interrupted(wish, f"signal {name}")

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._signal is None:
            self._signal = number
