"""Row 18: a client that stops reading costs the others no time, and the engine little memory."""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import time
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest

from logbert_engine.protocol.client import EngineClient
from logbert_engine.protocol.events import JournalEvent
from logbert_engine.protocol.locations import socket_path
from logbert_engine.protocol.messages import Events, Gap, RunRef, Subscribe
from logbert_engine.rundir.layout import RunLayout
from tests.faults.harness import eventually

pytestmark = pytest.mark.row(18)

Record = Callable[[str, object], None]
LINE = 4000
"""Characters of a log line that the worker writes each step."""
PACE_S = 0.001
LAG_S = 0.1
"""What the others may lag, from the event's writing to its arrival."""
MOST_GROWTH = 64 << 20
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


@pytest.mark.parametrize("seconds", [5.0, pytest.param(40.0, marks=pytest.mark.slow)])
@pytest.mark.timeout(300)
async def test_clients_that_do_not_read_delay_nobody_and_fill_no_memory(
    engine_process: Callable, run: RunLayout, seconds: float, record_property: Record
) -> None:
    one = engine_process("--steps", "1000000", "--pace", str(PACE_S), "--words", str(LINE))
    client = await one.client()
    engine = psutil.Process(one.process.pid)
    reader = Reader(client)
    run_dir = str(run.root)
    await client.call("subscribe", Subscribe(run_dir=run_dir))
    await client.call("list_runs")
    before = engine.memory_info().rss
    await client.call("resume", RunRef(run_dir=run_dir))
    async with asyncio.timeout(30):
        while not reader.seq:  # noqa: ASYNC110 - another process acts
            await asyncio.sleep(0.01)
    try:
        alone = await reader.measure(seconds)
        subscribe = call("subscribe", {"run_dir": run_dir})
        again = [call("subscribe", {"run_dir": run_dir, "since_seq": 1}, number) for number in range(500)]
        listing = [call("list_presets", {}, number) for number in range(500)]
        slow = [silent(subscribe), silent(subscribe), silent(subscribe, *again), silent(*listing)]
        peak = asyncio.create_task(_peak(engine))
        beside = await reader.measure(seconds)
        peak.cancel()
        flowed = run.journal.stat().st_size
    finally:
        await client.call("stop", RunRef(run_dir=run_dir))
    grown = max(engine.memory_info().rss, *_peaks) - before
    print(
        f"lag alone {alone[0] * 1e3:.0f} ms (99%: {alone[1] * 1e3:.0f}), beside slow clients "
        f"{beside[0] * 1e3:.0f} ms (99%: {beside[1] * 1e3:.0f}); {flowed >> 20} MB flowed, "
        f"engine {before >> 20} MB grew by {grown >> 20} MB"
    )
    record_property("lag", f"{beside[0] * 1e3:.0f} ms")
    record_property("growth", f"{grown >> 20} MB while {flowed >> 20} MB flowed")
    assert reader.missed == 0
    assert flowed > 10 << 20
    assert beside[0] < LAG_S
    # Where the machine itself is too busy for that, the slow clients must not make it worse.
    assert beside[1] < max(LAG_S, 1.5 * alone[1])
    assert grown < MOST_GROWTH
    for one_of_them in slow:
        if seconds > 35:
            eventually(lambda c=one_of_them: is_dropped(c), "a client that does not read is dropped", 30)
        one_of_them.close()
    await client.close()


_peaks: list[int] = [0]


async def _peak(engine: psutil.Process) -> None:
    _peaks[:] = [0]
    while True:
        _peaks[0] = max(_peaks[0], engine.memory_info().rss)
        await asyncio.sleep(0.1)
