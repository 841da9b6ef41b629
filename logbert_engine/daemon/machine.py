"""Calls about this machine, its presets and its data, and the end of the engine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from logbert_engine.daemon.paths import absolute, check_paths
from logbert_engine.protocol.errors import EngineError
from logbert_engine.protocol.messages import DataSummary, Done, Hardware, RunSpec
from logbert_engine.protocol.methods import DataPath, Nothing, Plan, PresetList, Shutdown

if TYPE_CHECKING:
    from logbert_engine.daemon.connection import Connection
    from logbert_engine.daemon.engine import Engine

# What a call needs is imported when it comes, in a thread: the engine itself is up in a fraction of a second.


async def hardware(_engine: Engine, client: Connection, _params: Nothing) -> Hardware:
    """``hardware``."""

    def look() -> Hardware:
        from logbert_engine.hardware.probe import probe

        return probe(Path.home())

    return await client.think(look)


async def list_presets(_engine: Engine, client: Connection, _params: Nothing) -> PresetList:
    """``list_presets``, in the picker's order."""

    def read() -> PresetList:
        from logbert_engine.presets import figures, loading

        return PresetList(presets=[figures.preset_info(preset) for preset in loading.list_presets()])

    return await client.think(read)


async def inspect_data(_engine: Engine, client: Connection, params: DataPath) -> DataSummary:
    """``inspect_data``."""
    path = absolute(params.path, "the data path")

    def look() -> DataSummary:
        from logbert_engine.data.inspect import inspect

        return inspect(path)

    return await client.think(look)


async def plan_run(_engine: Engine, client: Connection, params: RunSpec) -> Plan:
    """``plan_run``: the command line and the configuration that a request stands for."""
    check_paths(params)

    def plan() -> Plan:
        from logbert_engine.presets import merging, runfile

        config = merging.resolve(params)
        return Plan(command=shlex.join(merging.command_line(params)), run_yaml=runfile.config_text(config))

    return await client.think(plan)


async def shutdown(engine: Engine, _client: Connection, params: Shutdown) -> Done:
    """``shutdown``: the engine leaves; training goes on, what is being scored is lost."""
    lost = " and ".join(engine.inferences.outputs())
    if lost and not params.force:
        raise EngineError(
            f"the engine is scoring into {lost}, and that would be lost; wait for its end, "
            "or give --force to end it too (training goes on)."
        )
    engine.stopping.set()
    return Done(
        message=f"training goes on, what was scored into {lost} is lost" if lost else "training goes on"
    )
