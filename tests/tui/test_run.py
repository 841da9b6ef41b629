"""The run screen at every size and in every phase of a run."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from logbert_engine.daemon.server import serving
from logbert_engine.presets.merging import resolve
from logbert_engine.presets.runfile import write_config
from logbert_engine.protocol.events import Log, RunEnded
from logbert_engine.protocol.locations import socket_path
from logbert_engine.protocol.messages import Accelerator, RunSpec
from logbert_engine.protocol.runstate import RunState
from logbert_engine.rundir.journal import JournalWriter
from logbert_engine.rundir.layout import RunLayout
from logbert_tui.app import LogbertApp
from logbert_tui.screens import run_notes as notes
from logbert_tui.screens import run_panels as panels
from logbert_tui.screens.confirm import ConfirmScreen
from logbert_tui.screens.run import LatestLines, MachineLines
from logbert_tui.widgets.chart import Chart
from logbert_tui.widgets.timeline import Timeline

SIZES = [(120, 40), (80, 24), (60, 20)]


@pytest.mark.parametrize("size", SIZES)
async def test_a_live_run_is_shown_whole(console, story, text_of, uncut, size):
    async with console(size=size, events=story()) as pilot:
        screen = pilot.app.screen
        text = text_of(screen)
        uncut(screen)
        assert "▶ training" in text
        assert "stage 3 of 10" in text
        assert "loss" in text
        assert "left" in text or " / " in text
        for figure in ("10%", "100%", "50%"):
            assert figure in text
        assert "stage 3 begins" in text


@pytest.mark.parametrize("size", SIZES[:2])
async def test_gauges_and_rates_stand_beside_the_curve(console, story, text_of, size):
    async with console(size=size, events=story()) as pilot:
        text = text_of(pilot.app.screen)
        for figure in (
            "worker",
            "3.3 GB",
            "peak 3.3 GB",
            "budget 7.8 GB",
            "host",
            "CPU",
            "12.3 k/s",
            "1.13 k/s",
        ):
            assert figure in text


@pytest.mark.parametrize("size", SIZES)
async def test_preparing_shows_phase_and_progress(console, story, text_of, uncut, size):
    async with console(size=size, events=story(full=0, share=0)) as pilot:
        text = text_of(pilot.app.screen)
        uncut(pilot.app.screen)
        assert "preparing" in text
        assert "reading session files" in text
        assert "1.1 M of 2.4 M sessions" in text


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("end", ["paused", "failed", "stopped"])
async def test_a_run_that_ended_says_what_happened_and_what_a_resume_does(
    console, story, text_of, uncut, size, end
):
    reason = "The disk is full: make room and resume."
    async with console(size=size, events=story(end=end, reason=reason)) as pilot:
        text = text_of(pilot.app.screen)
        uncut(pilot.app.screen)
        assert end.capitalize() in text
        assert reason in text
        assert "A resume: goes on in stage 3" in text
        assert "restart the stage" in text


async def test_a_finished_run_leads_on_to_inference(console, story, text_of):
    async with console(events=story(full=10, share=0, end="finished")) as pilot:
        text = text_of(pilot.app.screen)
        assert "✓ Finished" in text
        assert "best validation loss" in text
        assert "i: score sessions with it" in text
        assert "10 of 10 stages done" in text


async def test_without_a_run_the_screen_says_how_to_get_one(console, text_of):
    async with console() as pilot:
        assert "No run is open. Press 1" in text_of(pilot.app.screen)


async def test_an_event_repaints_what_it_changed_and_nothing_else(console, story, settle):
    async with console(events=story()) as pilot:
        screen, state = pilot.app.screen, pilot.app.state
        latest, timeline = screen.query_one(LatestLines), screen.query_one(Timeline)
        rows = latest.rows
        last = state.run.last
        later = msgspec.structs.replace(last, seq=state.seq + 1, step=last.step + 1, loss=0.4321)
        assert state.apply(state.run_dir, [later])
        await settle(pilot)
        assert "0.4321" in screen.query_one(MachineLines).text
        assert latest.rows is rows
        assert state.apply(state.run_dir, [Log(seq=state.seq + 1, t=1.0, level="warning", message="hot")])
        await settle(pilot)
        assert "▲ hot" in latest.text
        assert "30%" in timeline.text


async def test_events_by_the_thousand_cost_one_paint_a_tick(console, story, settle):
    async with console(events=story()) as pilot:
        state = pilot.app.state
        seq, last = state.seq, state.run.last
        for number in range(1, 5001):
            event = msgspec.structs.replace(
                last, seq=seq + number, total_step=last.total_step + number, loss=float(number)
            )
            assert state.apply(state.run_dir, [event])
        await settle(pilot)
        assert "5000.00" in pilot.app.screen.query_one(MachineLines).text or "5.00e+03" in (
            pilot.app.screen.query_one(MachineLines).text
        )


async def test_a_burst_does_not_leave_the_chart_behind(console, story, settle):
    async with console(events=story()) as pilot:
        state, chart = pilot.app.state, pilot.app.screen.query_one(Chart)
        last = state.run.last
        before = chart.rows
        for number in range(1, 4):
            event = msgspec.structs.replace(
                last,
                seq=state.seq + 1,
                total_step=last.total_step + number,
                step=last.step + number,
                loss=1.0 * number,
            )
            assert state.apply(state.run_dir, [event])
        async with asyncio.timeout(30):
            while chart.rows == before:
                await pilot.pause(0.05)


async def test_the_scale_and_the_part_shown_stay_as_events_come(console, story, settle):
    async with console(events=story()) as pilot:
        chart = pilot.app.screen.query_one(Chart)
        await pilot.press("y", "z")
        assert chart.chart_scale == "log"
        window = chart.window
        assert window.low == 120.0
        state = pilot.app.state
        last = state.run.last
        state.apply(state.run_dir, [msgspec.structs.replace(last, seq=state.seq + 1, step=last.step + 1)])
        await settle(pilot)
        assert (chart.chart_scale, chart.window) == ("log", window)
        assert "logarithmic" in chart.text


async def test_stopping_asks_first_and_no_is_no(console, story, text_of, uncut):
    async with console(size=(60, 20), events=story()) as pilot:
        await pilot.press("s")
        await pilot.pause()
        assert isinstance(pilot.app.screen, ConfirmScreen)
        text = text_of(pilot.app.screen)
        uncut(pilot.app.screen)
        assert "Stop this run?" in text
        assert "Finished stages" in text
        assert "n Esc no" in text
        await pilot.press("n")
        await pilot.pause()
        assert not isinstance(pilot.app.screen, ConfirmScreen)
        assert pilot.app.state.notices == []


@pytest.mark.parametrize("end", [None, "paused", "failed"])
async def test_throwing_away_a_stage_asks_first(console, story, text_of, end):
    async with console(events=story() if end is None else story(end=end)) as pilot:
        await pilot.press("R")
        await pilot.pause()
        assert isinstance(pilot.app.screen, ConfirmScreen)
        assert "learned so far is lost" in text_of(pilot.app.screen)
        await pilot.press("escape")
        await pilot.pause()
        assert not isinstance(pilot.app.screen, ConfirmScreen)


async def test_the_key_line_offers_what_can_be_done_now(console, story, text_of):
    async with console(events=story()) as pilot:
        line = text_of(pilot.app.screen).splitlines()[-1]
        assert "p pause" in line
        assert "r resume" not in line
    async with console(events=story(end="paused")) as pilot:
        line = text_of(pilot.app.screen).splitlines()[-1]
        assert "p pause" not in line
        assert "r resume" in line


async def test_pausing_a_run_that_is_paused_is_no_error(story, tmp_path, until_seen):
    run = RunLayout(tmp_path / "run")
    write_config(run, resolve(RunSpec(data=str(tmp_path), run_dir=str(run.root), preset="test")))
    with JournalWriter(run.journal) as writer:
        for event in story(end="paused"):
            writer.append(event)
    async with serving(socket_path()):
        app = LogbertApp(str(run.root), socket=socket_path())
        async with app.run_test(size=(120, 40)) as pilot:
            await until_seen(pilot, "paused")
            await pilot.press("p")
            await until_seen(pilot, "No worker is at work")
            assert [notice.severity for notice in app.state.notices] == ["info"]


@pytest.mark.parametrize("key", ["p", "r", "R", "s"])
async def test_a_read_only_console_refuses_control_with_a_sentence(console, story, text_of, settle, key):
    async with console(events=story(), read_only=True) as pilot:
        await pilot.press(key)
        await settle(pilot)
        text = text_of(pilot.app.screen)
        assert "This console is read-only" in text
        assert "read-only " in text.splitlines()[0]
        assert not isinstance(pilot.app.screen, ConfirmScreen)


async def test_a_long_message_is_wrapped_and_dismissed_by_escape(console, story, text_of, uncut, settle):
    async with console(size=(60, 20), events=story()) as pilot:
        words = (
            "The checkpoint of stage three could not be written because the disk is full, so make room first."
        )
        pilot.app.state.notice(words, "error")
        await settle(pilot)
        assert words.split()[-1] in text_of(pilot.app.screen)
        uncut(pilot.app.screen)
        await pilot.press("escape")
        await settle(pilot)
        assert "make room first" not in text_of(pilot.app.screen)
        assert pilot.app.shown == "run"


def folded(events):
    run = RunState()
    for event in events:
        run.apply(event)
    return run


@pytest.mark.parametrize("width", [56, 60, 78, 116, 160])
@pytest.mark.parametrize("end", [None, "paused", "failed", "finished"])
def test_headline_and_progress_fit_their_line(story, width, end):
    run = folded(story(end=end))
    for row in (panels.headline(run, width), panels.progress_row(run, width)):
        assert sum(len(text) for text, _ in row) <= width


def test_gpus_are_shown_each_and_unknown_figures_are_left_out(console, story):
    from logbert_engine.protocol.messages import Resources
    from logbert_tui.state import ConsoleState

    state = ConsoleState(run=folded(story()))
    state.set_resources(
        Resources(
            cpu_percent=10.0,
            memory_mb=1000.0,
            memory_used_mb=100.0,
            accelerators=[
                Accelerator(
                    kind="cuda",
                    name="H200",
                    memory_mb=143_771.0,
                    memory_used_mb=1024.0,
                    utilization_percent=45.0,
                ),
                Accelerator(kind="cuda", name="GB10", note="memory is not told"),
            ],
        )
    )
    labels = {gauge.label: gauge.text for gauge in panels.gauges(state)}
    assert labels["GPU 0"] == "45%"
    assert labels["GPU 0 mem"] == "1.0 GB"
    assert labels["GPU 1"] == "–"


def test_a_worker_above_its_budget_is_an_alarm(story):
    from logbert_tui.state import ConsoleState

    run = folded([*story(budget=1000.0)])
    gauge = panels.gauges(ConsoleState(run=run))[0]
    assert gauge.level() == "bad"


def test_hostile_text_in_a_log_line_cannot_steer_the_terminal():
    run = RunState()
    run.apply(Log(seq=1, t=1.0, level="error", message="\x1b[2J\x1b]0;title\x07 gone\r\n"))
    text = "".join(part for row in panels.log_rows(run, 80, 5) for part, _ in row)
    assert "\x1b" not in text
    assert "\r" not in text
    assert "gone" in text


def test_a_signal_is_named_on_the_card(story):
    run = folded(story())
    run.apply(RunEnded(seq=run.seq + 1, t=1.0, state="failed", reason="killed", signal=9))
    text = "".join(part for row in notes.card_rows(run, 80) for part, _ in row)
    assert "signal 9" in text
