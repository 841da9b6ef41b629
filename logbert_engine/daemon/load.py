"""The machine's load, once a second, to clients that follow a run."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from logbert_engine.protocol.messages import Resources

if TYPE_CHECKING:
    from logbert_engine.daemon.connection import Connection
    from logbert_engine.daemon.engine import Engine
    from logbert_engine.hardware.sampler import Sampler

EVERY_S = 1.0
_logger = logging.getLogger(__name__)


class LoadFeed:
    """Samples while somebody follows a run, and rests otherwise."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._task: asyncio.Task[None] | None = None
        self._samplers: dict[int | None, Sampler] = {}
        """One for each worker, as a sampler tells the load since its last sample."""

    def wake(self) -> None:
        """Somebody began to follow a run."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._feed(), name="load")

    async def close(self) -> None:
        """Stop sampling."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await asyncio.to_thread(self._keep, set())

    async def _feed(self) -> None:
        while followers := self._followers():
            try:
                samples = await asyncio.to_thread(self._sample, set(followers.values()))
            except Exception:
                _logger.exception("the machine's load cannot be told")
                return
            for client, pid in followers.items():
                client.notify("resources", samples[pid], key="resources")
            await asyncio.sleep(EVERY_S)
        await asyncio.to_thread(self._keep, set())

    def _followers(self) -> dict[Connection, int | None]:
        """Clients that follow a run, with the worker of the run that each began to follow last."""
        return {
            client: next(reversed(client.followed.values())).worker_pid
            for client in self._engine.connections
            if client.followed
        }

    def _sample(self, pids: set[int | None]) -> dict[int | None, Resources]:
        from logbert_engine.hardware.sampler import Sampler

        self._keep(pids)
        for pid in pids - self._samplers.keys():
            self._samplers[pid] = Sampler()
        return {pid: self._samplers[pid].sample(pid) for pid in pids}

    def _keep(self, pids: set[int | None]) -> None:
        for pid in self._samplers.keys() - pids:
            self._samplers.pop(pid).close()
