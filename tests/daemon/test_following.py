"""What clients are told about a run, over real sockets, while a real worker journals."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from logbert_engine.daemon.run import KEPT_EVENTS
from logbert_engine.protocol.errors import RunError
from logbert_engine.protocol.events import Log, Metric
from logbert_engine.protocol.messages import Resources, RunRef
from logbert_engine.protocol.methods import RunList
from logbert_engine.protocol.rpc import FRAME_LIMIT
from logbert_engine.protocol.runstate import RunState
from logbert_engine.rundir.journal import JournalWriter, read_journal


def folded(run) -> RunState:
    state = RunState()
    for event in read_journal(run.journal):
        state.apply(event)
    return state


def encoded(state: RunState) -> bytes:
    return msgspec.json.encode(state)


async def test_a_snapshot_and_the_live_events_equal_a_fold_over_the_journal(engine, follow, run, workers):
    workers.start(run, "--steps", "100")
    follower = await follow()
    await follower.subscribe(run)
    await follower.until(lambda: follower.state.phase == "finished")
    assert encoded(follower.state) == encoded(folded(run))
    assert [e.seq for e in follower.events] == list(range(follower.start + 1, follower.state.seq + 1))


async def test_a_client_that_comes_in_the_middle_gets_a_snapshot_first(engine, follow, run, workers):
    workers.start(run, "--steps", "150")
    early = await follow()
    await early.subscribe(run)
    await early.until(lambda: early.state.seq > 50)
    late = await follow()
    answer = await late.subscribe(run)
    assert answer.snapshot is not None
    assert answer.seq >= 50
    await late.until(lambda: late.state.phase == "finished")
    assert late.events[0].seq == answer.seq + 1
    assert encoded(late.state) == encoded(folded(run))


async def test_five_clients_see_the_same_events(engine, follow, run, workers):
    followers = [await follow(name=f"client {i}") for i in range(5)]
    for follower in followers:
        await follower.subscribe(run)
    workers.start(run, "--steps", "50", "--pace", "0.001")
    for follower in followers:
        await follower.until(lambda f=follower: f.state.phase == "finished")
        assert follower.events == list(read_journal(run.journal))


async def test_missed_events_are_replayed_without_gap_or_duplicate(engine, follow, run, workers):
    workers.start(run, "--steps", "200", "--pace", "0.002")
    first = await follow()
    await first.subscribe(run)
    await first.until(lambda: first.state.seq > 20)
    await first.client.close()
    seen = first.state.seq
    second = await follow()
    await second.client.call("open_run", RunRef(run_dir=str(run.root)))
    answer = await second.subscribe(run, since_seq=seen)
    assert answer.snapshot is None
    assert answer.seq == seen
    second.state = first.state
    await second.until(lambda: second.state.phase == "finished")
    assert [e.seq for e in first.events + second.events] == list(range(first.start + 1, second.state.seq + 1))
    assert encoded(second.state) == encoded(folded(run))


async def test_too_many_missed_events_come_as_a_snapshot(engine, follow, run):
    with JournalWriter(run.journal) as journal:
        for i in range(KEPT_EVENTS + 10):
            journal.append(Log(level="info", message=str(i)))
    follower = await follow()
    assert (await follower.subscribe(run, since_seq=5)).snapshot is not None
    assert (await follower.subscribe(run, since_seq=KEPT_EVENTS)).snapshot is None
    await follower.until(lambda: len(follower.events) == 10)
    assert (await follower.subscribe(run, since_seq=10**9)).snapshot is not None, "of another journal"


async def test_a_snapshot_of_long_curves_and_many_logs_fits_in_a_frame(engine, follow, run):
    with JournalWriter(run.journal) as journal:
        for i in range(500):
            journal.append(Log(level="info", message=f"{i} " + "x" * 8000))
    follower = await follow()
    answer = await follower.subscribe(run)
    assert answer.snapshot is not None
    assert answer.snapshot.seq == 500
    assert 0 < len(answer.snapshot.logs) < 500
    assert answer.snapshot.logs[-1].message.startswith("499 ")
    assert len(encoded(answer.snapshot)) < FRAME_LIMIT


async def test_an_event_above_the_frame_limit_comes_as_a_gap_and_the_snapshot_does_without_it(
    engine, follow, run
):
    follower = await follow()
    await follower.subscribe(run)
    with JournalWriter(run.journal) as journal:
        journal.append(Log(level="info", message="x" * FRAME_LIMIT))
    await follower.until(lambda: bool(follower.gaps()))
    answer = await follower.subscribe(run)
    assert answer.snapshot is not None
    assert answer.snapshot.seq == 1
    with JournalWriter(run.journal) as journal:
        journal.append(Log(level="info", message="after"))
    await follower.until(lambda: follower.state.seq == 2)


async def test_a_journal_that_is_replaced_is_read_anew(engine, follow, run):
    with JournalWriter(run.journal) as journal:
        for _ in range(3):
            journal.append(Log(level="info", message="old"))
    follower = await follow()
    await follower.subscribe(run)
    run.journal.unlink()
    with JournalWriter(run.journal) as journal:
        journal.append(Log(level="info", message="new"))
    await follower.until(lambda: bool(follower.gaps()))
    answer = await follower.subscribe(run)
    assert answer.snapshot is not None
    assert [log.message for log in answer.snapshot.logs] == ["new"]


async def test_nothing_comes_after_unsubscribe(engine, follow, run):
    follower, other = await follow(), await follow()
    await follower.subscribe(run)
    await other.subscribe(run)
    await follower.client.call("unsubscribe", RunRef(run_dir=str(run.root)))
    with JournalWriter(run.journal) as journal:
        journal.append(Log(level="info", message="hello"))
    await other.until(lambda: other.state.seq == 1)
    await follower.client.call("list_runs")
    assert follower.events == []


async def test_subscribers_are_told_the_load_once_a_second(engine, follow, run, workers):
    workers.start(run, "--steps", "1000")
    follower, idle = await follow(), await follow()
    await follower.subscribe(run)
    await follower.until(
        lambda: sum(isinstance(o, Resources) and o.worker_rss_mb is not None for o in follower.others) >= 2
    )
    assert idle.others == []


async def test_runs_are_listed_with_where_they_stand(engine, follow, run, workers):
    workers.start(run).wait()
    follower = await follow()
    answer = await follower.client.call("list_runs")
    assert isinstance(answer, RunList)
    (info,) = answer.runs
    assert (info.run_dir, info.phase, info.stage, info.stages) == (str(run.root), "finished", 2, 2)
    assert info.best_valid_loss == 0.5


async def test_a_directory_without_a_run_is_refused(engine, follow, tmp_path):
    follower = await follow()
    for method in ("open_run", "pause", "list_logs", "inference_options"):
        with pytest.raises(RunError, match="is not a run directory"):
            await follower.client.call(method, RunRef(run_dir=str(tmp_path)))


async def test_the_engine_rests_when_nobody_looks_and_nobody_works(engine, follow, run, loop_until):
    follower = await follow()
    await follower.subscribe(run)
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert f"follow {run.root}" in names
    await follower.client.close()

    def resting() -> bool:
        return not {t.get_name() for t in asyncio.all_tasks()} & {f"follow {run.root}", "load"}

    await loop_until(resting)


async def test_metrics_arrive_soon_after_they_are_journaled(engine, follow, run):
    follower = await follow()
    await follower.subscribe(run)
    loop = asyncio.get_running_loop()
    with JournalWriter(run.journal) as journal:
        for i in range(1, 6):
            start = loop.time()
            journal.append(Metric(stage=1, epoch=1, step=i, steps=5, total_step=i, loss=1.0, lr=0.1))
            await follower.until(lambda i=i: len(follower.events) == i)
            assert loop.time() - start < 1.0
