"""Figures of an expectation, and what a run was laid beside them."""

from __future__ import annotations

import pytest

from logbert_engine.protocol.expectation import Figure, beside, highest, peak_mb, together


def figure(value, origin="measured"):
    return Figure(value=value, low=value / 2, high=value * 2, origin=origin)


def test_a_sum_is_as_sure_as_the_least_sure_of_its_parts():
    found = together([figure(2.0), figure(3.0, "calibrated")])
    assert (found.value, found.low, found.high, found.origin) == (5.0, 2.5, 10.0, "calibrated")
    assert together([]) is None
    assert highest([figure(2.0), figure(3.0)]) == figure(3.0)
    assert highest([]) is None


@pytest.mark.parametrize(
    ("estimated", "actual", "off"),
    [(figure(20.0), 25.0, 1.25), (None, 25.0, None), (figure(20.0), None, None), (figure(0.0), 1.0, None)],
)
def test_how_far_off_an_estimate_was_is_said_where_both_are_known(estimated, actual, off):
    assert beside("2–4 h", estimated, actual).off == off


@pytest.mark.parametrize(
    ("device", "on_device", "counts"), [("cpu", None, 500.0), ("cuda", 80.0, 80.0), ("mps", 80.0, 500.0)]
)
def test_the_memory_that_counts_is_the_gpus_own_where_it_has_some(device, on_device, counts):
    assert peak_mb(device, 500.0, on_device) == counts
