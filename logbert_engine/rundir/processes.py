"""Processes named so that a reused pid is never taken for ours: the pid with the moment of its start."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import msgspec
import psutil

_TOLERANCE_S = 2.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class ProcessIdentity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A process on a host."""

    pid: int
    started: float
    """Unix seconds, as the system's clock stood when it was named."""
    host: str
    ticks: int | None = None
    """Clock ticks from the machine's start to the process's, where the kernel tells them (Linux).

    Unlike ``started``, which is computed from the clock, they stay the same when the clock is set.
    """
    boot: str = ""
    """Tells one start of the machine from another, as ticks count from it."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.pid else "another process"

    def alive(self) -> bool:
        """Whether exactly this process still runs (a zombie does not)."""
        if self.host != socket.gethostname() or self.pid <= 0:
            return False
        try:
            process = psutil.Process(self.pid)
            if self.ticks is None:
                same = abs(process.create_time() - self.started) < _TOLERANCE_S
            else:
                same = (_ticks(self.pid), _boot()) == (self.ticks, self.boot)
            return same and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            return False

    def stands_still(self) -> bool:
        """Whether exactly this process was stopped (SIGSTOP, a debugger), so that it answers nothing."""
        if not self.alive():
            return False
        try:
            return psutil.Process(self.pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
        except psutil.NoSuchProcess:
            return False


UNKNOWN = ProcessIdentity(pid=0, started=0.0, host="?")
"""A process of which only the traces are seen."""


def identify(pid: int | None = None) -> ProcessIdentity:
    """The identity of a running process; our own without a pid.

    Raises:
        psutil.NoSuchProcess: no such process.
    """
    number = os.getpid() if pid is None else pid
    started = psutil.Process(number).create_time()
    host = socket.gethostname()
    if sys.platform != "linux":
        return ProcessIdentity(pid=number, started=started, host=host)
    try:
        return ProcessIdentity(pid=number, started=started, host=host, ticks=_ticks(number), boot=_boot())
    except (FileNotFoundError, ProcessLookupError) as error:
        raise psutil.NoSuchProcess(number) from error


def _ticks(pid: int) -> int:
    content = Path(f"/proc/{pid}/stat").read_bytes()
    # proc(5): the second field is the name in parentheses, which may hold anything; starttime is the 22nd.
    return int(content[content.rindex(b")") + 2 :].split()[19])


def _boot() -> str:
    return _BOOT_ID.read_text().strip()
