from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.evaluation.curves import (
    MOST_POINTS,
    decimated,
    histogram,
    precision_recall,
    roc,
    threshold_of,
    timeline,
)
from logbert_engine.evaluation.detections import Detector, Sample, sample_of
from logbert_engine.evaluation.metrics import evaluate_on


def drawn(sessions: int, seed: int = 0) -> tuple[Sample, Detector]:
    rng = np.random.default_rng(seed)
    label = (rng.random(sessions) < 0.3).astype(np.int8)
    label[:2] = 0, 1
    score = rng.normal(size=sessions) + label
    sample = sample_of(label, np.arange(sessions), normal_weight=33.6, time=1e9 + np.arange(sessions) * 600.0)
    return sample, Detector("model", "model", score, score > 1.0)


def test_curves_have_few_points_and_keep_the_areas() -> None:
    sample, detector = drawn(20_000)
    figures = evaluate_on(sample, detector)
    pr, whole = precision_recall(sample, detector), roc(sample, detector)
    assert pr is not None
    assert whole is not None
    assert len(pr[0]) <= MOST_POINTS
    assert len(whole[0]) <= MOST_POINTS
    assert (pr[0][0], pr[0][-1], whole[0][-1], whole[1][-1]) == pytest.approx((0.0, 1.0, 1.0, 1.0))
    area = float((np.diff(pr[0]) * pr[1][1:]).sum())  # steps, as drawn
    assert area == pytest.approx(figures.average_precision, abs=0.005)
    assert np.trapezoid(whole[1], whole[0]) == pytest.approx(figures.auroc, abs=0.005)


@given(st.integers(0, 10_000), st.integers(2, 40))
def test_a_roc_of_few_thresholds_still_bends_as_it_should(seed: int, sessions: int) -> None:
    sample, detector = drawn(sessions, seed)
    points = roc(sample, detector)
    assert points is not None
    x, y = points
    assert (np.diff(x) >= -1e-12).all()
    assert (np.diff(y) >= -1e-12).all()
    assert x[0] > 0
    assert len(x) > 100 or sessions > 100


def test_curves_of_one_label_are_not_drawn() -> None:
    sample, detector = drawn(50)
    normals = np.flatnonzero(sample.label == 0)
    assert precision_recall(sample.take(normals), detector.take(normals)) is None
    assert roc(sample.take(normals), detector.take(normals)) is None


def test_decimation_keeps_both_ends_and_a_spike() -> None:
    x = np.linspace(0, 1, 100_000)
    y = np.zeros(100_000)
    y[50_000] = 1.0
    kept_x, kept_y = decimated((x, y))
    assert len(kept_x) <= MOST_POINTS
    assert (kept_x[0], kept_x[-1], kept_y.max()) == (0.0, 1.0, 1.0)


def test_a_histogram_holds_all_the_weight_infinite_scores_included() -> None:
    sample, detector = drawn(1000)
    score = detector.score.copy()
    score[:3] = np.inf
    found = histogram(sample, Detector("model", "model", score, detector.alarm), 20.0)
    assert found.normal.sum() == pytest.approx(sample.weight[sample.label == 0].sum())
    assert found.anomalous.sum() == (sample.label == 1).sum()
    assert found.edges[-1] == 20.0
    alike = Detector("model", "model", np.ones(1000), detector.alarm)
    assert histogram(sample, alike, None).normal.sum() == pytest.approx(found.normal.sum())


def test_a_threshold_is_found_only_where_alarms_are_a_cut_of_the_score() -> None:
    _, detector = drawn(1000)
    threshold = threshold_of(detector)
    assert threshold is not None
    assert ((detector.score > threshold) == detector.alarm).all()
    mixed = detector.alarm.copy()
    mixed[np.argmax(detector.score)] = False
    assert threshold_of(Detector("model", "model", detector.score, mixed)) is None
    assert threshold_of(Detector("model", "model", detector.score, np.zeros(1000, dtype=np.bool_))) is None


def test_alarms_a_day_over_time_add_up() -> None:
    sample, detector = drawn(3000)
    found = timeline(sample, detector)
    assert found is not None
    assert len(found.start) <= 91
    whole = (found.true + found.false).sum() * found.width / 86_400
    assert whole == pytest.approx(sample.weight[detector.alarm].sum())
    untimed = sample_of(sample.label, sample.sequence)
    assert timeline(untimed, detector) is None
