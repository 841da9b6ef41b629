"""Calls about what a run would take: estimates, and measurements one at a time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from logbert_engine.daemon.paths import check_paths
from logbert_engine.protocol.errors import EngineError, LogbertError
from logbert_engine.protocol.estimates import EstimateQuery, Estimates, MeasureQuery, MeasureRef, Measuring
from logbert_engine.protocol.messages import Done, RunSpec

if TYPE_CHECKING:
    from logbert_engine.daemon.connection import Connection
    from logbert_engine.daemon.engine import Engine
    from logbert_engine.estimates.asking import Measurement
    from logbert_engine.estimates.machine import Machine


class Estimating:
    """What this engine knows of its machine, and the measurement under way."""

    def __init__(self) -> None:
        self._asked: asyncio.Task[Machine] | None = None
        self._measurement: Measurement | None = None
        self._task: asyncio.Task[None] | None = None
        self._last_id = 0
        self._beginning = asyncio.Lock()

    async def machine(self) -> Machine:
        """This machine now. The first call waits for what torch says of it, which takes some seconds once."""
        from logbert_engine.estimates.asking import asked_machine, this_machine

        if self._asked is None or (self._asked.done() and self._asked.exception() is not None):
            self._asked = asyncio.create_task(asyncio.to_thread(asked_machine))
        problem = (await asyncio.shield(self._asked)).problem
        return replace(await asyncio.to_thread(this_machine), problem=problem)

    async def measure(self, client: Connection, query: MeasureQuery) -> MeasureRef:
        """Start a measurement; how far it is goes to the client.

        Raises:
            EngineError: one is under way already.
            LogbertError: the request does not hold, or does not fit this machine.
        """
        from logbert_engine.estimates.asking import Measurement

        async with self._beginning:
            if self._measurement is not None:
                raise EngineError("a measurement is under way already; cancel it, or wait for its end.")
            machine = await self.machine()
            measurement = await asyncio.to_thread(Measurement, query.spec, query.data, machine)
            self._measurement = measurement
            self._last_id += 1
            ref = MeasureRef(id=self._last_id)
            self._task = asyncio.create_task(self._attend(client, measurement, ref, query.spec.preset))
            return ref

    async def _attend(
        self, client: Connection, measurement: Measurement, ref: MeasureRef, preset: str
    ) -> None:
        loop = asyncio.get_running_loop()

        def tell(step: int, steps: int) -> None:
            said = Measuring(id=ref.id, preset=preset, step=step, steps=steps)
            loop.call_soon_threadsafe(client.notify, "measuring", said, f"measuring {ref.id}")

        end = Measuring(id=ref.id, preset=preset, state="finished")
        try:
            await asyncio.to_thread(measurement.run, tell)
        except LogbertError as error:
            end = Measuring(id=ref.id, preset=preset, state="failed", message=str(error))
        finally:
            self._measurement = None
        client.notify("measuring", end, key=f"measuring {ref.id}")

    def cancel(self, number: int) -> None:
        """End a measurement; nothing is learnt from it.

        Raises:
            EngineError: it is not under way.
        """
        if self._measurement is None or number != self._last_id:
            raise EngineError(f"no measurement {number} is under way; it may have ended already.")
        self._measurement.cancel()

    async def close(self) -> None:
        """End what is under way."""
        if self._measurement is not None:
            self._measurement.cancel()
        if self._task is not None:
            await asyncio.wait([self._task])


def _check(spec: RunSpec) -> None:
    """Refuse relative paths in a request that may not name a run directory yet."""
    check_paths(msgspec.structs.replace(spec, run_dir=spec.run_dir or "/"))


async def estimate(engine: Engine, client: Connection, params: EstimateQuery) -> Estimates:
    """``estimate``."""
    _check(params.spec)
    machine = await engine.estimating.machine()

    def compute() -> Estimates:
        from logbert_engine.estimates.asking import estimates_of

        return estimates_of(params, machine)

    return await client.think(compute)


async def measure(engine: Engine, client: Connection, params: MeasureQuery) -> MeasureRef:
    """``measure``."""
    _check(params.spec)
    return await engine.estimating.measure(client, params)


async def cancel_measure(engine: Engine, _client: Connection, params: MeasureRef) -> Done:
    """``cancel_measure``."""
    engine.estimating.cancel(params.id)
    return Done(message="the measurement is being ended")
