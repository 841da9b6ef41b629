"""Row 4: the engine is killed. Training does not notice, the next engine adopts it, no client misses an event."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from logbert_engine.protocol.client import EngineClient
from logbert_engine.protocol.errors import EngineError, RunError
from logbert_engine.protocol.events import JournalEvent, Metric, RunEnded, RunOpened
from logbert_engine.protocol.messages import Events, Resources, RunRef, Subscribe, Subscribed
from logbert_engine.protocol.starting import ensure_engine
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import holder
from tests.faults.exact import (
    DEADLINE_S,
    LONG,
    SMALL,
    Size,
    assert_same,
    came_to,
    reference,
    sessions_of,
    spec,
)
from tests.faults.harness import Fault, environment

pytestmark = [pytest.mark.row(4), pytest.mark.timeout(1200)]
PAUSE_S = 0.5
"""Between two steps, for as long as engines are killed: so that the run does not end before."""


class Console:
    """A client that follows one run through all of its engines, as the console does."""

    def __init__(self, run: RunLayout) -> None:
        self._run = run
        self.client: EngineClient
        self.events: list[JournalEvent] = []
        self.worker_seen = asyncio.Event()
        """The engine told the load of the run's process."""
        self._reading: asyncio.Task[None] | None = None

    @property
    def seq(self) -> int:
        return self.events[-1].seq if self.events else 0

    async def connect(self) -> None:
        """To the engine that runs, or to a new one: a busy machine may not start one in the time that it has."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    self.client = await EngineClient.connect(await ensure_engine(), "test")
                    return
                except EngineError:
                    await asyncio.sleep(0.1)

    async def follow(self) -> None:
        """From the last event on that has come."""
        answer = await self.client.call(
            "subscribe", Subscribe(run_dir=str(self._run.root), since_seq=self.seq)
        )
        assert isinstance(answer, Subscribed)
        assert answer.snapshot is None or not self.events, "an event was lost"
        self.worker_seen.clear()
        self._reading = asyncio.create_task(self._read())

    async def lost(self) -> None:
        """Wait for the end of the connection, and take in all that came before it."""
        await asyncio.wait_for(self.client.closed.wait(), DEADLINE_S)
        if self._reading is not None:
            await self._reading
        await self.client.close()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110 - another process acts
                await asyncio.sleep(0.01)

    async def _read(self) -> None:
        async for notification in self.client.notifications():
            if isinstance(notification, Events):
                self.events += notification.events
            elif isinstance(notification, Resources) and notification.worker_rss_mb:
                self.worker_seen.set()

    async def kill_engine(self) -> int:
        """Returns its process."""
        pid = self.client.welcome.pid
        os.kill(pid, signal.SIGKILL)
        await self.lost()
        return pid


@pytest.mark.parametrize(
    ("size", "kills"),
    [(SMALL, 3), pytest.param(LONG, 50, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])],
)
async def test_training_goes_on_undisturbed_and_every_next_engine_adopts_it(
    real_run: RunLayout,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    size: Size,
    kills: int,
    record_property: Callable[[str, object], None],
) -> None:
    undisturbed = reference(tmp_path_factory, size, within_s=1800)
    slowly = tmp_path / "slowly"
    slowly.touch()
    fault = Fault(
        "logbert_engine.training.step:accumulate",
        "sleep",
        tmp_path / "marks",
        when=f"__import__('os').path.exists({str(slowly)!r})",
        times=0,
        amount=PAUSE_S,
    )
    for name, value in environment(fault).items():
        monkeypatch.setenv(name, value)
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    console = Console(real_run)
    await console.connect()
    engines = [console.client.welcome.pid]
    try:
        await console.client.call("start_run", spec(sessions_of(tmp_path_factory, size), real_run.root, size))
        await console.follow()
        await console.until(lambda: console.events and isinstance(console.events[-1], Metric))
        supervisor = holder(real_run)
        assert supervisor is not None
        for _ in range(kills):
            await asyncio.sleep(draw.uniform(0, 0.5))
            await console.kill_engine()
            await console.connect()
            engines.append(console.client.welcome.pid)
            await console.follow()
            assert holder(real_run) == supervisor, "the same process, by its pid and start time"
            with pytest.raises(RunError, match=f"process {supervisor.pid} "):
                await console.client.call("resume", RunRef(run_dir=str(real_run.root)))
        await asyncio.wait_for(console.worker_seen.wait(), DEADLINE_S)
        slowly.unlink()
        await console.until(lambda: not supervisor.alive())
        await console.until(lambda: console.seq == last_seq(real_run))
    finally:
        end_engine(console.client.welcome.pid)
    assert len(set(engines)) == kills + 1
    journal = list(read_journal(real_run.journal))
    assert console.events == journal, "what the client saw, once each and in order"
    opened = [event for event in journal if isinstance(event, RunOpened)]
    assert [event.pid for event in opened] == [supervisor.pid]
    assert_same(came_to(real_run), undisturbed)
    record_property("kills", kills)
    record_property("events without a gap", len(journal))


def last_seq(run: RunLayout) -> int:
    return max(event.seq for event in read_journal(run.journal))


def end_engine(pid: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.kill()
        process.wait(DEADLINE_S)


@pytest.mark.slow
async def test_an_engine_killed_while_it_starts_a_run_leaves_a_run_that_trains_or_none(
    real_run: RunLayout, tmp_path_factory: pytest.TempPathFactory
) -> None:
    undisturbed = reference(tmp_path_factory, SMALL)
    console = Console(real_run)
    await console.connect()
    request = spec(sessions_of(tmp_path_factory, SMALL), real_run.root, SMALL)
    asked = asyncio.create_task(console.client.call("start_run", request))
    await console.until(real_run.config.exists)
    await console.kill_engine()
    with suppress(EngineError):
        await asked
    await console.connect()
    try:
        if holder(real_run) is None and not real_run.journal.exists():
            with suppress(RunError):  # the supervisor may just be starting
                await console.client.call("start_run", request)
        await console.follow()
        await console.until(lambda: console.events and isinstance(console.events[-1], RunEnded))
    finally:
        end_engine(console.client.welcome.pid)
    assert_same(came_to(real_run), undisturbed)
