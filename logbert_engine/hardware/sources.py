"""Where the figures about this machine come from. Tests feed recorded answers through the same door."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

MB = 1 << 20
"""Bytes in a megabyte, as all figures here count them."""


@dataclass(frozen=True)
class HostMemory:
    """The machine's memory, in bytes."""

    total: int
    available: int


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None  # the file is one of several that a kernel may or may not have


def _run(words: tuple[str, ...]) -> str | None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _memory() -> HostMemory:
    memory = psutil.virtual_memory()
    return HostMemory(memory.total, memory.available)


def _cpus() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _physical_cores() -> int | None:
    return psutil.cpu_count(logical=False)


def _free_disk(path: Path) -> int:
    return shutil.disk_usage(path).free


@dataclass(frozen=True)
class Sources:
    """What is asked of the system. Each answer is None where the system does not have it."""

    system: str = platform.system()
    """``Linux`` or ``Darwin``."""
    machine: str = platform.machine()
    """``x86_64``, ``aarch64`` or ``arm64``."""
    read_text: Callable[[Path], str | None] = _read_text
    run: Callable[[tuple[str, ...]], str | None] = _run
    """The standard output of a command that succeeds."""
    memory: Callable[[], HostMemory] = _memory
    host: Callable[[], str] = socket.gethostname
    cpus: Callable[[], frozenset[int]] = _cpus
    """Processors that this process may run on (``taskset`` and SLURM take some away)."""
    physical_cores: Callable[[], int | None] = _physical_cores
    """Of the whole machine."""
    free_disk: Callable[[Path], int] = _free_disk
    """Bytes that a user may still write where an existing path is; an OSError where that is not told."""
