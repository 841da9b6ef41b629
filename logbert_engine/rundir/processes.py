"""Processes named so that a reused pid is never taken for ours: the pid with the start time."""

from __future__ import annotations

import os
import socket

import msgspec
import psutil


class ProcessIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A process on a host."""

    pid: int
    started: float
    """Unix seconds, as the kernel tells them."""
    host: str

    def alive(self) -> bool:
        """Whether exactly this process still runs (a zombie does not)."""
        if self.host != socket.gethostname():
            return False
        try:
            process = psutil.Process(self.pid)
            return (
                abs(process.create_time() - self.started) < 2.0 and process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.NoSuchProcess:
            return False


def identify(pid: int | None = None) -> ProcessIdentity:
    """The identity of a running process; our own without a pid.

    Raises:
        psutil.NoSuchProcess: no such process.
    """
    number = os.getpid() if pid is None else pid
    started = psutil.Process(number).create_time()
    return ProcessIdentity(pid=number, started=started, host=socket.gethostname())
