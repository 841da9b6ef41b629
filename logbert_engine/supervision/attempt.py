"""The processes of one attempt at a run: one worker, or torchrun with a rank a device."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

import psutil

from logbert_engine.protocol.errors import RunError, StorageError
from logbert_engine.rundir import control
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lifeline import TO_RANKS, tied_environment

_GONE_S = 10.0
"""How long the kernel may take to clear killed processes away."""


def attempt_command(run: RunLayout, nproc: int) -> list[str]:
    """The command line of the process to start: the worker itself, or the agent that starts the ranks."""
    python = [sys.executable, "-P", "-m"]
    if nproc == 1:
        return [*python, "logbert_engine.training.worker", str(run.root)]
    return [*python, "logbert_engine.training.elastic", str(run.root), str(nproc)]


class Attempt:
    """Started when it is made. All of its processes end when the one that made it ends."""

    def __init__(self, run: RunLayout, nproc: int) -> None:
        """Start it.

        Raises:
            RunError: the process cannot be started.
        """
        self._run = run
        self._single = nproc == 1
        try:
            self._process = subprocess.Popen(
                attempt_command(run, nproc),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=tied_environment(),
                close_fds=True,
            )
        except OSError as error:
            reason = error.strerror or str(error)
            raise RunError(f"the worker of {run.root} cannot be started: {reason}.") from error

    @property
    def pid(self) -> int:
        """The worker's process, or the agent's."""
        return self._process.pid

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def pass_on(self, number: int) -> None:
        """Ask those who train to stop. Not torchrun, which would end its ranks in mid-save."""
        for pid in [self.pid] if self._single else self._below():
            with suppress(ProcessLookupError):
                os.kill(pid, number if self._single else TO_RANKS)
        if self._single:
            return
        with suppress(StorageError):  # a rank that is just starting hears no signal, but reads this
            control.request(self._run, "stop")  # the others have heard, and can say what it was

    def kill(self) -> int:
        """End all of it at once.

        Returns:
            The exit status.
        """
        below = self._below()
        self._process.kill()
        for pid in below:  # they are tied to the one above, but a stopped thread of it may keep them
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        status = self._process.wait()
        left = []
        for pid in below:
            with suppress(psutil.NoSuchProcess):
                left.append(psutil.Process(pid))
        psutil.wait_procs(left, timeout=_GONE_S)
        return status

    def _below(self) -> list[int]:
        try:
            return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
