"""The processor's name and cores, and how many processes have use for them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from logbert_engine.hardware.sources import Sources
from logbert_engine.protocol.errors import DeviceError

_MODEL = re.compile(r"^(?:model name|Model|cpu model)\s*:\s*(\S.*)$", re.MULTILINE)

_ALWAYS = 8
"""Processes that may be asked for on any machine."""


def processor_name(sources: Sources) -> str:
    """As its maker calls it: ``AMD EPYC 7763``, ``Apple M4 Max (10 performance and 4 efficiency cores)``."""
    if sources.system == "Darwin":
        return _apple(sources)
    match = _MODEL.search(sources.read_text(Path("/proc/cpuinfo")) or "")
    if match:
        return " ".join(match[1].split())
    # Arm kernels give numbers instead of a name; boards tell theirs in the device tree
    board = (sources.read_text(Path("/proc/device-tree/model")) or "").strip("\0 \n")
    return board or sources.machine or "unknown processor"


def check_count(processes: int) -> None:
    """Refuse more training processes than a machine has use for: each takes hundreds of MB to begin with.

    Raises:
        DeviceError: more than there are processors, and than eight.
    """
    most = max(_ALWAYS, os.cpu_count() or 1)
    if processes > most:
        raise DeviceError(
            f"{processes} processes are more than this machine has use for; give --nproc a number up to {most}, or "
            "auto for one on each CUDA device."
        )


def sysctl(sources: Sources, name: str) -> str:
    """A value of the macOS kernel; empty where there is none."""
    return (sources.run(("/usr/sbin/sysctl", "-n", name)) or "").strip()


def is_translated(sources: Sources) -> bool:
    """Whether this Python is for Intel and runs on an Apple chip, under Rosetta."""
    return sources.system == "Darwin" and sysctl(sources, "sysctl.proc_translated") == "1"


def apple_cores(sources: Sources) -> tuple[int, int]:
    """Performance and efficiency cores of an Apple chip; zeros where macOS does not tell two kinds."""
    fast, slow = (sysctl(sources, f"hw.perflevel{level}.physicalcpu") for level in (0, 1))
    return (int(fast), int(slow)) if fast.isdecimal() and slow.isdecimal() else (0, 0)


def _apple(sources: Sources) -> str:
    name = sysctl(sources, "machdep.cpu.brand_string") or sources.machine
    fast, slow = apple_cores(sources)
    return f"{name} ({fast} performance and {slow} efficiency cores)" if fast else name
