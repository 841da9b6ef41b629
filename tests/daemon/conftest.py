"""Real engines, real workers (small ones) and clients that fold what they are told."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import msgspec
import pytest

from logbert_engine.daemon.engine import Engine
from logbert_engine.daemon.server import serving
from logbert_engine.presets.merging import resolve
from logbert_engine.presets.runfile import write_config
from logbert_engine.protocol.client import EngineClient
from logbert_engine.protocol.events import JournalEvent
from logbert_engine.protocol.locations import socket_path
from logbert_engine.protocol.messages import Events, Gap, RunSpec, Subscribe, Subscribed
from logbert_engine.protocol.runstate import RunState
from logbert_engine.rundir import registry
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.supervision.launch import launch

HERE = Path(__file__).parent
DEADLINE_S = 30.0


def eventually(condition: Callable[[], bool], what: str = "") -> None:
    """Wait until something outside this process has come about."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what or condition}"
        time.sleep(0.01)


async def until(condition: Callable[[], object]) -> None:
    """Wait, while the event loop goes on, until something has come about."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - of another process, or inside the engine
            await asyncio.sleep(0.01)


class Follower:
    """A client that subscribes and folds."""

    def __init__(self, client: EngineClient) -> None:
        self.client = client
        self.state = RunState()
        self.start = -1
        self.events: list[JournalEvent] = []
        self.others: list[msgspec.Struct] = []
        self._changed = asyncio.Condition()
        self._task = asyncio.create_task(self._read())

    async def subscribe(self, run: RunLayout, since_seq: int = 0) -> Subscribed:
        answer = await self.client.call("subscribe", Subscribe(run_dir=str(run.root), since_seq=since_seq))
        assert isinstance(answer, Subscribed)
        self.start = answer.seq
        if answer.snapshot is not None:
            self.state = answer.snapshot
        return answer

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S), self._changed:
            await self._changed.wait_for(condition)

    def gaps(self) -> list[Gap]:
        return [other for other in self.others if isinstance(other, Gap)]

    async def _read(self) -> None:
        async for notification in self.client.notifications():
            async with self._changed:
                if isinstance(notification, Events):
                    self.events += notification.events
                    for event in notification.events:
                        self.state.apply(event)
                else:
                    self.others.append(notification)
                self._changed.notify_all()
        async with self._changed:
            self._changed.notify_all()


Follow = Callable[..., Awaitable[Follower]]


@pytest.fixture
def wait_until() -> Callable[..., None]:
    return eventually


@pytest.fixture
def loop_until() -> Callable[..., Awaitable[None]]:
    return until


@pytest.fixture
def run(tmp_path: Path) -> RunLayout:
    """A prepared run directory of two stages, known to the user's engines."""
    layout = RunLayout(tmp_path / "run")
    overrides = ["stages.start_ratio=0.5", "stages.step_size=0.5", "stages.progressive=true"]
    spec = RunSpec(data=str(tmp_path / "data"), run_dir=str(layout.root), preset="test", overrides=overrides)
    write_config(layout, resolve(spec))
    registry.remember(layout.root)
    return layout


class Workers:
    """Starts small workers, and sees to it that none outlives its test."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, run: RunLayout, *options: str) -> subprocess.Popen[bytes]:
        worker = launch(run, command=[sys.executable, str(HERE / "small_worker.py"), str(run.root), *options])
        self.started.append(worker)
        return worker

    def launcher(self, *options: str) -> Callable[..., subprocess.Popen[bytes]]:
        """For an engine: starts workers with these options."""

        def start(run: RunLayout, *, restart_stage: bool) -> subprocess.Popen[bytes]:
            return self.start(run, *options, *(["--restart-stage"] if restart_stage else []))

        return start


@pytest.fixture
def workers() -> Iterator[Workers]:
    started = Workers()
    yield started
    for worker in started.started:
        with suppress(ProcessLookupError):
            worker.kill()
        worker.wait()


@pytest.fixture
async def engine(workers: Workers) -> AsyncIterator[Engine]:
    """An engine in this process, on a real socket, whose workers train 20 steps a stage."""
    async with serving(socket_path(), launcher=workers.launcher()) as serving_engine:
        yield serving_engine


@pytest.fixture
async def follow() -> AsyncIterator[Follow]:
    """Connects clients; they are closed at the end."""
    async with AsyncExitStack() as stack:

        async def connect(path: Path | None = None, name: str = "test") -> Follower:
            client = await EngineClient.connect(path or socket_path(), name)
            stack.push_async_callback(client.close)
            return Follower(client)

        yield connect


class EngineProcess:
    """An engine in a process of its own."""

    def __init__(self, *options: str) -> None:
        self.socket = socket_path()
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "small_engine.py"), str(self.socket), *options],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    async def client(self) -> EngineClient:
        """A client, as soon as the engine answers."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    return await EngineClient.connect(self.socket, "test")
                except Exception as error:
                    assert self.process.poll() is None, "the engine has ended"
                    if type(error).__name__ != "EngineError":
                        raise
                    await asyncio.sleep(0.02)

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Kill it, and wait for its end."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)
        return self.process.wait(DEADLINE_S)


@pytest.fixture
def engine_process(workers: Workers) -> Iterator[Callable[..., EngineProcess]]:
    started: list[EngineProcess] = []

    def start(*options: str) -> EngineProcess:
        started.append(EngineProcess(*options))
        return started[-1]

    yield start
    for one in started:
        one.kill()
