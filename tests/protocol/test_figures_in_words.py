"""Figures in words, which the command line and the console share."""

from __future__ import annotations

import pytest

from logbert_engine.protocol import figures_in_words as words
from logbert_engine.protocol.estimates import Elsewhere, Figure
from logbert_tui import figures


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0012, "1.2 ms"),
        (0.04, "40 ms"),
        (4.6, "4.6 s"),
        (119.0, "119 s"),
        (2100.0, "35 min"),
        (18720.0, "5.2 h"),
        (1036800.0, "12 days"),
    ],
)
def test_a_time_has_the_unit_that_people_would_use(value, text):
    assert words.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(512.4, "512 MB"), (999.6, "1.0 GB"), (8000.0, "7.8 GB"), (431105.0, "421 GB")]
)
def test_a_size_reads_the_same_in_the_console(value, text):
    assert words.megabytes(value) == figures.megabytes(value) == text


def test_a_time_that_is_known_has_its_range_and_origin():
    figure = Figure(value=18720.0, low=11160.0, high=31680.0, origin="calibrated")
    assert words.time(figure) == "5.2 h (3.1 h–8.8 h), calibrated"
    assert words.time(None) == words.NONE == figures.NONE


def test_money_has_cents_where_it_is_little():
    assert (words.dollars(3.5), words.dollars(412.3)) == ("$3.50", "$412")
    assert words.cost(Figure(value=3.5, low=2.0, high=31.0, origin="computed")) == "$3.50 ($2.00–$31.00)"


def test_a_machine_elsewhere_is_told_by_what_is_known_of_it():
    rate = Figure(value=56.34, low=31.3, high=101.4, origin="computed")
    there = Elsewhere(machine="a V100", steps_per_s=rate, price="$3.06/h")
    assert words.there_in_words(there) == [("rate", "56.3 (31.3–101) steps/s"), ("cost", "$3.06/h")]
    cost = Figure(value=30.0, low=20.0, high=60.0, origin="computed")
    assert words.there_in_words(Elsewhere(machine="a V100", cost=cost)) == [("cost", "$30 ($20–$60)")]
