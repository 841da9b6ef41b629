"""Asks torch about this machine, in a process of its own: torch takes seconds to import, and may crash."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from collections.abc import Sequence

import msgspec

from logbert_engine.hardware.torch_answer import TorchAnswer, keep, key_of, remembered, with_best_rates
from logbert_engine.protocol.errors import DeviceError
from logbert_engine.protocol.messages import Hardware

PATIENCE_S = 90.0
"""A cold import from a slow disk takes half a minute; each of eight GPUs a second."""
_REINSTALL = "run: pip install --force-reinstall torch"


def ask_torch(
    hardware: Hardware, timeout_s: float = PATIENCE_S, command: Sequence[str] | None = None
) -> TorchAnswer:
    """Start a worker that tries out torch's devices, and keep what it says for this machine.

    Args:
        hardware: the machine, as the answer is kept for it.
        timeout_s: the worker is killed then.
        command: another worker's command line.

    Raises:
        DeviceError: torch is not installed, crashes, takes too long or says what makes no sense.
    """
    if command is None and importlib.util.find_spec("torch") is None:
        raise DeviceError("torch is not installed; run: pip install torch")
    words = (
        [sys.executable, "-P", "-m", "logbert_engine.hardware.torch_worker"] if command is None else command
    )
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(
            f"torch did not answer within {timeout_s:g} s; try again when the disk and the GPUs are less busy, "
            f"and if it stays so {_REINSTALL}"
        ) from None
    except OSError as error:
        raise DeviceError(
            f"a process that asks torch cannot be started: {error.strerror or error}; end other programs."
        ) from error
    if done.returncode:
        raise DeviceError(f"torch {_death(done.returncode)}: {_last_line(done.stderr)}; {_REINSTALL}")
    try:
        answer = msgspec.json.decode(_last_line(done.stdout).encode(), type=TorchAnswer)
    except msgspec.DecodeError as error:
        raise DeviceError(f"torch's answer makes no sense ({error}); {_REINSTALL}") from error
    key = key_of(hardware)
    answer = with_best_rates(answer, remembered(key))
    keep(key, answer)
    return answer


def _death(status: int) -> str:
    if status > 0:
        return "cannot be used"
    try:
        return f"crashed with {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it left no message")
