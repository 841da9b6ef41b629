"""A run with checkpoints and results, the console on its inference screen, and an engine: all over a real socket."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from logbert_engine.daemon.engine import Engine
from logbert_engine.daemon.server import serving
from logbert_engine.presets.merging import resolve
from logbert_engine.presets.runfile import write_config
from logbert_engine.protocol.locations import socket_path
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.protocol.results import (
    CountDifference,
    DifferenceStep,
    EventScore,
    Nearest,
    SessionResult,
)
from logbert_engine.rundir.layout import RunLayout
from logbert_tui.app import LogbertApp
from logbert_tui.widgets.line_list import LineList

WAITING = """
import json, signal
print(json.dumps({"phase": "scoring", "done": 30, "total": 120}), flush=True)
signal.pause()
"""
TOTAL = 1234
NEAREST = Nearest(
    distance=2,
    sessions=4321,
    steps=[
        DifferenceStep(kind="keep", at=0, seen=["E1", "E2"]),
        DifferenceStep(kind="substitute", at=2, seen=["E9"], ordinary=["E5"]),
        DifferenceStep(kind="delete", at=3, ordinary=["E7"]),
        DifferenceStep(kind="keep", at=3, seen=["E4"]),
    ],
)


def scored(number: int) -> SessionResult:
    """Session ``number`` of the results; the higher, the less anomalous."""
    score = 9.0 - number / 100
    first = EventScore(position=2, event="E9", surprisal=8.25, expected=[("E5", 0.72), ("E7", 0.09)])
    second = EventScore(position=0, event="E1", surprisal=0.1, expected=[("E1", 0.9)])
    kept = number < 50
    return SessionResult(
        session_id=f"blk_{number:05d}",
        anomaly_score=score,
        is_anomaly=score > 8,
        threshold=8.0,
        surprisal=2.5,
        length=4,
        reason=f"expected E5 (72%) at 3 of 4, saw E9 in session {number}",
        identical=3 if number == 1 else 1,
        unseen_events=2 if number == 2 else 0,
        service_name="gateway",
        timestamp="2025-08-22T14:05:00",
        file="sessions.json",
        highest=[first, second],
        event_sequence=["E1", "E2", "E9", "E4"] if kept else None,
        surprisals=[0.1, 0.5, 8.25, 2.5] if kept else None,
        nearest=NEAREST if number < 2 else None,
        counts=[CountDifference(event="E9", here=1, median=0, lowest=0, highest=0)] if kept else [],
    )


@pytest.fixture
def run(tmp_path: Path) -> RunLayout:
    """A run directory with two stages' checkpoints."""
    layout = RunLayout(tmp_path / "run")
    write_config(
        layout, resolve(RunSpec(data=str(tmp_path / "data"), run_dir=str(layout.root), preset="test"))
    )
    for name in ("stage_1_50pct", "stage_2_100pct"):
        stage = layout.stage(name)
        stage.checkpoints.mkdir(parents=True)
        stage.best.write_bytes(b"weights")
    return layout


@pytest.fixture
def results(run: RunLayout) -> Path:
    path = run.root / "results" / "eval.json"
    path.parent.mkdir()
    path.write_bytes(msgspec.json.encode([scored(number) for number in reversed(range(TOTAL))]))
    texts = {"E9": "Connection reset by <*>", "E5": "Request <*> accepted", "E1": "Request <*> from <*>"}
    path.with_suffix(".meta.json").write_bytes(
        msgspec.json.encode({"templates": texts, "false_alarm_rate": 0.0052})
    )
    return path


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with serving(socket_path()) as serving_engine:
        yield serving_engine


@asynccontextmanager
async def on_inference(run: RunLayout, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Pilot[str]]:
    """The console on the inference screen, connected over the engine's socket."""
    app = LogbertApp(str(run.root), socket=socket_path(), inference=True)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.screen.query_one("#output", Input).value)
        yield pilot


def text_of(pilot: Pilot[str]) -> list[str]:
    return [strip.text for strip in pilot.app.screen._compositor.render_strips()]


async def until(pilot: Pilot[str], condition: Callable[[], object], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "\n".join(text_of(pilot))
        await pilot.pause()


async def until_text(pilot: Pilot[str], words: str) -> None:
    await until(pilot, lambda: any(words in line for line in text_of(pilot)))


def ranked(pilot: Pilot[str]) -> LineList:
    return pilot.app.screen.query_one("#ranked", LineList)
