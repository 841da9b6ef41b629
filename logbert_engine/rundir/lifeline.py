"""Between a process and the one that started it: neither an orphan nor a signal that means two things."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import NoReturn

PARENT = "LOGBERT_PARENT"
"""Environment variable: the process whose end is the end of this one."""
TO_RANKS = signal.SIGUSR1
"""Asks the ranks of a team to stop: SIGTERM is what torchrun ends them with."""
_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.5


def tied_environment() -> dict[str, str]:
    """The environment for a child that is to be tied to this process."""
    return {**os.environ, PARENT: str(os.getpid())}


def tie_to_parent() -> None:
    """End this process with SIGKILL as soon as its parent is gone; end it now when it is gone already.

    Linux tells the kernel (prctl PR_SET_PDEATHSIG, which counts from the thread that started us: that has to be
    one that lives as long as its process); elsewhere a thread looks twice a second.
    """
    parent = int(os.environ[PARENT])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), name="lifeline", daemon=True).start()
    if os.getppid() != parent:  # it died before we could ask
        os.kill(os.getpid(), signal.SIGKILL)


def leave_at_once(code: int) -> NoReturn:
    """End this process without tearing it down, once all that matters is closed and on disk.

    Taking torch and transformers apart costs up to 3 s on a busy machine, in which the memory is still held, and
    threads of a transport whose peer is gone may never end.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os.kill(os.getpid(), signal.SIGKILL)
