"""Calls that look at runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from logbert_engine.protocol.messages import Done, RunInfo, RunRef, Subscribe, Subscribed
from logbert_engine.protocol.methods import Nothing, RunList
from logbert_engine.rundir import registry

if TYPE_CHECKING:
    from logbert_engine.daemon.connection import Connection
    from logbert_engine.daemon.engine import Engine


async def list_runs(engine: Engine, _client: Connection, _params: Nothing) -> RunList:
    """``list_runs``."""
    return RunList(runs=await engine.runs.infos())


async def open_run(engine: Engine, _client: Connection, params: RunRef) -> RunInfo:
    """``open_run``: look at a run directory, and remember it."""
    run = await engine.runs.get(params.run_dir)
    await asyncio.to_thread(registry.remember, run.layout.root)
    return run.info()


async def subscribe(engine: Engine, client: Connection, params: Subscribe) -> Subscribed:
    """``subscribe``."""
    run = await engine.runs.get(params.run_dir)
    answer = run.subscribe(client, params.since_seq)
    answer.inferences = engine.inferences.of(run.run_dir)
    engine.load.wake()
    return answer


async def unsubscribe(engine: Engine, client: Connection, params: RunRef) -> Done:
    """``unsubscribe``."""
    run = await engine.runs.get(params.run_dir)
    run.unsubscribe(client)
    return Done()
