"""The strip of stages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.protocol.runstate import RunState
from logbert_tui.widgets.timeline import compact_duration, symbol, timeline_rows, visible


def folded(events):
    run = RunState()
    for event in events:
        run.apply(event)
    return run


def lines(rows):
    return ["".join(text for text, _ in row) for row in rows]


def test_done_running_and_planned_stages_differ_by_sign_and_by_colour(story):
    run = folded(story(full=2, share=0.5))
    signs = [symbol(stage, run.phase) for stage in run.stages[:4]]
    assert signs == [("✓", "good"), ("✓", "good"), ("▶", "accent"), ("·", "dim")]


@pytest.mark.parametrize(
    ("end", "sign"), [("paused", ("‖", "warn")), ("failed", ("✗", "bad")), ("stopped", ("■", "warn"))]
)
def test_an_interrupted_stage_shows_how_the_run_ended(story, end, sign):
    run = folded(story(end=end))
    assert symbol(run.stages[2], run.phase) == sign


@pytest.mark.parametrize("width", [60, 76, 116, 200])
def test_ten_stages_fit_side_by_side_with_loss_and_time(story, width):
    run = folded(story(full=9, share=0.5))
    rows = lines(timeline_rows(run, width, 4))
    assert len(rows) == 4
    assert all(len(row) <= width for row in rows)
    names = rows[1].replace(" ", "")
    assert "✓10%✓20%" in names
    assert names.endswith("▶100%")
    assert rows[2].startswith("0.1")
    assert rows[3].startswith("1m")


def test_the_strip_without_bars_keeps_names_losses_and_times(story):
    run = folded(story())
    assert lines(timeline_rows(run, 76, 3)) == lines(timeline_rows(run, 76, 4))[1:]


@given(st.integers(1, 400), st.integers(1, 200), st.data())
def test_the_current_stage_is_always_among_those_shown(stages, width, data):
    current = data.draw(st.integers(0, stages - 1))
    shown = visible(stages, current, width)
    assert current in shown
    assert shown.start >= 0
    assert shown.stop <= stages


def test_a_hundred_stages_show_those_around_the_current_one(story):
    run = folded(story(full=40, share=0.5, stages=100))
    names = lines(timeline_rows(run, 116, 4))[1]
    assert "▶" in names
    assert len(names) <= 116


def test_before_the_plan_is_known_the_strip_says_so():
    assert "planned" in lines(timeline_rows(RunState(), 76, 4))[0]


@pytest.mark.parametrize(
    ("seconds", "written"), [(42, "42s"), (720, "12m"), (3900, "1h05"), (187_200, "2d04")]
)
def test_durations_are_short(seconds, written):
    assert compact_duration(seconds) == written
