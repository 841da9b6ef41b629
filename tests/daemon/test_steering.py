"""Starting, pausing, resuming and stopping runs, with real workers."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from logbert_engine.daemon.server import serving
from logbert_engine.protocol.errors import DataError, EngineError, PresetError, RunError
from logbert_engine.protocol.events import Metric, RunEnded, RunOpened
from logbert_engine.protocol.locations import socket_path
from logbert_engine.protocol.messages import Done, RunRef, RunSpec
from logbert_engine.rundir import control
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.lock import held


@pytest.fixture
def ref(run):
    return RunRef(run_dir=str(run.root))


async def test_a_resumed_run_goes_to_its_end(engine, follow, run, ref):
    follower = await follow()
    await follower.subscribe(run)
    done = await follower.client.call("resume", ref)
    assert isinstance(done, Done)
    assert done.message == "resuming: stage_1_50pct, from its beginning"
    await follower.until(lambda: follower.state.phase == "finished")
    with pytest.raises(RunError, match="is finished"):
        await follower.client.call("resume", ref)
    with pytest.raises(RunError, match="is finished"):
        await follower.client.call("restart_stage", ref)


async def test_pause_then_resume_goes_on_where_it_was(follow, run, ref, workers):
    async with serving(socket_path(), launcher=workers.launcher("--steps", "400")):
        follower = await follow()
        await follower.subscribe(run)
        await follower.client.call("resume", ref)
        done = await follower.client.call("pause", ref)
        assert done.message.startswith("pausing")
        await follower.until(lambda: follower.state.phase == "paused")
        assert follower.state.ended is not None
        await follower.client.call("resume", ref)
        await follower.until(lambda: follower.state.attempt == 2 and follower.state.phase == "training")
        await follower.client.call("stop", ref)
        await follower.until(lambda: follower.state.phase == "stopped")
    steps = [e.total_step for e in read_journal(run.journal) if isinstance(e, Metric)]
    assert steps == list(range(1, len(steps) + 1))


async def test_a_run_can_be_resumed_as_soon_as_it_says_that_it_is_paused(follow, run, ref, workers):
    """Its worker may still be there: it has a second left to live."""
    async with serving(socket_path(), launcher=workers.launcher("--steps", "400", "--leaves-slowly", "1")):
        follower = await follow()
        await follower.subscribe(run)
        await follower.client.call("resume", ref)
        await follower.until(lambda: follower.state.phase == "training")
        await follower.client.call("pause", ref)
        await follower.until(lambda: follower.state.phase == "paused")
        assert workers.started[0].poll() is None
        await follower.client.call("resume", ref)
        await follower.until(lambda: follower.state.attempt == 2)
        assert workers.started[0].poll() == 0


async def test_a_second_worker_is_refused_by_name(follow, run, ref, workers):
    async with serving(socket_path(), launcher=workers.launcher("--steps", "4000")):
        follower = await follow()
        await follower.client.call("resume", ref)
        with pytest.raises(RunError, match=r"process \d+ .*at work"):
            await follower.client.call("resume", ref)
    assert len(workers.started) == 1


async def test_requests_to_a_run_without_a_worker_say_how_it_stands(engine, follow, run, ref, workers):
    workers.start(run).wait()
    follower = await follow()
    for method in ("pause", "stop"):
        with pytest.raises(RunError, match=r"no worker is at work on .*: the run is finished"):
            await follower.client.call(method, ref)
    assert control.pending(run) is None


async def test_restart_stage_stops_the_worker_and_begins_the_stage_again(follow, run, ref, workers):
    async with serving(socket_path(), launcher=workers.launcher("--steps", "60")):
        follower = await follow()
        await follower.subscribe(run)
        await follower.client.call("resume", ref)
        await follower.until(lambda: follower.state.stage == 2 and follower.state.last.step > 5)
        await follower.client.call("restart_stage", ref)
        await follower.until(lambda: follower.state.phase == "finished")
    opened = [e for e in read_journal(run.journal) if isinstance(e, RunOpened)]
    assert [e.attempt for e in opened] == [1, 2]
    assert opened[1].resumes == "step 60"


async def test_a_killed_worker_is_told_with_its_signal(follow, run, ref, workers):
    async with serving(socket_path(), launcher=workers.launcher("--steps", "4000")):
        follower = await follow()
        await follower.subscribe(run)
        await follower.client.call("resume", ref)
        await follower.until(lambda: follower.state.phase == "training")
        os.kill(follower.state.pid, signal.SIGKILL)
        await follower.until(lambda: follower.state.phase == "failed")
    *_, last = read_journal(run.journal)
    assert isinstance(last, RunEnded)
    assert (last.state, last.signal, last.exit_code) == ("failed", signal.SIGKILL, None)
    assert last.reason == "the supervisor was killed (signal 9, SIGKILL), and the worker with it"
    assert last.resumes == "stage_1_50pct, from its beginning"
    assert not run.pid.exists()


async def test_a_worker_that_fails_before_it_opens_the_run_is_told_with_its_last_words(
    follow, run, ref, workers, wait_until
):
    worker = workers.start(run, "--steps", "4000")
    wait_until(lambda: any(isinstance(e, Metric) for e in read_journal(run.journal)))
    control.request(run, "pause")
    worker.wait()
    *_, paused = read_journal(run.journal)
    async with serving(socket_path(), launcher=workers.launcher("--fail-before-opening")):
        follower = await follow()
        await follower.subscribe(run)
        assert follower.state.phase == "paused"
        await follower.client.call("resume", ref)
        await follower.until(lambda: follower.state.phase == "failed")
    *_, before, last = read_journal(run.journal)
    assert before == paused
    assert isinstance(last, RunEnded)
    assert last.exit_code == 3
    assert last.reason == "the worker ended with exit status 3: the model does not fit on the device"


async def test_an_adopted_worker_that_is_killed_is_found_out(engine, follow, run, workers):
    worker = workers.start(run, "--steps", "4000")
    follower = await follow()
    await follower.subscribe(run)
    await follower.until(lambda: follower.state.phase == "training")
    worker.kill()
    await follower.until(lambda: follower.state.phase == "failed")
    assert follower.state.reason.startswith("the worker ended without a word: killed")


async def test_a_worker_that_died_while_no_engine_ran_is_found_out_at_the_start(
    follow, run, workers, wait_until
):
    worker = workers.start(run, "--steps", "4000")
    wait_until(lambda: any(isinstance(e, Metric) for e in read_journal(run.journal)))
    worker.kill()
    worker.wait()
    async with serving(socket_path(), launcher=workers.launcher()):
        follower = await follow()
        answer = await follower.client.call("list_runs")
        assert answer.runs[0].phase == "failed"


async def test_a_run_is_started_from_a_request(follow, tmp_path, workers, shared_data):
    async with serving(socket_path(), launcher=workers.launcher("--steps", "5")):
        follower = await follow()
        spec = RunSpec(data=str(shared_data / "tiny"), run_dir=str(tmp_path / "new"), preset="test")
        plan = await follower.client.call("plan_run", spec)
        assert plan.command.startswith("logbert-engine train --data ")
        assert "preset: test" in plan.run_yaml
        info = await follower.client.call("start_run", spec)
        assert info.phase in ("preparing", "training", "finished")
        assert info.run_dir == str((tmp_path / "new").resolve())
        listed = await follower.client.call("list_runs")
        assert [r.run_dir for r in listed.runs] == [info.run_dir]
        workers.started[0].wait()


async def test_a_request_that_does_not_hold_is_refused_with_the_error_it_had_there(engine, follow, tmp_path):
    client = (await follow()).client
    run_dir = str(tmp_path / "new")
    with pytest.raises(PresetError, match="unknown preset"):
        await client.call("start_run", RunSpec(data=str(tmp_path), run_dir=run_dir, preset="no-such"))
    with pytest.raises(DataError):
        await client.call("start_run", RunSpec(data=str(tmp_path / "none"), run_dir=run_dir, preset="test"))
    with pytest.raises(EngineError, match="not absolute"):
        await client.call("start_run", RunSpec(data="sessions", run_dir=run_dir, preset="test"))


async def test_a_held_directory_is_not_started_twice(engine, follow, run, ref, workers):
    client = (await follow()).client
    with held(run), pytest.raises(RunError, match="at work"):
        await client.call("resume", ref)
    assert workers.started == []


async def test_of_two_that_restart_a_stage_at_once_the_second_is_told_why_not(follow, run, ref, workers):
    async with serving(socket_path(), launcher=workers.launcher("--steps", "4000")):
        one, two = await follow(), await follow()
        await one.subscribe(run)
        await one.client.call("resume", ref)
        await one.until(lambda: one.state.phase == "training")
        answers = await asyncio.gather(
            one.client.call("restart_stage", ref),
            two.client.call("restart_stage", ref),
            return_exceptions=True,
        )
        refused = [answer for answer in answers if isinstance(answer, RunError)]
        assert len(refused) == 1, answers
        assert "another request is starting" in str(refused[0])
        await one.until(lambda: one.state.attempt == 2)
    assert len(workers.started) == 2
