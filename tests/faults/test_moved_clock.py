"""Row 23: the clock is set by a day while a run trains. Durations go on as before, and order is by ``seq``."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from logbert_engine.protocol.client import EngineClient
from logbert_engine.protocol.events import (
    EpochEnded,
    JournalEvent,
    Log,
    Metric,
    RunEnded,
    RunOpened,
    StageEnded,
    StageStarted,
)
from logbert_engine.protocol.locations import socket_path
from logbert_engine.protocol.messages import Events, Subscribe, Subscribed
from logbert_engine.protocol.runstate import RunState
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import holder
from logbert_engine.training.plan import read_metrics
from tests.faults.harness import (
    Fault,
    command,
    engine,
    environment,
    eventually,
    kill_all,
    losses,
    none_left,
    trains,
    without_gap,
)
from tests.faults.small_runs import small_words, to_its_end, told

pytestmark = [pytest.mark.row(23), pytest.mark.timeout(600)]

Record = Callable[[str, object], None]
DAY_S = 86_400.0
LONGEST_S = 600.0
"""What no run of these tests lasts; a clock that is off by a day is far above."""
DIRECTIONS = pytest.mark.parametrize("moved_s", [DAY_S, -DAY_S], ids=["forward", "back"])


def sane(events: Sequence[JournalEvent], moved_s: float) -> None:
    """Assert that every figure that a run told is as if the clock had not been touched, though it was."""
    jumps = [later.t - earlier.t for earlier, later in itertools.pairwise(events)]
    assert any(abs(jump - moved_s) < LONGEST_S for jump in jumps), "the clock was moved between two events"
    assert without_gap(events), "order is by seq"
    state, seconds = RunState(), 0.0
    for event in events:
        state.apply(event)
        left = [found for found in state.time_left() if found is not None]
        assert all(0 <= found < DAY_S / 2 for found in left), "of thousands of steps"
        match event:
            case StageStarted(step=0):
                seconds = 0.0
            case Metric():
                assert seconds <= event.stage_s < LONGEST_S
                seconds = event.stage_s
                assert 0 < (event.sessions_per_s or 0) < 1e6
            case EpochEnded() | StageEnded():
                assert 0 < event.seconds < LONGEST_S


@DIRECTIONS
def test_a_clock_that_is_set_in_mid_run_changes_nothing_but_what_is_shown_of_it(
    moved_s: float,
    varied: Path,
    real_run: RunLayout,
    undisturbed: RunLayout,
    tmp_path: Path,
    record_property: Record,
) -> None:
    """In the worker at a step, in the supervisor between two looks."""
    at_work = Fault(
        "logbert_engine.training.stage:accumulate", "clock", tmp_path / "worker", step=13, amount=moved_s
    )
    watching = Fault(
        "logbert_engine.rundir.heartbeat:Pulse.silent_s",
        "clock",
        tmp_path / "supervisor",
        call=2,
        amount=moved_s,
        process="supervisor",
    )
    words = small_words(varied, real_run, workers__hang_minutes=1)
    done = to_its_end(words, environment(at_work, watching))
    assert done.returncode == 0, done.stderr
    assert (len(at_work.happened()), len(watching.happened())) == (1, 1)
    events = list(read_journal(real_run.journal))
    sane(events, moved_s)
    assert len(told(real_run, RunOpened)) == 1, "the watchdog did not take it for hung"
    assert losses(real_run) == losses(undisturbed)
    for stage in real_run.stages():
        assert 0 < read_metrics(stage).seconds < LONGEST_S
    said = "\n".join(path.read_text() for path in real_run.log_files())
    assert all(line.message in said for line in told(real_run, Log) if line.source == "worker"), "logs go on"
    none_left(real_run)
    record_property("clocks moved", 2)


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[[float], tuple[subprocess.Popen[bytes], Fault]]]:
    """``serving(moved_s)``: an engine whose clock is set while it follows a run."""
    started: list[subprocess.Popen[bytes]] = []

    def start(moved_s: float) -> tuple[subprocess.Popen[bytes], Fault]:
        looking = Fault(
            "logbert_engine.daemon.run:Run.look", "clock", tmp_path / "engine", amount=moved_s, call=40
        )
        started.append(subprocess.Popen(command("serve"), env=environment(looking), start_new_session=True))
        eventually(socket_path().exists, "it serves")
        return started[0], looking

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "moved_s", [pytest.param(DAY_S, id="forward"), pytest.param(-DAY_S, id="back", marks=pytest.mark.slow)]
)
async def test_an_engine_whose_clock_is_set_goes_on_following_and_steering(
    moved_s: float,
    varied: Path,
    real_run: RunLayout,
    tmp_path: Path,
    serving: Callable[[float], tuple[subprocess.Popen[bytes], Fault]],
    record_property: Record,
) -> None:
    process, looking = serving(moved_s)
    at_work = Fault(
        "logbert_engine.training.stage:accumulate", "clock", tmp_path / "worker", step=40, amount=moved_s
    )
    words = small_words(varied, real_run, stages__epochs=4000)
    done = await asyncio.to_thread(engine, *words, env=environment(at_work))
    assert done.returncode == 0, done.stderr
    client = await EngineClient.connect(socket_path(), "test")
    answer = await client.call("subscribe", Subscribe(run_dir=str(real_run.root), since_seq=0))
    assert isinstance(answer, Subscribed)
    seen: list[int] = []

    async def follow() -> None:
        async for notification in client.notifications():
            if isinstance(notification, Events):
                seen.extend(event.seq for event in notification.events)

    following = asyncio.create_task(follow())
    async with asyncio.timeout(LONGEST_S):
        while not (looking.happened() and at_work.happened()):  # noqa: ASYNC110 - in other processes
            await asyncio.sleep(0.05)
        here = len(seen)
        while len(seen) < here + 20:  # noqa: ASYNC110 - in the task beside
            await asyncio.sleep(0.05)
    at_work_still = holder(real_run)
    assert at_work_still is not None
    assert at_work_still.alive(), "it is still taken for ours"
    status = await asyncio.to_thread(engine, "status")
    assert f"process {process.pid}," in status.stdout
    paused = await asyncio.to_thread(engine, "pause", real_run.root)
    assert paused.returncode == 0, paused.stderr
    await asyncio.to_thread(none_left, real_run)
    events = list(read_journal(real_run.journal))
    async with asyncio.timeout(LONGEST_S):
        while not seen or seen[-1] < events[-1].seq:  # noqa: ASYNC110 - in the task beside
            await asyncio.sleep(0.05)
    following.cancel()
    await client.close()
    assert seen == list(range(seen[0], events[-1].seq + 1)), "no gap, and each once"
    sane(events, moved_s)
    assert [event.state for event in told(real_run, RunEnded)] == ["paused"], "the engine did not bury it"
    record_property("clocks moved", 2)


@pytest.mark.slow
@DIRECTIONS
def test_times_of_files_that_jump_are_no_sign_of_life_nor_of_death(
    moved_s: float, varied: Path, real_run: RunLayout, record_property: Record
) -> None:
    """The heartbeat's file shows the time of a clock that is set; the watchdog asks only whether it changes."""
    words = small_words(varied, real_run, stages__epochs=4000, workers__hang_minutes=0.5)
    assert engine(*words).returncode == 0
    eventually(lambda: trains(real_run), "it trains", 200)
    begin = time.monotonic()
    jumps = 0
    while time.monotonic() - begin < 40:  # longer than the watchdog's patience
        moved = time.time() + (moved_s if jumps % 2 == 0 else 0)
        os.utime(real_run.heartbeat, (moved, moved))
        jumps += 1
        time.sleep(0.2)  # between two jumps of the clock, not for the run
    assert len(told(real_run, RunOpened)) == 1
    seq = told(real_run, Metric)[-1].seq
    eventually(lambda: told(real_run, Metric)[-1].seq > seq, "it still trains")
    assert engine("stop", real_run.root).returncode == 0
    none_left(real_run)
    kill_all(real_run)
    record_property("clocks moved", jumps)
