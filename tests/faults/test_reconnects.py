"""Row 21: a client that loses its connection again and again has seen the journal, whole and once, in the end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from logbert_engine.protocol.client import EngineClient
from logbert_engine.protocol.events import JournalEvent
from logbert_engine.protocol.messages import Events, Gap, RunRef, Subscribe, Subscribed
from logbert_engine.protocol.runstate import RunState
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from tests.faults.harness import without_gap

pytestmark = [pytest.mark.row(21), pytest.mark.timeout(1800)]

Record = Callable[[str, object], None]


class Wanderer:
    """A client that comes back each time with the number of the last event that it has seen."""

    def __init__(self, run_dir: str, seed: int) -> None:
        self.run_dir = run_dir
        self.seen: list[JournalEvent] = []
        self.connections = 0
        self.subscribed = False
        self._numbers = random.Random(seed)

    @property
    def seq(self) -> int:
        return self.seen[-1].seq if self.seen else 0

    async def visit(self, client: EngineClient) -> None:
        """Follow the run for some events, then drop the connection in the middle of whatever comes."""
        self.connections += 1
        answer = await client.call("subscribe", Subscribe(run_dir=self.run_dir, since_seq=self.seq))
        assert isinstance(answer, Subscribed)
        assert answer.seq == self.seq
        assert answer.snapshot is None or self.seq == 0, "it was not away for long"
        self.subscribed = True
        wanted = max(1, self.seq + self._numbers.choice([0, 0, 1, 5, 20, 60]))
        async for notification in client.notifications():
            assert not isinstance(notification, Gap)
            if isinstance(notification, Events):
                self.seen += notification.events
            if self.seq >= wanted or self._is_over():
                break
        client._writer.transport.abort()  # as a lost link does: what is on the way is lost
        await client.close()

    def _is_over(self) -> bool:
        return bool(self.seen) and getattr(self.seen[-1], "state", "") == "finished"


async def until_the_end(wanderer: Wanderer, connect: Callable[[], Any]) -> None:
    while not wanderer._is_over():
        await wanderer.visit(await connect())


@pytest.mark.parametrize(
    ("visits", "steps"), [(100, 4000), pytest.param(1000, 40_000, marks=pytest.mark.slow)]
)
async def test_the_events_seen_over_all_reconnects_equal_the_journal(
    engine_process: Callable[..., Any], run: RunLayout, visits: int, steps: int, record_property: Record
) -> None:
    one = engine_process("--steps", str(steps), "--pace", "0.0005")
    starter = await one.client()
    run_dir = str(run.root)
    wanderers = [Wanderer(run_dir, seed) for seed in range(2)]
    first = [asyncio.create_task(wanderer.visit(await one.client())) for wanderer in wanderers]
    while not all(wanderer.subscribed for wanderer in wanderers):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await starter.call("resume", RunRef(run_dir=run_dir))
    async with asyncio.timeout(600):
        await asyncio.gather(*first)
        while min(w.connections for w in wanderers) < visits:
            for wanderer in wanderers:
                assert not wanderer._is_over(), "the run lasts as long as the visits"
                await wanderer.visit(await one.client())
        await asyncio.gather(*(until_the_end(wanderer, one.client) for wanderer in wanderers))
    journal = list(read_journal(run.journal))
    assert without_gap(journal)
    for wanderer in wanderers:
        assert wanderer.seen == journal
        state = RunState()
        for event in wanderer.seen:
            state.apply(event)
        assert state.phase == "finished"
    reconnects = sum(w.connections - 1 for w in wanderers)
    record_property("reconnects", reconnects)
    record_property("events", len(journal))
    print(f"{reconnects} reconnects, {len(journal)} events")
    await starter.close()


async def test_a_client_that_was_away_for_longer_than_events_are_kept_gets_a_snapshot(
    engine_process: Callable[..., Any], run: RunLayout
) -> None:
    one = engine_process("--steps", "9000", "--pace", "0")
    client = await one.client()
    run_dir = str(run.root)
    wanderer = Wanderer(run_dir, 1)
    first = asyncio.create_task(wanderer.visit(await one.client()))
    while not wanderer.subscribed:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await client.call("resume", RunRef(run_dir=run_dir))
    await first
    whole = RunState()
    async with asyncio.timeout(120):
        while whole.phase != "finished":
            whole = (await client.call("subscribe", Subscribe(run_dir=run_dir))).snapshot  # type: ignore[attr-defined]
            await asyncio.sleep(0.05)
    answer = await client.call("subscribe", Subscribe(run_dir=run_dir, since_seq=wanderer.seq))
    assert isinstance(answer, Subscribed)
    assert answer.snapshot == whole
    folded = RunState()
    for event in read_journal(run.journal):
        folded.apply(event)
    assert answer.snapshot == folded
    await client.close()
