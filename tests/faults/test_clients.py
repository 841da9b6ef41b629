"""Row 18: a client that stops reading costs the others no time, and the engine little memory."""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import psutil
import pytest

from logbert_engine.daemon.engine import PATIENCE_S
from logbert_engine.protocol.client import EngineClient
from logbert_engine.protocol.events import JournalEvent
from logbert_engine.protocol.locations import socket_path
from logbert_engine.protocol.messages import Events, Gap, RunRef, Subscribe
from logbert_engine.rundir.layout import RunLayout
from tests.faults.harness import eventually

pytestmark = pytest.mark.row(18)

Record = Callable[[str, object], None]
LOG = "logs/progressive_training_20250101_000000.log"
LINE = 4000
"""Characters of a log line that the worker writes each step."""
PACE_S = 0.001
LAG_S = 0.1
"""What the others may lag, from the event's writing to its arrival."""
MOST_GROWTH = 96 << 20
"""Bytes of resident memory, whatever flows: what may be sent again of the run, its last log lines, and the
queues of the clients."""


class Reader:
    """A client that reads as it should, and notes how old each event is when it comes."""

    def __init__(self, client: EngineClient) -> None:
        self.client = client
        self.lags: list[float] = []
        self.seq = 0
        self.missed = 0
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for notification in self.client.notifications():
            now = time.time()
            if isinstance(notification, Events):
                self._take(notification.events, now)
            elif isinstance(notification, Gap):
                self.missed += 1

    def _take(self, events: list[JournalEvent], now: float) -> None:
        self.missed += events[0].seq != self.seq + 1
        self.seq = events[-1].seq
        self.lags += [now - event.t for event in events]

    async def measure(self, seconds: float) -> tuple[float, float]:
        """The median lag and that which 99 of 100 events stay below, in seconds, of some time from now on."""
        self.lags.clear()
        await asyncio.sleep(seconds)
        assert len(self.lags) > 100 * seconds, "events flow"
        return statistics.median(self.lags), statistics.quantiles(self.lags, n=100)[98]


def call(method: str, params: object, number: int = 1) -> bytes:
    request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return json.dumps(request).encode() + b"\n"


def silent(*lines: bytes) -> socket.socket:
    """A client that says hello, asks for something and then does not read."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(socket_path()))
    client.setblocking(False)
    with suppress(BlockingIOError):  # the engine has stopped taking its requests
        client.sendall(call("hello", {}) + b"".join(lines))
    return client


def is_dropped(client: socket.socket) -> bool:
    """Whether the engine has closed the connection: what it sent before is read first."""
    try:
        while client.recv(1 << 20):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


class Scene:
    """An engine in a process of its own, a run that journals megabytes a second, and one good reader."""

    def __init__(self, engine: psutil.Process, reader: Reader, run: RunLayout) -> None:
        self.process, self.reader, self.run = engine, reader, run
        self.run_dir = str(run.root)
        self.before = self.peak = engine.memory_info().rss

    async def watch_memory(self) -> None:
        """Note the most that the engine takes."""
        while True:
            self.peak = max(self.peak, self.process.memory_info().rss)
            await asyncio.sleep(0.1)


@pytest.fixture
async def scene(engine_process: Callable[..., Any], run: RunLayout) -> AsyncIterator[Scene]:
    one = engine_process("--steps", "1000000", "--pace", str(PACE_S), "--words", str(LINE))
    run.logs.mkdir()
    (run.root / LOG).write_text("a line of the log\n" * 20_000)
    client = await one.client()
    reader = Reader(client)
    await client.call("subscribe", Subscribe(run_dir=str(run.root)))
    await client.call("list_runs")
    at = Scene(psutil.Process(one.process.pid), reader, run)
    await client.call("resume", RunRef(run_dir=str(run.root)))
    async with asyncio.timeout(30):
        while not reader.seq:  # noqa: ASYNC110 - another process acts
            await asyncio.sleep(0.01)
    memory = asyncio.create_task(at.watch_memory())
    yield at
    memory.cancel()
    await client.call("stop", RunRef(run_dir=str(run.root)))
    await client.close()


@pytest.mark.parametrize("seconds", [5.0, pytest.param(40.0, marks=pytest.mark.slow)])
async def test_clients_that_do_not_read_delay_nobody_and_fill_no_memory(
    scene: Scene, seconds: float, record_property: Record
) -> None:
    alone = await scene.reader.measure(seconds)
    subscribe = call("subscribe", {"run_dir": scene.run_dir})
    again = [call("subscribe", {"run_dir": scene.run_dir, "since_seq": 1}, number) for number in range(500)]
    logs = [call("read_log", {"run_dir": scene.run_dir, "name": LOG, "start": 0}, n) for n in range(500)]
    slow = [silent(subscribe), silent(subscribe), silent(subscribe, *again), silent(*logs)]
    beside = await scene.reader.measure(seconds)
    flowed, grown = scene.run.journal.stat().st_size, scene.peak - scene.before
    print(
        f"lag alone {alone[0] * 1e3:.0f} ms (99%: {alone[1] * 1e3:.0f}), beside slow clients "
        f"{beside[0] * 1e3:.0f} ms (99%: {beside[1] * 1e3:.0f}); {flowed >> 20} MB flowed, "
        f"the engine's {scene.before >> 20} MB grew by {grown >> 20} MB"
    )
    record_property("lag", f"{beside[0] * 1e3:.0f} ms (99%: {beside[1] * 1e3:.0f})")
    record_property("growth", f"{grown >> 20} MB while {flowed >> 20} MB flowed")
    assert scene.reader.missed == 0
    assert flowed > 10 << 20
    assert beside[0] < LAG_S
    # Where the machine itself is too busy for that, the slow clients must not make it worse.
    assert beside[1] < max(LAG_S, 1.5 * alone[1])
    assert grown < MOST_GROWTH
    for client in slow:
        if seconds > PATIENCE_S:
            eventually(lambda c=client: is_dropped(c), "a client that does not read is dropped", PATIENCE_S)
        client.close()


async def test_a_client_that_asks_for_much_does_not_delay_the_events_of_the_others(
    scene: Scene, record_property: Record
) -> None:
    """Work that takes a processor long, asked for without end, by a client that reads nothing."""
    busy = silent(*(call("list_presets", {}, number) for number in range(2000)))
    beside = await scene.reader.measure(3.0)
    record_property("lag beside a busy client", f"{beside[0] * 1e3:.0f} ms")
    assert scene.reader.missed == 0
    assert beside[0] < LAG_S
    busy.close()
