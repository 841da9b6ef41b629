from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from logbert_engine.detection.calibration import (
    KEPT_SCORES,
    SMALLEST_DEVIATION,
    SMALLEST_SURPRISAL,
    anomaly_scores,
    calibrate,
    false_alarm_rate,
    threshold_for,
    weighted_quantile,
)
from logbert_engine.models.checkpoint import Calibration

HIGHEST = {"order": 1.0}
Weighted = tuple[NDArray[np.float64], NDArray[np.int64]]


def weighted(pairs: list[tuple[float, int]]) -> Weighted:
    return np.array([value for value, _ in pairs]), np.array([count for _, count in pairs], dtype=np.int64)


SURPRISALS = st.lists(st.tuples(st.floats(1e-4, 20.0), st.integers(1, 40)), min_size=1, max_size=30).map(
    weighted
)
SHARES = st.floats(0.0, 1.0)


@given(SURPRISALS, st.lists(SHARES, min_size=1, max_size=5))
def test_a_weighted_quantile_is_that_of_the_values_written_out(found: Weighted, shares: list[float]) -> None:
    values, counts = found
    expected = np.quantile(np.repeat(values, counts), shares, method="inverted_cdf")
    sums = np.array(shares) * counts.sum()
    settled = np.abs(sums - np.round(sums)) > 1e-9  # numpy rounds the product of share and count otherwise
    assert (weighted_quantile(values, counts, np.array(shares)) == expected)[settled].all()


@given(SURPRISALS)
def test_median_and_deviation_are_those_of_the_sessions_written_out(found: Weighted) -> None:
    surprisal, counts = found
    logs = np.log(np.repeat(surprisal, counts))
    median = np.quantile(logs, 0.5, method="inverted_cdf")
    mad = np.quantile(np.abs(logs - median), 0.5, method="inverted_cdf")
    calibration = calibrate(surprisal, counts, HIGHEST)
    assert calibration.median == pytest.approx(median, abs=1e-12)
    if 1.4826 * mad >= SMALLEST_DEVIATION:
        assert calibration.deviation == pytest.approx(1.4826 * mad, rel=1e-12)
    else:
        mean = 1.2533 * np.abs(logs - median).mean()
        assert calibration.deviation == pytest.approx(max(mean, SMALLEST_DEVIATION), rel=1e-9)
    assert calibration.sessions == counts.sum()


def test_the_deviation_of_normal_logs_is_their_standard_deviation() -> None:
    rng = np.random.default_rng(1)
    surprisal = np.exp(rng.normal(-2.0, 0.5, 40_000))
    calibration = calibrate(surprisal, np.ones(40_000, dtype=np.int64), HIGHEST)
    assert calibration.median == pytest.approx(-2.0, abs=0.02)
    assert calibration.deviation == pytest.approx(0.5, rel=0.02)


def test_where_most_sessions_are_alike_the_mean_deviation_stands_in() -> None:
    surprisal, counts = np.array([0.5, 1.0, 4.0]), np.array([900, 60, 40])
    calibration = calibrate(surprisal, counts, HIGHEST)
    expected = 1.2533 * (60 * np.log(2.0) + 40 * np.log(8.0)) / 1000
    assert calibration.deviation == pytest.approx(expected)


def test_sessions_that_are_all_alike_give_finite_scores() -> None:
    calibration = calibrate(np.array([0.5]), np.array([1000]), HIGHEST)
    assert calibration.deviation == SMALLEST_DEVIATION
    assert calibration.scores == [0.0] * 1000
    assert np.isfinite(anomaly_scores(calibration, np.array([0.0, 0.5, 100.0]))).all()


def test_a_session_known_by_heart_has_a_finite_score() -> None:
    calibration = calibrate(np.array([0.0, 1e-9, 0.5]), np.array([1, 1, 1]), HIGHEST)
    assert calibration.median == pytest.approx(np.log(SMALLEST_SURPRISAL))


@given(SURPRISALS)
def test_the_median_held_out_session_scores_zero_and_higher_surprisal_scores_higher(found: Weighted) -> None:
    calibration = calibrate(*found, HIGHEST)
    assert anomaly_scores(calibration, np.exp(np.array([calibration.median])))[0] == pytest.approx(
        0, abs=1e-9
    )
    rising = anomaly_scores(calibration, np.linspace(0.001, 20.0, 50))
    assert (np.diff(rising) > 0).all()


@given(SURPRISALS)
def test_kept_scores_are_those_of_the_sessions_themselves(found: Weighted) -> None:
    surprisal, counts = found
    calibration = calibrate(surprisal, counts, HIGHEST)
    own = np.sort(np.repeat(anomaly_scores(calibration, surprisal), counts))
    np.testing.assert_allclose(calibration.scores, own, rtol=1e-9, atol=1.01e-4)
    assert calibration.scores == sorted(calibration.scores)


def test_of_many_sessions_a_sample_of_evenly_spaced_scores_is_kept() -> None:
    surprisal = np.exp(np.random.default_rng(3).normal(size=400))
    calibration = calibrate(surprisal, np.full(400, 500), HIGHEST)
    assert len(calibration.scores) == KEPT_SCORES
    assert calibration.sessions == 200_000
    own = anomaly_scores(calibration, surprisal)
    for threshold in (-1.0, 0.0, 1.0, 2.0):
        assert false_alarm_rate(calibration, threshold) == pytest.approx((own > threshold).mean(), abs=2e-4)


@given(SURPRISALS, SHARES)
def test_the_threshold_of_a_budget_alarms_on_no_larger_share_of_the_held_out_sessions(
    found: Weighted, budget: float
) -> None:
    surprisal, counts = found
    calibration = calibrate(surprisal, counts, HIGHEST)
    alarms = anomaly_scores(calibration, surprisal) > threshold_for(calibration, budget)
    assert counts[alarms].sum() <= budget * counts.sum() + 1e-9


@given(SURPRISALS, SHARES)
def test_no_lower_held_out_score_would_keep_the_budget(found: Weighted, budget: float) -> None:
    calibration = calibrate(*found, HIGHEST)
    scores = np.array(calibration.scores)
    lower = scores[scores < threshold_for(calibration, budget)]
    if len(lower):
        assert false_alarm_rate(calibration, float(lower.max())) > budget


@given(SURPRISALS, SHARES, SHARES)
def test_a_larger_budget_never_raises_the_threshold(found: Weighted, one: float, other: float) -> None:
    calibration = calibrate(*found, HIGHEST)
    assert threshold_for(calibration, max(one, other)) <= threshold_for(calibration, min(one, other))


@given(SURPRISALS, st.floats(-50, 50), st.floats(-50, 50))
def test_the_false_alarm_rate_falls_with_the_threshold_and_is_never_zero(
    found: Weighted, one: float, other: float
) -> None:
    calibration = calibrate(*found, HIGHEST)
    rates = [false_alarm_rate(calibration, t) for t in sorted((one, other))]
    assert 0 < rates[1] <= rates[0] <= 1


@given(SURPRISALS, SHARES)
def test_threshold_and_false_alarm_rate_agree(found: Weighted, budget: float) -> None:
    calibration = calibrate(*found, HIGHEST)
    n = len(calibration.scores)
    rate = false_alarm_rate(calibration, threshold_for(calibration, budget))
    assert rate <= max(budget, 1 / (n + 1)) + 1e-9


def test_the_false_alarm_rate_counts_scores_above_and_one_more() -> None:
    calibration = Calibration(median=0, deviation=1, sessions=4, highest={}, scores=[-1.0, 0.0, 2.0, 2.0])
    assert false_alarm_rate(calibration, 2.0) == 1 / 5
    assert false_alarm_rate(calibration, 1.999) == 3 / 5
    assert false_alarm_rate(calibration, -9.0) == 1.0
    assert threshold_for(calibration, 0.0) == threshold_for(calibration, 0.5) == 2.0
    assert threshold_for(calibration, 0.6) == 0.0
    assert threshold_for(calibration, 0.8) == -1.0
