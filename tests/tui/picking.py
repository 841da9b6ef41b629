"""The picker with an engine's answers and without its process, on a machine whose answers were recorded."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from textual.pilot import Pilot

from logbert_engine.estimates.asking import estimates_of
from logbert_engine.estimates.learned import Learned
from logbert_engine.estimates.machine import Machine
from logbert_engine.presets import merging, runfile
from logbert_engine.presets.figures import preset_info
from logbert_engine.presets.loading import list_presets
from logbert_engine.protocol.errors import DataError, EngineError
from logbert_engine.protocol.estimates import EstimateQuery, MeasureQuery, MeasureRef
from logbert_engine.protocol.messages import DataSummary, Done, Hardware, RunInfo, RunSpec, Welcome
from logbert_engine.protocol.methods import DataPath, Plan, RunList
from logbert_tui.app import LogbertApp
from logbert_tui.link import EngineLink
from logbert_tui.screens import picker_asking
from logbert_tui.state import ConsoleState
from tests.hardware.machines import machine

PRESETS = [preset_info(preset) for preset in list_presets()]
BY_NAME = {preset.name: preset for preset in PRESETS}
DATA = DataSummary(
    path="/srv/logs",
    files=286,
    bytes=3_400_000_000,
    first_file="preprocessed_logs_2025-01-01.json",
    last_file="preprocessed_logs_2025-10-13.json",
    first_day="2025-01-01",
    last_day="2025-10-13",
    peeked_sessions=2000,
    distinct_events=1843,
    peeked_distinct=410,
    peeked_distinct_half=260,
    median_length=19,
    mean_length=24.6,
    longest=512,
    services={"gateway": 905, "billing": 611, "search": 484},
    templates=1843,
    estimated_sessions=2_464_136,
)
RUNS = [RunInfo(run_dir="/home/ana/runs/a", phase="paused", stage=3, stages=10)]


class PickerLink(EngineLink):
    """Answers the picker's calls with the engine's own functions."""

    def __init__(self, state: ConsoleState, hardware: Hardware) -> None:
        super().__init__(state)
        self.calls: list[tuple[str, msgspec.Struct | None]] = []
        self.gate = asyncio.Event()
        """Estimates and measurements are held back until it is set."""
        self.gate.set()
        self.at_once = self.most_at_once = 0
        self.problem = ""
        """Why the engine refuses to estimate or to measure."""
        self._machine = Machine(hardware, Learned(None), {})

    @property
    def is_local(self) -> bool:
        return False

    def start(self) -> None:
        """There is no engine to connect to."""

    def named(self, method: str) -> list[Any]:
        """Parameters of the calls of a method."""
        return [params for name, params in self.calls if name == method]

    async def call(self, method: str, params: msgspec.Struct | None = None) -> Any:
        self.calls.append((method, params))
        if self.problem and method in ("estimate", "measure"):
            raise EngineError(self.problem)
        match params:
            case DataPath():
                if params.path != DATA.path:
                    raise DataError(f"{params.path}: there is nothing here; name a folder or a file.")
                return DATA
            case RunSpec():
                command = shlex.join(merging.command_line(params))
                return Plan(command=command, run_yaml=runfile.config_text(merging.resolve(params)))
            case EstimateQuery():
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                await self.gate.wait()
                self.at_once -= 1
                return estimates_of(params, self._machine)
            case MeasureQuery():
                await self.gate.wait()
                return MeasureRef(id=7)
            case MeasureRef():
                return Done()
        return RunList(runs=RUNS)


@asynccontextmanager
async def picker(
    name: str = "m4-pro-24",
    size: tuple[int, int] = (120, 40),
    data: str = DATA.path,
    runs: list[RunInfo] | None = None,
    hold: bool = False,
) -> AsyncIterator[Pilot[str]]:
    """The picker on a recorded machine, with its estimates unless they are held back."""
    app = LogbertApp(data=data)
    hardware = machine(name)
    link = app.link = PickerLink(app.state, hardware)
    if hold:
        link.gate.clear()
    async with app.run_test(size=size) as pilot:
        app.state.connected(
            Welcome(
                protocol=1,
                engine_version="0.1.0",
                engine_id="e1",
                pid=1,
                started_at=0.0,
                default_run_dir="/home/ana/runs/new",
                home="/home/ana",
            )
        )
        app.state.set_presets(PRESETS)
        app.state.set_hardware(hardware)
        app.state.set_runs(RUNS if runs is None else runs)
        if not hold:
            await until(pilot, lambda: has_settled(app))
        yield pilot


def has_settled(app: LogbertApp) -> bool:
    """Whether all that was asked has been answered, and been shown."""
    screen: Any = app.screen
    answer = screen._estimating.answer
    waiting = screen._looking.checking or answer.waiting or list(screen.workers)
    return bool(answer.estimates or answer.problems) and not waiting


async def until(pilot: Pilot[Any], condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until a condition holds, and let the screen paint it."""
    async with asyncio.timeout(seconds):
        while not condition():
            await pilot.pause()
            await asyncio.sleep(picker_asking.PAUSE_S / 30)
    pilot.app.screen.tick()  # type: ignore[attr-defined]
    for _ in range(3):
        await pilot.pause()
