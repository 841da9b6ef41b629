"""The real console against a real engine process and a real worker, with both of them killed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from logbert_engine.protocol.events import JournalEvent, Metric, RunOpened, StageEnded, StageStarted
from logbert_engine.protocol.runstate import RunState
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import holder
from logbert_tui.app import LogbertApp
from logbert_tui.screens.picker import PickerScreen

DEADLINE_S = 180.0
EPOCHS = 40
"""Enough for a stage of the tiny sessions to last seconds."""


class Console:
    """A console at work, and everything that it was told."""

    def __init__(self, app: LogbertApp, pilot: Pilot[str]) -> None:
        self.app, self.pilot = app, pilot
        self.told: list[int] = []
        take_in = app.state.apply

        def apply(run_dir: str, events: list[JournalEvent]) -> bool:
            known = take_in(run_dir, events)
            self.told.extend(event.seq for event in events)
            return known

        app.state.apply = apply  # type: ignore[method-assign,assignment]

    @property
    def run(self) -> RunState:
        assert self.app.state.run is not None
        return self.app.state.run

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Let the console work until something has come about."""
        deadline = asyncio.get_running_loop().time() + DEADLINE_S
        while not condition():
            notices = [notice.text for notice in self.app.state.notices]
            assert asyncio.get_running_loop().time() < deadline, f"never: {what}; notices {notices}"
            await self.pilot.pause(0.02)

    def text(self) -> str:
        """What the screen shows."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text for strip in strips)


@asynccontextmanager
async def console(**options: object) -> AsyncIterator[Console]:
    app = LogbertApp(**options)  # type: ignore[arg-type]
    async with app.run_test(size=(120, 40)) as pilot:
        yield Console(app, pilot)


@pytest.fixture
def leave_nothing_running(tmp_path: Path) -> Iterator[None]:
    yield
    for process in psutil.process_iter(["cmdline", "environ"]):
        with suppress(psutil.Error):
            ours = (process.info["environ"] or {}).get("LOGBERT_RUNTIME_DIR") == os.environ[
                "LOGBERT_RUNTIME_DIR"
            ]
            if (
                ours
                and "logbert_engine" in " ".join(process.info["cmdline"] or [])
                and process.pid != os.getpid()
            ):
                process.kill()


def told_without_gap(told: list[int], first: int) -> bool:
    """Whether the events that came in, each once, continue what was known."""
    return sorted(set(told)) == list(range(first, max(told, default=first - 1) + 1))


def folded(run: RunLayout, seq: int) -> RunState:
    """The state as the journal alone gives it."""
    state = RunState()
    for event in read_journal(run.journal):
        if event.seq <= seq:
            state.apply(event)
    return state


async def start_a_run(at: Console, run_dir: Path) -> None:
    """What a person does: choose the preset, say where, start."""
    await at.until(lambda: at.app.state.presets, "presets are listed")
    picker = at.app.screen
    assert isinstance(picker, PickerScreen)
    await at.until(lambda: "3 files" in at.text(), "the data were looked at")
    assert [preset.name for preset in at.app.state.presets[:2]] == ["quick", "demo"]
    await at.pilot.press("down")
    for field, value in (("run_dir", str(run_dir)), ("epochs_per_stage", str(EPOCHS))):
        picker.query_one(f"#{field}", Input).focus()
        await at.pilot.press("ctrl+u", *value)
    await at.until(lambda: f"--epochs-per-stage {EPOCHS}" in at.text(), "the command shows the epochs")
    await at.pilot.press("ctrl+s")
    await at.until(lambda: at.app.state.run is not None and at.run.seq > 0, "the run began")


@pytest.mark.timeout(900)
@pytest.mark.shared
@pytest.mark.usefixtures("leave_nothing_running")
async def test_a_run_outlives_console_and_engine_and_resumes_after_its_worker_is_killed(
    shared_data: Path, tmp_path: Path
) -> None:
    run = RunLayout(tmp_path / "run")

    async with console(data=str(shared_data / "tiny")) as first:
        await start_a_run(first, run.root)
        await first.until(lambda: first.run.stages and first.run.stages[0].phase == "done", "stage 1 is done")
        await first.until(lambda: first.run.stage == 2 and len(first.run.curve.step) > 5, "stage 2 trains")
        seen, told = first.run.seq, list(first.told)
        assert told_without_gap(told, min(told))
        await first.pilot.press("q")
        assert "Training goes on" in (first.app.return_value or "")
    worker = holder(run)
    assert worker is not None
    assert worker.alive(), "the worker outlives the console"

    async with console(run_dir=str(run.root)) as second:
        await second.until(lambda: second.app.state.run is not None and second.run.seq > seen, "found again")
        snapshot_seq = second.run.seq
        engine = second.app.state.engine
        assert engine is not None

        os.kill(engine.pid, signal.SIGKILL)
        await second.until(lambda: second.app.state.connection == "lost", "the loss is noticed")
        await second.until(
            lambda: second.app.state.connection == "connected" and second.app.state.engine != engine,
            "a new engine serves the console",
        )
        assert holder(run) == worker, "training went on in the same process"
        before = second.run.seq
        await second.until(lambda: second.run.seq > before, "the new engine follows the worker")
        assert told_without_gap(second.told, min(second.told))
        assert min(second.told) <= snapshot_seq + 1
        assert second.run.curve == folded(run, second.run.seq).curve, "no gap in the curve"

        done = sum(stage.phase == "done" for stage in second.run.stages)
        os.kill(worker.pid, signal.SIGKILL)
        await second.until(lambda: second.run.phase == "failed", "the console knows that the worker died")
        await second.until(lambda: "ended without a word" in second.text(), "and says so")
        assert sum(stage.phase == "done" for stage in second.run.stages) == done >= 1

        await second.pilot.press("r")
        await second.until(lambda: second.run.attempt == 2, "a second attempt began")
        await second.until(lambda: second.run.phase == "finished", "the run is finished")
        assert all(stage.phase == "done" for stage in second.run.stages)
        assert second.run.curve == folded(run, second.run.seq).curve
        assert told_without_gap(second.told, min(second.told))

    events = list(read_journal(run.journal))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert sum(isinstance(event, RunOpened) for event in events) == 2
    ended = [event.stage for event in events if isinstance(event, StageEnded)]
    assert ended == [1, 2, 3], "no stage was skipped or trained to its end twice"
    resumed = [event for event in events if isinstance(event, StageStarted)][-1 - (3 - ended[-1])]
    assert resumed.parent
    steps = [event.total_step for event in events if isinstance(event, Metric)]
    assert max(steps) == sum(stage.plan.steps for stage in folded(run, len(events)).stages)


@pytest.mark.shared
@pytest.mark.usefixtures("leave_nothing_running")
async def test_pause_frees_the_worker_and_resume_takes_the_very_next_step(
    shared_data: Path, tmp_path: Path
) -> None:
    run = RunLayout(tmp_path / "run")
    async with console(data=str(shared_data / "tiny")) as at:
        await start_a_run(at, run.root)
        await at.until(lambda: at.run.phase == "training" and len(at.run.curve.step) > 3, "it trains")
        await at.pilot.press("p")
        await at.until(lambda: at.run.phase == "paused", "it is paused")
        await at.until(lambda: holder(run) is None, "the worker is gone")
        stage, step = at.run.stage, at.run.stages[at.run.stage - 1].step
        await at.pilot.press("r")
        await at.until(lambda: at.run.phase == "training" and at.run.attempt == 2, "it trains again")
        again = [event for event in read_journal(run.journal) if isinstance(event, StageStarted)][-1]
        assert again.stage == stage
        assert again.step >= step, "nothing is trained twice"
        assert again.step > 0
        await at.pilot.press("s")
        await at.pilot.press("y")
        await at.until(lambda: at.run.phase == "stopped", "it is stopped")
