"""Measures of a detector on labelled sessions, weighted; what is undefined is None."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, matthews_corrcoef, roc_auc_score

from logbert_engine.evaluation.cells import Cells, cells_of
from logbert_engine.evaluation.detections import Detector, Sample

DAY = 86_400.0
"""Seconds."""
MOST_UNTIMED = 0.1
"""Share of sessions without a time beyond which alarms per day are not told."""

T = TypeVar("T", int, float)


class Confusion(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Sessions by alarm and label."""

    tp: T
    """Anomalies with an alarm."""
    fp: T
    """Normals with an alarm."""
    fn: T
    """Anomalies without one."""
    tn: T
    """Normals without one."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """How a detector does on a sample. All but ``sessions``, ``anomalies`` and ``raw`` are weighted."""

    sessions: int
    anomalies: int
    raw: Confusion[int]
    """Sessions as they were counted."""
    weighted: Confusion[float]
    """Sessions of the natural stream that they stand for."""
    precision: float | None
    """None without an alarm."""
    recall: float | None
    """None without an anomaly."""
    f1: float | None
    """2 tp / (2 tp + fp + fn); None without an anomaly."""
    accuracy: float | None
    mcc: float | None
    """Matthews correlation; None where all or no sessions alarm, or are anomalies."""
    average_precision: float | None
    """None without an anomaly."""
    auroc: float | None
    """None without an anomaly or without a normal."""
    false_alarm_rate: float | None
    """Share of normals that alarm; None without a normal."""
    alarms_per_day: float | None
    """Over the span of the sessions' times; None where too many have none."""
    precision_at_20: float | None
    """Of the 20 highest scores; equal scores in an order by chance, in expectation. None with fewer sessions."""
    precision_at_100: float | None
    oracle_f1: float | None
    """Optimistic: the best F1 of any threshold, chosen by the labels themselves. Never the detector's own F1."""


def ratio(part: float, whole: float) -> float | None:
    """A share, or None where there is nothing to share."""
    return part / whole if whole > 0 else None


def confusion(cells: Cells, mass: NDArray[np.float64] | NDArray[np.int64]) -> list[float]:
    """tp, fp, fn and tn of what each cell holds."""
    return [
        mass[(cells.label == label) & (cells.alarm == alarm)].sum().item()
        for label, alarm in ((True, True), (False, True), (True, False), (False, False))
    ]


def precision_at(k: int, anomalous: NDArray[np.float64], normal: NDArray[np.float64]) -> float | None:
    """Expected share of anomalies among the k sessions of highest score, equal scores ordered by chance.

    Args:
        k: sessions of the natural stream.
        anomalous: [G] weight of the anomalies of each rank, the highest scores first.
        normal: [G] of the normals.
    """
    reached = np.cumsum(anomalous + normal)
    if not len(reached) or reached[-1] < k * (1 - 1e-12):
        return None
    last = min(int(np.searchsorted(reached, k)), len(reached) - 1)
    whole = anomalous[last] + normal[last]
    left = k - (reached[last] - whole)
    return float((anomalous[:last].sum() + anomalous[last] * min(1.0, left / whole)) / k)


def best_f1(anomalous: NDArray[np.float64], normal: NDArray[np.float64]) -> float | None:
    """The highest F1 of any threshold: optimistic, for it is chosen by the labels."""
    total = anomalous.sum()
    if not total > 0:
        return None
    hit, false = np.cumsum(anomalous), np.cumsum(normal)
    return float((2 * hit / (hit + false + total)).max())


def alarms_per_day(sample: Sample, detector: Detector) -> float | None:
    """Weight of the alarms a day, over the time from the first session to the last.

    Sessions without a time are left out; None where they are more than ``MOST_UNTIMED``, or all are at one time.
    """
    timed = np.isfinite(sample.time)
    if not timed.any() or timed.mean() < 1 - MOST_UNTIMED:
        return None
    span = float(np.ptp(sample.time[timed])) / DAY
    return ratio(float(sample.weight[timed & detector.alarm].sum()), span)


def evaluate_on(sample: Sample, detector: Detector) -> Figures:
    """All measures of a detector on a sample.

    Args:
        sample: S labelled sessions.
        detector: its scores and alarms on them.

    Raises:
        EvaluationError: the detector speaks of other sessions.

    Source: Saito and Rehmsmeier, The precision-recall plot is more informative than the ROC plot when
    evaluating binary classifiers on imbalanced datasets, PLoS ONE 2015 (why average precision stands first);
    McSherry and Najork, Computing information retrieval performance measures efficiently in the presence of
    tied scores, ECIR 2008 (precision at k).
    """
    cells = cells_of(sample, detector)
    mass = cells.mass
    counted = [int(value) for value in confusion(cells, cells.count)]
    tp, fp, fn, tn = confusion(cells, mass)
    anomalous, normal = cells.by_rank()
    anomalies, normals = tp + fn > 0, fp + tn > 0
    return Figures(
        sessions=len(sample),
        anomalies=counted[0] + counted[2],
        raw=Confusion(tp=counted[0], fp=counted[1], fn=counted[2], tn=counted[3]),
        weighted=Confusion(tp=tp, fp=fp, fn=fn, tn=tn),
        precision=ratio(tp, tp + fp),
        recall=ratio(tp, tp + fn),
        f1=ratio(2 * tp, 2 * tp + fp + fn) if anomalies else None,
        accuracy=ratio(tp + tn, tp + fp + fn + tn),
        mcc=float(matthews_corrcoef(cells.label, cells.alarm, sample_weight=mass))
        if anomalies and normals and tp + fp > 0 and fn + tn > 0
        else None,
        average_precision=float(average_precision_score(cells.label, -cells.rank, sample_weight=mass))
        if anomalies
        else None,
        auroc=float(roc_auc_score(cells.label, -cells.rank, sample_weight=mass))
        if anomalies and normals
        else None,
        false_alarm_rate=ratio(fp, fp + tn),
        alarms_per_day=alarms_per_day(sample, detector),
        precision_at_20=precision_at(20, anomalous, normal),
        precision_at_100=precision_at(100, anomalous, normal),
        oracle_f1=best_f1(anomalous, normal),
    )
