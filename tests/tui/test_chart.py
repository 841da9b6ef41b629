"""The chart of losses: what is drawn, and how little is painted again."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.geometry import Region

from logbert_tui.widgets import braille
from logbert_tui.widgets.braille import Column, Range
from logbert_tui.widgets.chart import Chart, ChartData, Window, chart_rows


def texts(rows):
    return ["".join(text for text, _ in row) for row in rows]


def dots(line):
    return sum(bin(ord(char) - 0x2800).count("1") for char in line if "\u2800" <= char <= "\u28ff")


def test_a_spike_of_one_point_among_thousands_stays_visible():
    ys = [1.0] * 4000
    ys[1234] = 9.0
    columns = braille.gather(range(4000), ys, Range(0, 3999), 100)
    assert max(column.high for column in columns) == 9.0
    rows = chart_rows(ChartData(x=range(4000), y=ys), 80, 20)
    assert dots(texts(rows)[2]) > 0  # the second row of the plot is reached by the spike alone


@given(
    st.lists(st.one_of(st.none(), st.floats(-100, 100)), min_size=1, max_size=300),
    st.integers(2, 80),
)
def test_lowest_and_highest_values_survive_any_thinning(ys, count):
    columns = braille.gather(range(len(ys)), ys, Range(0, max(1, len(ys) - 1)), count)
    known = [y for y in ys if y is not None]
    kept = [column for column in columns if column is not None]
    assert (min((c.low for c in kept), default=None), max((c.high for c in kept), default=None)) == (
        min(known, default=None),
        max(known, default=None),
    )


@given(st.lists(st.floats(0, 1), min_size=2, max_size=60), st.integers(1, 12))
def test_a_trace_has_no_holes(ys, rows):
    columns = [Column(y, y, y, y) for y in ys]
    spans = braille.trace(columns, Range(0, 1), rows * 4)
    for before, after in itertools.pairwise(spans):
        assert before[0] - 1 <= after[1]
        assert after[0] - 1 <= before[1]


def test_columns_without_points_are_bridged_by_a_straight_line():
    columns = [Column(0, 0, 0, 0), None, None, None, Column(1, 1, 1, 1)]
    middles = [(low + high) / 2 for low, high in braille.trace(columns, Range(0, 1), 41)]
    assert middles == sorted(middles)
    assert middles[2] == pytest.approx(20, abs=1)


def test_cells_are_painted_from_the_bottom_left():
    assert braille.paint([(0, 0), None], 1) == ["\u2840"]
    assert braille.paint([None, (0, 3)], 1) == ["\u28b8"]
    assert braille.paint([None, None], 2) == [" ", " "]


def test_unknown_and_infinite_losses_are_left_out():
    data = ChartData(x=[1, 2, 3, 4], y=[1.0, None, math.inf, 0.5])
    assert dots("".join(texts(chart_rows(data, 40, 10)))) > 0


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 8))
@example(1000000.0, 999999.9999999999, 2)
def test_the_axis_holds_the_values(a, b, ticks):
    low, high = min(a, b), max(a, b)
    span, marks = braille.nice_range(low, high, ticks)
    assert span.low <= low + 1e-6 * abs(low)
    assert span.high >= high - 1e-6 * abs(high)
    assert 2 <= len(marks) <= 2 * ticks + 3


@given(st.floats(1e-6, 1e6), st.integers(0, 2**30), st.sampled_from([-1, 1]), st.integers(2, 8))
def test_the_axis_has_distinct_ticks_for_values_that_differ_by_rounding(low, ulps, sign, ticks):
    ends = sorted((sign * low, sign * (low + ulps * math.ulp(low))))
    span, marks = braille.nice_range(*ends, ticks)
    assert span.low < span.high
    assert 2 <= len(marks) <= 2 * ticks + 3
    assert len(set(marks)) == len(marks)
    assert span.low <= ends[0] + 1e-9 * low
    assert span.high >= ends[1] - 1e-9 * low


@given(st.floats(1e-4, 1e4), st.floats(1e-4, 1e4))
def test_the_logarithmic_axis_holds_the_values(a, b):
    span, _ = braille.log_ticks(min(a, b), max(a, b))
    assert span.low <= math.log10(min(a, b)) + 1e-6
    assert span.high >= math.log10(max(a, b)) - 1e-6


@given(st.floats(1, 1e7))
def test_the_abscissa_ends_at_a_round_number_not_far_beyond(value):
    assert value * (1 - 1e-9) <= braille.nice_end(value) <= value * 1.3


@given(st.integers(1, 140), st.integers(1, 50), st.integers(0, 40))
def test_a_chart_fits_any_size(width, height, points):
    data = ChartData(
        x=range(points),
        y=[1 / (1 + i) for i in range(points)],
        points_x=[points],
        points_y=[0.5],
        boundaries=[(0, "10%"), (points / 2, "20%")],
        empty="Nothing to draw yet, and a long text that says so.",
    )
    rows = chart_rows(data, width, height)
    assert len(rows) <= height
    if width >= 36:
        assert all(len(line) <= width for line in texts(rows))


def test_stage_boundaries_and_validation_points_are_marked():
    data = ChartData(
        x=range(100),
        y=[1.0 - i / 200 for i in range(100)],
        points_x=[50, 99],
        points_y=[0.6, 0.3],
        boundaries=[(0, "10%"), (50, "20%")],
    )
    lines = texts(chart_rows(data, 60, 14))
    assert sum(line.count("◆") for line in lines) == 3  # two points and the legend
    assert "10%" in lines[-1]
    assert "20%" in lines[-1]
    assert any("┊" in line for line in lines)


def test_the_empty_chart_says_why():
    assert "no step" in "".join(texts(chart_rows(ChartData(empty="no step"), 40, 9)))


def test_a_window_shows_that_part_alone():
    data = ChartData(x=[0, 10, 20, 30], y=[100.0, 1.0, 1.1, 1.2])
    lines = texts(chart_rows(data, 50, 12, window=Window(10, 30)))
    assert not any("100" in line for line in lines)


class ChartApp(App[None]):
    CSS = "Chart { width: 60; height: 16; }"

    def compose(self) -> ComposeResult:
        yield Watched()


class Watched(Chart):
    """A chart that remembers which regions it asked to repaint."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Region] = []

    def refresh(self, *regions, **options):
        self.asked.extend(regions)
        return super().refresh(*regions, **options)


async def test_only_rows_that_changed_are_painted_again():
    xs = list(range(0, 801, 10))
    ys = [4 * math.exp(-x / 150) + 0.1 for x in xs]
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        chart = app.query_one(Watched)
        chart.draw(ChartData(x=xs[:-3], y=ys[:-3]))
        await pilot.pause()
        before = chart.rows
        chart.asked.clear()
        chart.draw(ChartData(x=xs, y=ys))
        differing = {y for y, (old, new) in enumerate(zip(before, chart.rows, strict=True)) if old != new}
        assert {region.y for region in chart.asked} == differing
        assert all(region.height == 1 for region in chart.asked)
        assert 1 <= len(chart.asked) <= 3  # the flat end of the curve, not the sixteen rows of the chart
        chart.asked.clear()
        chart.draw(ChartData(x=xs, y=ys))
        assert chart.asked == []
        assert chart.rows == before or differing


async def test_every_line_has_a_style_so_that_no_color_works(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        chart = app.query_one(Watched)
        chart.draw(ChartData(x=[1, 2, 3], y=[1.0, 2.0, 3.0]))
        await pilot.pause()
        strips = [chart.render_line(y) for y in range(chart.size.height + 3)]
        assert all(segment.style is not None for strip in strips for segment in strip)
    assert app.return_code in (0, None)
