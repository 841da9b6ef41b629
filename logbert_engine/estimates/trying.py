"""A trial: some real steps at a preset's size, taken by a short process of its own (``training.trial``)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

import msgspec

from logbert_engine.presets.types import Decoder, Device, Encoder, Training
from logbert_engine.protocol.errors import DeviceError, LogbertError
from logbert_engine.rundir.lifeline import tied_environment

STEPS = 20
PATIENCE_S = 90.0
"""Seconds after which a trial makes do with the steps that it has."""
_MODULE = "logbert_engine.training.trial"


class TrialSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to try."""

    model: Encoder | Decoder
    training: Training
    device: Device
    events: int
    """Distinct events of the data; a decoder has its own vocabulary."""
    micro_batch: int
    length: int
    """Tokens of a sequence, in the steps whose time is taken."""
    longest: int
    """Tokens of the longest sequences; a step of those comes first, for the peak of memory."""
    accumulates: bool = False
    """Whether a step takes several micro-batches, so that gradients lie there while the next is computed."""
    steps: int = STEPS
    patience_s: float = PATIENCE_S


class TrialResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. Seconds are medians over ``steps``."""

    device: str
    """``cpu``, ``mps`` or ``cuda``."""
    precision: str
    micro_s: float
    """Forward and backward pass of a micro-batch of sequences of ``length``."""
    update_s: float
    """Clipping and the optimizer's step."""
    steps: int
    """That the medians are of."""
    spread: float
    """Interquartile range of the seconds of a micro-batch, as a share of their median."""
    empty_mb: float
    """Resident memory of the process before the model was made."""
    peak_mb: float
    """Highest memory: of the device where it has its own, else resident; with a micro-batch of ``longest``."""


class _Said(msgspec.Struct, kw_only=True):
    """A line of the trial's standard output."""

    step: int = 0
    result: TrialResult | None = None
    error: str = ""
    out_of_memory: bool = False


class TrialError(LogbertError):
    """A trial did not come to its end; the message says why."""

    def __init__(self, message: str, *, out_of_memory: bool = False) -> None:
        super().__init__(message)
        self.out_of_memory = out_of_memory


class Trial:
    """A trial that runs. ``close`` ends it, also before its end."""

    def __init__(self, spec: TrialSpec) -> None:
        self._spec = spec
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=tied_environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise DeviceError(f"the trial cannot be started: {error.strerror or error}.") from error

    def result(self, progress: Callable[[int, int], None] | None = None) -> TrialResult:
        """Wait for it.

        Args:
            progress: called with (steps done, steps at most).

        Raises:
            TrialError: it failed, was killed or closed; ``out_of_memory`` tells the reason that matters most.
        """
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(msgspec.json.encode(self._spec))
            process.stdin.close()
        for line in process.stdout:
            try:
                said = msgspec.json.decode(line, type=_Said)
            except msgspec.DecodeError:
                continue  # a library that prints
            if said.error:
                raise TrialError(said.error, out_of_memory=said.out_of_memory)
            if said.result is not None:
                return said.result
            if progress is not None:
                progress(said.step, self._spec.steps)
        raise self._died()

    def _died(self) -> TrialError:
        assert self._process.stderr is not None
        words = self._process.stderr.read().decode(errors="replace").strip().splitlines()
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return TrialError(
                "the trial was killed, as the kernel does where memory runs out; try a smaller micro-batch.",
                out_of_memory=True,
            )
        if code < 0:
            return TrialError(f"the trial was ended by signal {-code}.")
        return TrialError(
            f"the trial failed (exit status {code}): {words[-1] if words else 'it said nothing'}."
        )

    def kill(self) -> None:
        """End the process, if it is still there; ``result`` then raises. From any thread."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the process, if it is still there, and wait for it."""
        process = self._process
        if process.poll() is None:
            self.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
