from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk

from logbert_engine.evaluation.detections import Detector, Sample, sample_of
from logbert_engine.evaluation.metrics import Figures, evaluate_on
from logbert_engine.protocol.errors import EvaluationError

SHARES = (
    "precision",
    "recall",
    "f1",
    "accuracy",
    "mcc",
    "average_precision",
    "auroc",
    "false_alarm_rate",
    "alarms_per_day",
    "precision_at_20",
    "precision_at_100",
    "oracle_f1",
)
Session = tuple[int, int, bool, int]
SESSIONS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 1), st.booleans(), st.integers(1, 9)), min_size=1, max_size=60
)


def sample_from(
    label: list[int] | NDArray[np.int8], weight: list[float] | None = None, time: list[float] | None = None
) -> Sample:
    return sample_of(
        np.array(label, dtype=np.int8),
        np.arange(len(label)),
        weight=None if weight is None else np.array(weight, dtype=np.float64),
        time=None if time is None else np.array(time, dtype=np.float64),
    )


def detector(score: list[float] | NDArray[np.float64], alarm: list[bool] | NDArray[np.bool_]) -> Detector:
    return Detector("model", "model", np.array(score, dtype=np.float64), np.array(alarm, dtype=np.bool_))


def figures(sessions: list[Session], repeated: bool) -> Figures:
    rows = [row for row in sessions for _ in range(row[3] if repeated else 1)]
    sample = sample_from(
        [row[1] for row in rows],
        [1.0 if repeated else float(row[3]) for row in rows],
        [86_400.0 * row[0] for row in rows],
    )
    return evaluate_on(sample, detector([float(row[0]) for row in rows], [row[2] for row in rows]))


def test_the_figures_of_six_sessions_are_those_by_hand() -> None:
    sample = sample_from([1, 0, 1, 0, 0, 1], time=[0, 0, 86_400, 0, 0, 43_200])
    found = evaluate_on(sample, detector([9, 8, 7, 6, 5, math.inf], [True, True, False, False, False, True]))
    assert (found.raw.tp, found.raw.fp, found.raw.fn, found.raw.tn) == (2, 1, 1, 2)
    assert found.precision == found.recall == found.f1 == found.accuracy == pytest.approx(2 / 3)
    assert found.mcc == pytest.approx((2 * 2 - 1 * 1) / 9)
    assert found.false_alarm_rate == pytest.approx(1 / 3)
    assert found.alarms_per_day == 3.0
    assert found.average_precision == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert found.auroc == pytest.approx(8 / 9)
    assert found.oracle_f1 == pytest.approx(6 / 7)  # above 6.5: three of three, one false
    assert found.precision_at_20 is None  # there are but six


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_the_figures_are_those_of_scikit_learn(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(120, 400))
    label = (rng.random(n) < 0.2).astype(np.int8)
    label[:2] = 0, 1
    score = rng.normal(size=n) + label
    score = np.round(score) if ties else score
    alarm = score + rng.normal(size=n) / 3 > 1.0
    alarm[:2] = True, False
    weight = np.where(label == 0, rng.choice([1.0, 33.6], n), 1.0)
    found = evaluate_on(sample_from(label, weight.tolist()), detector(score, alarm))
    precision, recall, _ = sk.precision_recall_curve(label, score, sample_weight=weight)
    expected = {
        "precision": sk.precision_score(label, alarm, sample_weight=weight),
        "recall": sk.recall_score(label, alarm, sample_weight=weight),
        "f1": sk.f1_score(label, alarm, sample_weight=weight),
        "accuracy": sk.accuracy_score(label, alarm, sample_weight=weight),
        "mcc": sk.matthews_corrcoef(label, alarm, sample_weight=weight),
        "average_precision": sk.average_precision_score(label, score, sample_weight=weight),
        "auroc": sk.roc_auc_score(label, score, sample_weight=weight),
        "oracle_f1": (2 * precision * recall / np.maximum(precision + recall, 1e-12)).max(),
    }
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-9), name


@given(SESSIONS)
def test_a_weight_is_so_many_repetitions(sessions: list[Session]) -> None:
    weighed, repeated = figures(sessions, repeated=False), figures(sessions, repeated=True)
    for name in SHARES:
        one, other = getattr(weighed, name), getattr(repeated, name)
        assert (one is None) == (other is None), name
        assert one is None or one == pytest.approx(other, abs=1e-9), name
    assert weighed.weighted == repeated.weighted


@given(SESSIONS, st.randoms(use_true_random=False))
def test_the_order_of_the_sessions_does_not_matter(sessions: list[Session], random: object) -> None:
    shuffled = list(sessions)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert figures(sessions, repeated=True) == figures(shuffled, repeated=True)


@given(SESSIONS)
def test_no_figure_is_nan_and_shares_lie_between_their_ends(sessions: list[Session]) -> None:
    found = figures(sessions, repeated=False)
    for name in SHARES:
        value = getattr(found, name)
        assert value is None or math.isfinite(value), name
        if value is not None and name != "alarms_per_day":
            assert -1 - 1e-9 <= value <= 1 + 1e-9, name
            assert name == "mcc" or value >= 0, name
    own = found.f1
    assert (own is None) == (found.oracle_f1 is None)


def test_precision_at_k_of_equal_scores_is_what_chance_would_give() -> None:
    label = [1] * 10 + [0] * 30 + [1] * 30 + [0] * 130
    score = [2.0] * 10 + [1.0] * 60 + [0.0] * 130
    found = evaluate_on(sample_from(label), detector(score, [False] * 200))
    assert found.precision_at_20 == pytest.approx((10 + 10 * 30 / 60) / 20)
    assert found.precision_at_100 == pytest.approx(0.4)
    order = np.random.default_rng(0)
    top = [
        np.array(label)[np.lexsort((order.random(200), -np.array(score)))][:20].mean() for _ in range(4000)
    ]
    assert found.precision_at_20 == pytest.approx(float(np.mean(top)), abs=0.01)


def test_precision_at_k_counts_the_sessions_that_a_weight_stands_for() -> None:
    found = evaluate_on(
        sample_from([1, 0, 1], [5.0, 10.0, 100.0]), detector([3.0, 2.0, 1.0], [True, True, True])
    )
    assert found.precision_at_20 == pytest.approx((5 + 5) / 20)


def test_without_anomalies_recall_f1_and_the_areas_are_undefined() -> None:
    found = evaluate_on(sample_from([0] * 30), detector(list(range(30)), [True] * 3 + [False] * 27))
    for name in ("recall", "f1", "mcc", "average_precision", "auroc", "oracle_f1", "alarms_per_day"):
        assert getattr(found, name) is None, name
    assert found.precision == 0.0
    assert found.false_alarm_rate == pytest.approx(0.1)
    assert found.precision_at_20 == 0.0


def test_without_normals_the_false_alarm_rate_and_auroc_are_undefined() -> None:
    found = evaluate_on(sample_from([1] * 4), detector([1, 2, 3, 4], [True, True, False, False]))
    assert (found.false_alarm_rate, found.auroc, found.mcc) == (None, None, None)
    assert (found.precision, found.recall, found.average_precision) == (1.0, 0.5, 1.0)


def test_a_silent_detector_has_no_precision_but_an_f1_of_zero() -> None:
    found = evaluate_on(sample_from([1, 0, 0]), detector([1, 1, 1], [False] * 3))
    assert (found.precision, found.mcc) == (None, None)
    assert (found.recall, found.f1, found.false_alarm_rate) == (0.0, 0.0, 0.0)
    assert found.auroc == 0.5


def test_an_empty_slice_has_no_figures() -> None:
    found = evaluate_on(sample_from([]), detector([], []))
    assert found.sessions == 0
    assert all(getattr(found, name) is None for name in SHARES)


def test_alarms_per_day_are_told_only_where_nearly_all_times_are_known() -> None:
    day = 86_400.0
    known = [float(i) * day / 10 for i in range(20)]
    alarm = detector(list(range(20)), [True] * 20)
    assert evaluate_on(sample_from([0] * 20, time=known), alarm).alarms_per_day == pytest.approx(20 / 1.9)
    one = [math.nan, *known[1:]]
    assert evaluate_on(sample_from([0] * 20, time=one), alarm).alarms_per_day == pytest.approx(19 / 1.8)
    many = [math.nan] * 5 + known[5:]
    assert evaluate_on(sample_from([0] * 20, time=many), alarm).alarms_per_day is None
    at_once = [known[0]] * 20
    assert evaluate_on(sample_from([0] * 20, time=at_once), alarm).alarms_per_day is None


def test_what_does_not_fit_is_refused_with_a_sentence() -> None:
    with pytest.raises(EvaluationError, match="neither normal"):
        sample_from([0, -1])
    with pytest.raises(EvaluationError, match="weight"):
        sample_from([0, 1], [1.0, 0.0])
    with pytest.raises(EvaluationError, match="time tells of 1 sessions, the labels of 2"):
        sample_from([0, 1], time=[0.0])
    with pytest.raises(EvaluationError, match="no number"):
        detector([math.nan], [True])
    with pytest.raises(EvaluationError, match="scored 1 sessions, but 2"):
        evaluate_on(sample_from([0, 1]), detector([1.0], [True]))
