"""What the clients of one engine share: its runs, inferences and results."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from logbert_engine import __version__
from logbert_engine.daemon.connection import Connection
from logbert_engine.daemon.estimating import Estimating
from logbert_engine.daemon.inference import Inferences
from logbert_engine.daemon.load import LoadFeed
from logbert_engine.daemon.results import Results
from logbert_engine.daemon.runs import Launcher, Runs
from logbert_engine.protocol.locations import DEFAULT_RUN_DIR
from logbert_engine.protocol.messages import Welcome

PATIENCE_S = 30.0
"""A client that has not read a byte for so long is dropped."""
MOST_THINKING = 2
"""Threads that compute for clients at a time."""


class Engine:
    """The state of the daemon."""

    def __init__(
        self,
        launcher: Launcher,
        *,
        patience_s: float = PATIENCE_S,
        stopping: asyncio.Event | None = None,
    ) -> None:
        self.patience_s = patience_s
        self.started_at = time.time()
        self.runs = Runs(launcher)
        self.inferences = Inferences()
        self.results = Results()
        self.estimating = Estimating()
        self.load = LoadFeed(self)
        self.thinking = asyncio.Semaphore(MOST_THINKING)
        """Held by a thread that computes for a client."""
        self.connections: set[Connection] = set()
        self.stopping = stopping or asyncio.Event()
        """Set when the engine is to leave."""
        self._id = secrets.token_hex(8)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._start_folder = _working_folder()

    def welcome(self, protocol: int) -> Welcome:
        """The answer to ``hello``."""
        return Welcome(
            protocol=protocol,
            engine_version=__version__,
            engine_id=self._id,
            pid=os.getpid(),
            started_at=self.started_at,
            default_run_dir=str(self._start_folder / DEFAULT_RUN_DIR),
            home=str(Path.home()),
        )

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Carry something out that goes on when the client that asked for it leaves."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Let clients have their answers, then let go of everything but the workers."""
        for connection in list(self.connections):
            connection.leave()
        await self.inferences.close()
        await self.estimating.close()
        await self.load.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.runs.close()


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:  # removed since the engine was started there
        return Path.home()
