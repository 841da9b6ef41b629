"""The runs that this engine knows: opened when asked for, adopted when a worker is at work on them."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import time
from pathlib import Path
from typing import Protocol

from logbert_engine.daemon.paths import resolved
from logbert_engine.daemon.run import Child, Run, info_of
from logbert_engine.protocol.errors import LogbertError, RunError
from logbert_engine.protocol.events import RunEnded
from logbert_engine.protocol.messages import RunInfo
from logbert_engine.rundir import registry
from logbert_engine.rundir.condition import condition, require_run
from logbert_engine.rundir.journal import last_event
from logbert_engine.rundir.layout import RunLayout

KEPT_OPEN = 16
"""Runs that nobody looks at and that stay open all the same, as they may be asked for again."""
_IDLE_S = 60.0
_logger = logging.getLogger(__name__)


class Launcher(Protocol):
    """Starts a run's worker, as ``supervision.launch.launch`` does."""

    def __call__(self, run: RunLayout, *, restart_stage: bool) -> subprocess.Popen[bytes]:
        """Start it and return."""


class Runs:
    """Open runs by their directory."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._open: dict[Path, Run] = {}
        self._opening: dict[Path, asyncio.Task[Run]] = {}
        self._summaries: dict[Path, tuple[tuple[int, int, int], RunInfo]] = {}

    async def get(self, run_dir: str) -> Run:
        """A run by its directory, up to date with its journal.

        Raises:
            RunError: the directory holds no run.
        """
        path = await asyncio.to_thread(resolved, run_dir, "the run directory")
        run = self._open.get(path)
        if run is None:
            opening = self._opening.get(path)
            if opening is None:
                opening = self._opening[path] = asyncio.create_task(self._load(path))
                opening.add_done_callback(lambda _: self._opening.pop(path, None))
            run = await asyncio.shield(opening)
        else:
            await run.look()
        run.used_at = time.monotonic()
        return run

    async def launch(self, run: Run, *, restart_stage: bool = False) -> None:
        """Start a run's worker and watch it. The caller holds ``run.steering``.

        Raises:
            RunError: a worker of this engine is on its way already, or the process cannot be started.
            StorageError: the run directory cannot be written.
        """
        if run.child is not None:
            raise RunError(f"process {run.child.process.pid} is at work on {run.run_dir} already.")
        after_seq = run.state.seq
        process = await asyncio.to_thread(self._start, run.layout, restart_stage)
        run.child = Child(process, after_seq)
        run.watch()

    async def infos(self) -> list[RunInfo]:
        """All known runs, the latest first. A run whose worker is gone is found out here."""
        found: list[RunInfo] = []
        for path in await asyncio.to_thread(registry.known_runs):
            try:
                info = await self._info(path)
            except (LogbertError, OSError) as error:
                _logger.warning("%s is left out of the list: %s", path, error)
                continue
            found.append(info)
        return found

    async def adopt(self) -> None:
        """Watch every known run that claims to have a worker; journal the end of workers that are gone."""
        for path in await asyncio.to_thread(registry.known_runs):
            try:
                last = await asyncio.to_thread(last_event, RunLayout(path).journal)
                if last is not None and not isinstance(last, RunEnded):
                    (await self.get(str(path))).watch()
            except (LogbertError, OSError) as error:
                _logger.warning("%s cannot be watched: %s", path, error)

    async def close(self) -> None:
        """Stop watching; workers go on."""
        for task in list(self._opening.values()):
            task.cancel()
        for run in self._open.values():
            await run.close()

    async def _load(self, path: Path) -> Run:
        await asyncio.to_thread(require_run, RunLayout(path))
        run = Run(RunLayout(path))
        await run.load()
        self._forget_idle()
        self._open[path] = run
        if run.watched:
            run.watch()
        return run

    async def _info(self, path: Path) -> RunInfo:
        run = self._open.get(path)
        if run is not None:
            await run.look()
            return run.info()
        info = await asyncio.to_thread(self._summary, path)
        if info.phase in ("preparing", "training"):
            return (await self.get(str(path))).info()
        return info

    def _summary(self, path: Path) -> RunInfo:
        """In a thread: a run that is not open, read again only when its journal has changed."""
        layout = RunLayout(path)
        try:
            found = layout.journal.stat()
            stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
        except FileNotFoundError:
            stamp = (0, 0, 0)
        known = self._summaries.get(path)
        if known is None or known[0] != stamp:
            known = (stamp, info_of(str(path), condition(layout).state))
            self._summaries[path] = known
        return known[1]

    def _start(self, layout: RunLayout, restart_stage: bool) -> subprocess.Popen[bytes]:
        return self._launcher(layout, restart_stage=restart_stage)

    def _forget_idle(self) -> None:
        idle = sorted(
            (run.used_at, path)
            for path, run in self._open.items()
            if not run.watched and not run.steering.locked() and time.monotonic() - run.used_at > _IDLE_S
        )
        for _, path in idle[: max(0, len(self._open) - KEPT_OPEN)]:
            del self._open[path]
