"""A run's events as its journal has them, and the console without an engine, for tests of the screens."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from textual.pilot import Pilot
from textual.screen import Screen

from logbert_engine.protocol.events import (
    DataReady,
    EndState,
    EpochEnded,
    Expected,
    JournalEvent,
    Log,
    Metric,
    ModelReady,
    Progress,
    RunEnded,
    RunOpened,
    StageEnded,
    StagePlan,
    StageStarted,
)
from logbert_engine.protocol.expectation import Figure, StageExpectation
from logbert_engine.protocol.messages import Resources, Welcome
from logbert_engine.protocol.runstate import RunState
from logbert_tui.app import LogbertApp
from logbert_tui.screens.console import ConsoleScreen
from tests.tui.scored import engine, results, run

__all__ = ["engine", "results", "run"]

RUN_DIR = "/home/ana/runs/checkpoints_transfer"
STARTED_AT = 1_760_000_000.0

Story = Callable[..., list[JournalEvent]]
Console = Callable[..., AbstractAsyncContextManager[Pilot[str]]]


def _plans(stages: int) -> list[StagePlan]:
    return [
        StagePlan(
            index=i,
            name=f"stage_{i}_{i * 100 // stages}pct",
            ratio=i / stages,
            epochs=2,
            sessions=1000 * i,
            unique=100 * i,
            steps=40 * i,
        )
        for i in range(1, stages + 1)
    ]


def _expectation(plan: StagePlan) -> StageExpectation:
    """A second a step, 37 minutes of training in all."""

    def about(value: float) -> Figure:
        return Figure(value=value, low=value / 2, high=value * 2, origin="calibrated")

    return StageExpectation(
        stage=plan.index, memory=about(2500.0), step_s=about(1.0), end_s=1.0, seconds=about(plan.steps + 2.0)
    )


def _stage(plan: StagePlan, before: int, share: float) -> list[JournalEvent]:
    done = int(plan.steps * share)
    made: list[JournalEvent] = [
        StageStarted(stage=plan.index, total_step=before),
        Log(level="info", message=f"stage {plan.index} begins", stage=plan.index),
    ]
    for step in range(1, done + 1):
        total = before + step
        made.append(
            Metric(
                stage=plan.index,
                epoch=1 if step <= plan.steps // 2 else 2,
                step=step,
                steps=plan.steps,
                total_step=total,
                loss=0.1 + 3 * math.exp(-total / 60),
                lr=5e-5,
                grad_norm=0.42,
                sessions_per_s=1130.0,
                events_per_s=12345.0,
                rss_mb=2000.0 + total,
                stage_s=step * 1.5,
            )
        )
        if step in (plan.steps // 2, plan.steps):
            made.append(
                EpochEnded(
                    stage=plan.index,
                    epoch=1 if step < plan.steps else 2,
                    total_step=total,
                    train_loss=0.2,
                    valid_loss=0.15 + 1 / total,
                    seconds=30.0,
                    checkpoint="epoch.pt",
                    best=True,
                )
            )
    if done == plan.steps:
        made.append(
            StageEnded(
                stage=plan.index,
                sessions=plan.sessions,
                steps=plan.steps,
                best_epoch=2,
                train_loss=0.2,
                best_valid_loss=0.15 + 1 / (before + plan.steps),
                seconds=plan.steps * 1.5,
                checkpoint=f"{plan.name}/checkpoints/best_model.pt",
                sha256="0" * 64,
            )
        )
    return made


@pytest.fixture
def story() -> Story:
    """Events of a run of ten stages: ``full`` whole ones, then a share of the next, then perhaps an end."""

    def tell(
        full: int = 2,
        share: float = 0.5,
        end: EndState | None = None,
        reason: str = "",
        stages: int = 10,
        budget: float | None = 8000.0,
        expected: bool = False,
        documented: dict[str, str] | None = None,
        device: str = "cpu",
    ) -> list[JournalEvent]:
        plans = _plans(stages)
        events: list[JournalEvent] = [
            RunOpened(
                attempt=1,
                pid=4242,
                host="train-01",
                preset="transfer",
                device=device,
                device_name="AMD EPYC 9B14",
                precision="fp32",
                stages=plans,
                memory_budget_mb=budget,
                documented=documented or {},
            ),
            Progress(phase="reading session files", done=1_100_000, total=2_400_000, unit="sessions"),
        ]
        if full or share:
            events += [
                DataReady(
                    files=286,
                    sessions=2_464_136,
                    unique=21_876,
                    events=1843,
                    train=177_000,
                    valid=20_000,
                    stages=plans,
                ),
                ModelReady(parameters=109_482_240, architecture="bert", source="bert-base-uncased"),
            ]
        if expected:
            events.append(Expected(stages=[_expectation(plan) for plan in plans]))
        before = 0
        for plan in plans[: full + (1 if share else 0)]:
            events += _stage(plan, before, 1.0 if plan.index <= full else share)
            before += plan.steps
        if end is not None:
            resumes = "" if end == "finished" else f"goes on in stage {full + 1}"
            events.append(RunEnded(state=end, reason=reason, resumes=resumes))
        return [
            msgspec.structs.replace(event, seq=seq, t=STARTED_AT + seq) for seq, event in enumerate(events, 1)
        ]

    return tell


@pytest.fixture
def console(tmp_path: Path) -> Console:
    """The console at a size with a run's events in its state; no engine is connected, nothing is asked."""

    @asynccontextmanager
    async def opened(
        size: tuple[int, int] = (120, 40),
        screen: str = "run",
        events: list[JournalEvent] | None = None,
        read_only: bool = False,
    ) -> AsyncIterator[Pilot[str]]:
        app = LogbertApp(socket=tmp_path / "none.sock", read_only=read_only)
        async with app.run_test(size=size) as pilot:
            await app.link.close()
            state = app.state
            state.connected(
                Welcome(
                    protocol=1,
                    engine_version="0.1.0",
                    engine_id="e1",
                    pid=1,
                    started_at=STARTED_AT,
                    default_run_dir=RUN_DIR,
                    home="/home/ana",
                )
            )
            state.dismiss()
            if events is not None:
                state.follow(RUN_DIR)
                state.run = RunState()
                assert state.apply(RUN_DIR, events)
                state.set_resources(
                    Resources(
                        cpu_percent=93.4,
                        memory_mb=15990.0,
                        memory_used_mb=6200.0,
                        worker_rss_mb=3412.0,
                        worker_cpu_percent=188.0,
                    )
                )
            await app.show(screen)
            await pilot.pause()
            app.screen_stack[-1].refresh()
            await settled(pilot)
            yield pilot

    return opened


async def settled(pilot: Pilot[str]) -> None:
    """Have the visible screen take in what changed, as its timer does, and paint it."""
    for _ in range(3):  # a notice, or a longer check of the data, moves what is laid out after it
        screen = pilot.app.screen
        if isinstance(screen, ConsoleScreen):
            screen.tick()
        await pilot.pause()


@pytest.fixture
def settle() -> Callable[[Pilot[str]], object]:
    """Wait until what changed has been painted."""
    return settled


def shown(screen: Screen[object]) -> str:
    """What the terminal shows, without styles."""
    return "\n".join(strip.text for strip in screen._compositor.render_strips())


@pytest.fixture
def text_of() -> Callable[[Screen[object]], str]:
    """What the terminal shows, without styles."""
    return shown


@pytest.fixture
def uncut() -> Callable[[Screen[object]], None]:
    """Asserts that no widget reaches over what surrounds it."""

    def check(screen: Screen[object]) -> None:
        full = screen._compositor.full_map
        cut = {
            widget: (place.region, place.clip)
            for widget, place in full.items()
            if widget.display and place.region.area and not place.clip.contains_region(place.region)
        }
        assert not cut
        assert all(screen.region.contains_region(place.region) for place in full.values())

    return check


@pytest.fixture
def until_seen() -> Callable[[Pilot[str], str], object]:
    """Wait until a text is on the screen, with a deadline."""

    async def wait(pilot: Pilot[str], text: str) -> None:
        async with asyncio.timeout(30):
            while text not in shown(pilot.app.screen):
                await asyncio.sleep(0.05)
                await pilot.pause()

    return wait
