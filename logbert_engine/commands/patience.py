"""Patience with a supervisor that was asked for something: as long as it shows that it, or a worker of it, lives."""

from __future__ import annotations

from logbert_engine.presets.runfile import read_config
from logbert_engine.protocol.errors import RunError
from logbert_engine.rundir.condition import condition
from logbert_engine.rundir.heartbeat import Pulse
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.processes import ProcessIdentity

SILENT_S = 60.0
"""After so long without a sign of life it is looked at more closely. A save is no silence: the heart beats on."""
_LONGEST_START_S = 120.0
"""How long the first sign of life may take that is to come: devices are counted and torch is imported."""
_AGAIN_S = 5.0


class Patience:
    """Of a command that waits."""

    def __init__(self, run: RunLayout, at_work: ProcessIdentity) -> None:
        """With the process that holds a run."""
        self._run, self._at_work = run, at_work
        self._pulse = Pulse(run, also=[run.journal])
        self._most_s = SILENT_S

    def check(self) -> None:
        """See whether it is worth to wait on.

        Raises:
            RunError: it is not: the process does not answer.
        """
        silent_s = self._pulse.silent_s()
        if silent_s < self._most_s:
            return
        self._most_s = silent_s + _AGAIN_S
        found = self._found(silent_s)
        if found:
            pid = self._at_work.pid
            raise RunError(
                f"{self._at_work}, at work on {self._run.root}, does not answer: {found}. "
                f"End it{f' with `kill -9 {pid}`' if pid else ''}; the state that was saved last stays, "
                "and a resume goes on from it."
            )

    def _found(self, silent_s: float) -> str:
        """What is wrong with it; empty where it may only be slow."""
        if self._at_work.stands_still():
            return f"it was stopped (SIGSTOP; `kill -CONT {self._at_work.pid}` lets it go on)"
        state = condition(self._run).state
        if state.ended is not None and state.pid == self._at_work.pid:
            return "it has said how the run ended, and does not leave"
        # One that answers ends a worker that hangs, and begins another attempt.
        hangs_s = max(read_config(self._run).workers.hang_minutes * 60, _LONGEST_START_S)
        return f"no sign of life for {silent_s:,.0f} s" if silent_s > hangs_s + SILENT_S else ""
