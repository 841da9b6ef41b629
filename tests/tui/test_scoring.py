"""A scoring that runs in the engine, as consoles see it that come and go; and results while and after they change."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from logbert_engine.daemon.engine import Engine
from logbert_engine.daemon.inference import Inferences
from logbert_engine.daemon.server import serving
from logbert_engine.protocol.locations import socket_path
from logbert_engine.rundir.layout import RunLayout
from tests.tui.scored import WAITING, on_inference, ranked, scored, text_of, until, until_text

HELD_BACK = """
import json, pathlib, sys
print(json.dumps({"phase": "scoring", "done": 30, "total": 120}), flush=True)
output = pathlib.Path(next(word for word in sys.argv if word.startswith("--output="))[9:])
record = {"session_id": "fresh", "anomaly_score": 3.5, "is_anomaly": True, "surprisal": 1.0, "length": 2}
record["reason"] = pathlib.Path(GO).read_text()
output.parent.mkdir(exist_ok=True)
output.write_text(json.dumps([record]))
print(json.dumps({"state": "finished"}))
"""
"""Scores when somebody writes the reason into a pipe."""


async def test_a_console_that_comes_back_sees_what_is_being_scored_and_what_it_found(
    engine: Engine, run: RunLayout, tmp_path: Path
) -> None:
    pipe = tmp_path / "go"
    os.mkfifo(pipe)
    engine.inferences = Inferences([sys.executable, "-c", f"GO = {str(pipe)!r}\n{HELD_BACK}"])
    async with on_inference(run, (100, 30)) as pilot:
        await pilot.press("ctrl+s")
        await until_text(pilot, "25%  30 of 120")
        await pilot.press("q")
        assert "Scoring goes on; come back with: " in str(pilot.app.return_value)
        assert str(pilot.app.return_value).endswith("--inference")
    async with on_inference(run, (80, 24)) as pilot:
        await until_text(pilot, "25%  30 of 120")
        await until_text(pilot, "The results are on their way.")
        await pilot.press("ctrl+s")
        await until_text(pilot, "An inference runs already; c cancels it.")
        await asyncio.to_thread(pipe.write_text, "found while nobody looked")
        await until_text(pilot, "found while nobody looked")
        assert not any("30 of 120" in line for line in text_of(pilot))


async def test_a_console_that_comes_back_cancels_what_another_began(engine: Engine, run: RunLayout) -> None:
    engine.inferences = Inferences([sys.executable, "-c", WAITING])
    async with on_inference(run, (100, 30)) as pilot:
        await pilot.press("ctrl+s")
        await until_text(pilot, "25%  30 of 120")
    async with on_inference(run, (100, 30)) as pilot:
        await until_text(pilot, "25%  30 of 120")
        await pilot.press("c")
        await until_text(pilot, "The inference was cancelled; no results were written.")
        await until_text(pilot, "Nothing was scored yet.")


async def test_a_console_is_told_that_the_engine_went_and_with_it_the_scoring(run: RunLayout) -> None:
    async with AsyncExitStack() as outliving:
        async with serving(socket_path()) as first:
            first.inferences = Inferences([sys.executable, "-c", WAITING])
            pilot = await outliving.enter_async_context(on_inference(run, (100, 30)))
            await pilot.press("ctrl+s")
            await until_text(pilot, "25%  30 of 120")
        async with serving(socket_path()):
            await until_text(pilot, "The inference ended while the engine was away")
            assert not any("30 of 120" in line for line in text_of(pilot))


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_results_of_before_are_called_so_while_newer_ones_are_made_and_can_be_judged(
    engine: Engine, run: RunLayout, results: Path, size: tuple[int, int]
) -> None:
    engine.inferences = Inferences([sys.executable, "-c", WAITING])
    os.utime(results, (1_700_000_000, 1_700_000_000))
    async with on_inference(run, size) as pilot:
        await until_text(pilot, "blk_00000")
        assert not any("results of before" in line for line in text_of(pilot))
        await pilot.press("ctrl+s")
        await until_text(pilot, "▲ results of before, written 2023-11-1")
        await until_text(pilot, "1,234 sessions")
        await pilot.press("N")
        await until_text(pilot, "Session blk_00000: normal from now on.")
        await pilot.press("c")
        await until_text(pilot, "The inference was cancelled")
        await until(pilot, lambda: not any("results of before" in line for line in text_of(pilot)))


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_what_is_to_be_minded_of_results_is_said_in_full_where_there_is_room(
    engine: Engine, run: RunLayout, size: tuple[int, int]
) -> None:
    path = run.root / "results" / "eval.json"
    path.parent.mkdir()
    by_budget = [msgspec.structs.replace(scored(n), threshold=None, budget=0.001) for n in range(300)]
    path.write_bytes(msgspec.json.encode(by_budget))
    meta = {
        "false_alarm_rate": 0.0012,
        "false_alarm_span": [0.0, 0.0045],
        "tails": "far out the values of bag do not fall off as assumed: the order is rough",
        "unused": "3 records could not be used; the first: a.json, record 5. All are listed in /rejected",
    }
    path.with_suffix(".meta.json").write_bytes(msgspec.json.encode(meta))
    async with on_inference(run, size) as pilot:
        await until_text(pilot, "blk_00000")
        await until_text(pilot, "3 records could not be used")
        text = text_of(pilot)
        whole = "\n".join(text)
        assert all(len(line) == size[0] for line in text)
        span = "0% to 0.45% with 95% confidence" if size[0] == 120 else "95%: 0% to 0.45%"
        assert f"≈0.12% of ordinary sessions, {span})" in whole
        assert "Far out the values of bag do not fall off as assumed" in whole
        assert ("the order is rough" in whole) == (size[1] == 40)
        assert ("All are listed in /rejected" in whole) == (size[1] == 40)
        assert any(" blk_00003 " in line for line in text), "rows of the list are left"


async def test_results_that_were_deleted_while_they_are_shown_are_said_to_be_gone(
    engine: Engine, run: RunLayout, results: Path
) -> None:
    async with on_inference(run, (100, 30)) as pilot:
        await until_text(pilot, "blk_00000")
        await asyncio.to_thread(results.unlink)
        await pilot.press("enter")
        await until_text(pilot, "This session cannot be read. Esc goes back to the list.")
        await until_text(pilot, "There are no results at")
        assert not any("Reading" in line for line in text_of(pilot))
        await pilot.press("N")
        await until_text(pilot, "No session is chosen.")
        await pilot.press("escape", "escape")
        await until_text(pilot, "These results cannot be read any more. ^S scores again; o opens others.")
        assert ranked(pilot).source.count == 0
