"""Calls that start, pause, resume and stop runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from logbert_engine.daemon.paths import check_paths
from logbert_engine.daemon.run import LOOK_EVERY_S, Run
from logbert_engine.protocol.errors import RunError
from logbert_engine.protocol.messages import Done, RunInfo, RunRef, RunSpec
from logbert_engine.rundir import control
from logbert_engine.rundir.control import Wish
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import holder
from logbert_engine.rundir.processes import ProcessIdentity
from logbert_engine.training.plan import resume_words

if TYPE_CHECKING:
    from logbert_engine.daemon.connection import Connection
    from logbert_engine.daemon.engine import Engine

OPENING_S = 60.0
"""How long a worker that was just started may take to open its run before it can be asked for anything."""
STOPPING_S = 300.0
"""How long a worker may take to save its exact state (a large model on a slow disk)."""


async def start_run(engine: Engine, client: Connection, params: RunSpec) -> RunInfo:
    """``start_run``."""
    check_paths(params)

    def prepare_it() -> RunLayout:
        from logbert_engine.training.prepare import prepare

        return prepare(params)

    layout = await client.think(prepare_it)
    run = await engine.runs.get(str(layout.root))
    async with run.steering:
        await _refuse_when_at_work(run)
        await engine.runs.launch(run)
    return run.info()


async def pause(engine: Engine, _client: Connection, params: RunRef) -> Done:
    """``pause``."""
    await _ask(await engine.runs.get(params.run_dir), "pause")
    return Done(message="pausing: the worker saves its exact state, then frees all memory")


async def stop(engine: Engine, _client: Connection, params: RunRef) -> Done:
    """``stop``."""
    await _ask(await engine.runs.get(params.run_dir), "stop")
    return Done(message="stopping: the worker saves its exact state and ends")


async def resume(engine: Engine, _client: Connection, params: RunRef) -> Done:
    """``resume``."""
    run = await engine.runs.get(params.run_dir)
    async with run.steering:
        await run.look()
        _refuse_when_finished(run)
        await _let_leave(run)
        await _refuse_when_at_work(run)
        words = await asyncio.to_thread(resume_words, run.layout)
        await engine.runs.launch(run)
    return Done(message=f"resuming: {words}")


async def restart_stage(engine: Engine, _client: Connection, params: RunRef) -> Done:
    """``restart_stage``: stop the worker if there is one, then train the stage again that it was in."""
    run = await engine.runs.get(params.run_dir)
    if run.steering.locked():  # to wait for the other one would mean to end what it has just started
        raise RunError(
            f"another request is starting {run.run_dir} at this moment, so this one changed nothing; "
            "look how the run stands before asking again."
        )
    async with run.steering:
        await run.look()
        _refuse_when_finished(run)
        await _let_leave(run)
        at_work = await _at_work(run)
        if run.child is not None or at_work is not None:
            await _ask(run, "stop")
            await _until_gone(run, at_work)
            _refuse_when_finished(run)
        await engine.runs.launch(run, restart_stage=True)
    return Done(message="going back to the last complete stage: the next one is trained again from its start")


async def _ask(run: Run, wish: Wish) -> None:
    if run.child is not None and not run.state.active:
        await _until_opened(run)
    if await _at_work(run) is None:
        raise RunError(f"no worker is at work on {run.run_dir}: the run is {run.state.phase}.")
    await asyncio.to_thread(control.request, run.layout, wish)
    run.watch()


async def _until_opened(run: Run) -> None:
    """A worker that has only just been started clears requests to the one before it: wait until it has."""
    try:
        async with asyncio.timeout(OPENING_S):
            while run.child is not None and not run.state.active:  # noqa: ASYNC110 - another process acts
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise RunError(f"the worker of {run.run_dir} is still starting; try again in a moment.") from None


async def _let_leave(run: Run) -> None:
    """A worker that has journaled its end may need a moment to free its memory and be gone."""
    at_work = await _at_work(run)
    pids = {at_work.pid} if at_work is not None else set()
    if run.child is not None:
        pids.add(run.child.process.pid)
    if run.state.ended is not None and pids == {run.state.pid}:
        await _until_gone(run, at_work)


async def _until_gone(run: Run, leaving: ProcessIdentity | None) -> None:
    """Wait for a worker's end.

    Raises:
        RunError: it does not come, or somebody else has started another one.
    """
    try:
        async with asyncio.timeout(STOPPING_S):
            while True:
                now = await _at_work(run)
                if run.child is None and now is None:
                    break
                if run.child is None and await _another_at_work(run, now, leaving):
                    raise RunError(
                        f"{now} is at work on {run.run_dir} already: another request started it at this moment."
                    )
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise RunError(
            f"the worker of {run.run_dir} was asked to stop and still runs after {STOPPING_S:.0f} s; "
            "try again when it has ended."
        ) from None
    await run.look()


async def _another_at_work(run: Run, now: ProcessIdentity | None, leaving: ProcessIdentity | None) -> bool:
    """Whether another worker has the run. The lock alone does not tell: who journals an end takes it for a moment."""
    if now is None or leaving is None or now.pid == leaving.pid:
        return False
    await run.look()
    return run.state.active and run.state.pid == now.pid


async def _at_work(run: Run) -> ProcessIdentity | None:
    return await asyncio.to_thread(holder, run.layout)


async def _refuse_when_at_work(run: Run) -> None:
    if run.child is not None:
        raise RunError(f"process {run.child.process.pid} is at work on {run.run_dir} already.")
    at_work = await _at_work(run)
    if at_work is not None:
        raise RunError(f"{at_work} is at work on {run.run_dir} already.")


def _refuse_when_finished(run: Run) -> None:
    if run.state.phase == "finished":
        raise RunError(
            f"{run.run_dir} is finished: all stages are complete. "
            "To go further, start it again with a larger --max-ratio."
        )
