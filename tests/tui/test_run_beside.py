"""What a run was documented and estimated to take beside what it takes, on the run screen."""

from __future__ import annotations

import msgspec
import pytest

from logbert_engine.protocol.events import Metric
from logbert_engine.protocol.messages import Accelerator, Resources
from logbert_engine.protocol.runstate import RunState
from logbert_tui.screens import run_panels as panels
from logbert_tui.screens.run_beside import beside_rows
from logbert_tui.state import ConsoleState
from logbert_tui.widgets.gauge import EXPECTED, PEAK

DOCUMENTED = {"time": "2–4 h; all ten stages 15–20 h on an M4 Pro", "memory": "4–8 GB"}


def folded(events):
    run = RunState()
    for event in events:
        run.apply(event)
    return run


def texts(rows):
    return ["".join(part for part, _ in row) for row in rows]


async def test_three_sources_stand_side_by_side(console, story, text_of, uncut):
    async with console(size=(120, 40), events=story(expected=True, documented=DOCUMENTED)) as pilot:
        text = text_of(pilot.app.screen)
        uncut(pilot.app.screen)
        for words in (
            "what the run takes",
            "time   documented 2–4 h; all ten stages",
            "estimated  37 m 00 s (18 m 30 s–1 h 14 m), calibrated",
            "so far     4 m 30 s",
            "memory documented 4–8 GB",
            "estimated  2.4 GB (1.2 GB–4.9 GB), calibrated",
            "┊ expected 2.4 GB",
        ):
            assert words in text


async def test_in_a_small_terminal_the_gauge_alone_says_what_was_expected(console, story, text_of, uncut):
    async with console(size=(80, 24), events=story(expected=True, documented=DOCUMENTED)) as pilot:
        text = text_of(pilot.app.screen)
        uncut(pilot.app.screen)
        assert "┊ expected 2.4 GB" in text
        assert "what the run takes" not in text
        assert "loss " in text


@pytest.mark.parametrize("height", [1, 2, 5, 6, 7])
@pytest.mark.parametrize("width", [20, 40, 58])
@pytest.mark.parametrize("expected", [True, False])
@pytest.mark.parametrize("end", [None, "paused", "finished"])
def test_the_rows_fit(story, width, height, expected, end):
    run = folded(story(expected=expected, documented=DOCUMENTED, end=end))
    rows = texts(beside_rows(run, width, height))
    assert all(len(row) <= width for row in rows)
    assert len(rows) == (6 if height >= 6 else 2)


def test_a_finished_run_says_how_far_off_the_estimate_was(story):
    run = folded(story(full=10, share=0, expected=True, end="finished"))
    rows = texts(beside_rows(run, 60, 7))
    assert rows[2] == "       took       55 m 00 s, 1.49 × the estimate"
    assert rows[5].endswith("× the estimate")


def test_a_run_of_before_there_were_expectations_shows_what_it_took(story):
    rows = texts(beside_rows(folded(story()), 60, 7))
    assert rows[1].split() == ["estimated", "–"]
    assert texts(beside_rows(None, 60, 7)) == ["What the run is expected to take appears here."]


def test_what_is_documented_cannot_steer_the_terminal(story):
    run = folded(story(documented={"time": "\x1b[2J10 h"}))
    assert "\x1b" not in texts(beside_rows(run, 60, 7))[0]


def test_before_the_first_figures_the_time_is_the_expected_one(story):
    events = story(full=0, share=0.01, expected=True)
    text = texts([panels.progress_row(folded(events), 116)])[0]
    assert "expected: stage 42 s, run 37 m 00 s" in text
    text = texts([panels.progress_row(folded(story(full=0, share=0.1, expected=True)), 116)])[0]
    assert "left: stage" in text


@pytest.mark.parametrize(("step_s", "told"), [(12.0, True), (2.0, False)])
def test_a_step_that_takes_long_is_said_to(story, step_s, told):
    run = folded(story(full=0, share=0.1))
    assert run.last is not None
    slow = msgspec.structs.replace(run.last, seq=run.seq + 1, steps_s=step_s * run.last.step)
    run.apply(slow)
    assert (f"a step {step_s:.0f} s" in texts([panels.progress_row(run, 116)])[0]) == told
    assert any("takes 12 s" in row for row in texts(panels.figure_rows(run, 38))) == told


def test_the_gauge_marks_peak_and_expectation_and_a_live_peak_counts(story):
    run = folded(story(full=0, share=0.1, budget=None, expected=True))
    state = ConsoleState(run=run)
    state.set_resources(
        Resources(cpu_percent=1.0, memory_mb=6000.0, memory_used_mb=100.0, worker_rss_mb=3000.0)
    )
    (gauge, *_) = panels.gauges(state)
    assert (gauge.value, gauge.peak, gauge.expected) == (3000.0, 3000.0, 2500.0)
    first, marks = texts(panels.machine_rows(state, 44, 20))[:2]
    assert first.index(EXPECTED) < first.index(PEAK)
    assert marks == "╂ peak 2.9 GB  ┊ expected 2.4 GB"


def test_on_a_gpu_with_memory_of_its_own_the_budget_is_that_of_the_gpu(story):
    events = story(full=0, share=0.1, device="cuda", budget=9000.0, expected=True)
    run = folded(events)
    assert isinstance(run.last, Metric)
    run.apply(msgspec.structs.replace(run.last, seq=run.seq + 1, device_mb=1500.0, peak_device_mb=1800.0))
    state = ConsoleState(run=run)
    state.set_resources(
        Resources(
            cpu_percent=1.0,
            memory_mb=6000.0,
            memory_used_mb=100.0,
            worker_rss_mb=3000.0,
            accelerators=[Accelerator(kind="cuda", name="V100", memory_mb=32_000.0, memory_used_mb=2000.0)],
        )
    )
    found = {gauge.label: gauge for gauge in panels.gauges(state)}
    on_gpu, process = found["on GPU"], found["worker"]
    assert (on_gpu.value, on_gpu.peak, on_gpu.budget, on_gpu.expected) == (1500.0, 1800.0, 9000.0, 2500.0)
    assert (process.value, process.budget, process.peak) == (3000.0, None, None)
