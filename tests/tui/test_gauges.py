"""Gauges: bars with marks, figures beside them, warnings by sign as well as by colour."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_tui import figures
from logbert_tui.widgets.gauge import BUDGET, FULL, HALF, PEAK, REST, Gauge, bar, gauge_row


def text(row):
    return "".join(part for part, _ in row)


@given(st.floats(-1, 200), st.floats(0.1, 100), st.integers(1, 60))
def test_a_bar_has_its_width_whatever_the_value(value, limit, width):
    assert len(text(bar(value, limit, width))) == width


def test_a_bar_is_filled_to_half_a_cell():
    assert text(bar(1, 4, 10)) == FULL * 2 + HALF + REST * 7
    assert text(bar(0, 4, 4)) == REST * 4
    assert text(bar(9, 4, 4)) == FULL * 4


def test_an_unknown_value_is_an_empty_bar():
    assert text(bar(None, 4, 5)) == REST * 5


@given(st.integers(16, 90))
def test_a_gauge_fills_its_line_exactly(width):
    row = gauge_row(Gauge("worker", 3.0, 8.0, "3.0 GB", peak=4.0, budget=7.0), width)
    assert len(text(row)) == width


def test_peak_and_budget_stand_on_the_bar():
    row = text(gauge_row(Gauge("worker", 3.0, 10.0, "3.0 GB", peak=5.0, budget=8.0), 50))
    assert row.index(PEAK) < row.index(BUDGET)
    assert row.index(FULL) < row.index(PEAK)


@pytest.mark.parametrize(
    ("gauge", "style"),
    [
        (Gauge("host", 50, 100, "50"), "accent"),
        (Gauge("host", 85, 100, "85"), "warn"),
        (Gauge("host", 97, 100, "97"), "bad"),
        (Gauge("worker", 9, 10, "9", budget=8), "bad"),
        (Gauge("worker", 9, 10, "9", budget=9.5), "accent"),
        (Gauge("CPU", 100, 100, "100%", full_is_well=True), "accent"),
        (Gauge("host", None, None, "–"), "dim"),
    ],
)
def test_fullness_warns_by_sign_as_well_as_by_colour(gauge, style):
    assert gauge.level() == style
    assert ("▲" in text(gauge_row(gauge, 40))) == (style in ("warn", "bad"))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (figures.count(1234), "1,234"),
        (figures.count(None), "–"),
        (figures.short(950), "950"),
        (figures.short(999.7), "1 k"),
        (figures.short(12345), "12.3 k"),
        (figures.short(2_464_136), "2.46 M"),
        (figures.short(109_482_240), "109 M"),
        (figures.rate(12345), "12.3 k/s"),
        (figures.megabytes(512), "512 MB"),
        (figures.megabytes(8000), "7.8 GB"),
        (figures.megabytes(143_771), "140 GB"),
        (figures.size(120_500), "118 KB"),
        (figures.size(12), "12 B"),
        (figures.percent(0.1), "10%"),
        (figures.percent(0.005), "0.5%"),
        (figures.percent(0.29), "29%"),
        (figures.loss(0.12345), "0.1235"),
        (figures.loss(None), "–"),
        (figures.duration(42), "42 s"),
        (figures.duration(187), "3 m 07 s"),
        (figures.duration(3900), "1 h 05 m"),
        (figures.duration(187_200), "2 d 04 h"),
        (figures.duration(59.7), "1 m 00 s"),
        (figures.ago(100, 130), "just now"),
        (figures.moment(0, 30 * 86400)[:10] in ("1969-12-31", "1970-01-01"), True),
        (len(figures.moment(86400, 86401)), 5),
        (figures.ago(0, 7300), "2 h ago"),
        (figures.home_path("/home/ana/x", "/home/ana"), "~/x"),
        (figures.home_path("/home/anastasia/x", "/home/ana"), "/home/anastasia/x"),
        (figures.keep_end("/a/long/path", 6), "…/path"),
        (figures.keep_start("a sentence", 5), "a se…"),
    ],
)
def test_figures_are_written_the_same_everywhere(written, expected):
    assert written == expected
