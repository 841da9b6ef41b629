"""Points of the plots, few enough to draw."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from logbert_engine.evaluation.cells import cells_of
from logbert_engine.evaluation.detections import Detector, Sample
from logbert_engine.evaluation.metrics import DAY

Points = tuple[NDArray[np.float64], NDArray[np.float64]]

MOST_POINTS = 500
SMALLEST_RATE = 1e-6
"""Where the logarithmic axis of false-alarm rates ends at the latest."""
MOST_BARS = 90


def decimated(points: Points, most: int = MOST_POINTS) -> Points:
    """At most so many of the points of a curve, evenly spaced along it, both ends kept.

    Args:
        points: x and y, both on scales from 0 to 1.
        most: points to keep.
    """
    x, y = points
    if len(x) <= most:
        return x, y
    along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    kept = np.unique(np.searchsorted(along, np.linspace(0.0, along[-1], most - 1), side="left"))
    kept = np.union1d(np.minimum(kept, len(x) - 1), [0, len(x) - 1])
    return x[kept], y[kept]


def precision_recall(sample: Sample, detector: Detector) -> Points | None:
    """Recall [N] and precision [N] of all thresholds, the highest first; None without an anomaly.

    To be drawn as steps: a straight line between two thresholds would promise too much.

    Source: Davis and Goadrich, The relationship between precision-recall and ROC curves, ICML 2006.
    """
    anomalous, normal = cells_of(sample, detector).by_rank()
    if not anomalous.sum() > 0:
        return None
    hit, false = np.cumsum(anomalous), np.cumsum(normal)
    precision = hit / (hit + false)
    return decimated((np.append(0.0, hit / hit[-1]), np.append(precision[0], precision)))


def roc(sample: Sample, detector: Detector, lowest: float | None = None) -> Points | None:
    """False-alarm rate [N] and recall [N] of all thresholds, for a logarithmic axis; None without both labels.

    Between two thresholds the curve is straight, so it bends on a logarithmic axis: points are put in between.

    Args:
        sample: S labelled sessions.
        detector: its scores on them.
        lowest: false-alarm rate where the axis begins; else ``lowest_rate`` of the detector's own.
    """
    anomalous, normal = cells_of(sample, detector).by_rank()
    if not anomalous.sum() > 0 or not normal.sum() > 0:
        return None
    recall = np.concatenate([[0.0], np.cumsum(anomalous) / anomalous.sum()])
    false = np.concatenate([[0.0], np.cumsum(normal) / normal.sum()])
    lowest = lowest_rate(false) if lowest is None else lowest
    between = np.logspace(math.log10(lowest), 0.0, MOST_POINTS // 3)
    between[0] = lowest
    between = between[~np.isin(between, false)]
    at = np.searchsorted(false, between)
    level = np.interp(between, false, recall)
    false, recall = np.insert(false, at, between), np.insert(recall, at, level)
    shown = false >= lowest
    x, y = decimated((1 - np.log(false[shown]) / math.log(lowest), recall[shown]))
    return np.exp((1 - x) * math.log(lowest)), y


def lowest_rate(rates: NDArray[np.float64]) -> float:
    """The power of ten where a logarithmic axis of these rates begins, from ``SMALLEST_RATE`` to 0.1."""
    above = rates[rates > 0]
    smallest = float(above.min()) if len(above) else 1.0
    return max(SMALLEST_RATE, min(0.1, 10.0 ** math.floor(math.log10(smallest))))


@dataclass(frozen=True)
class Histogram:
    """Weight of the sessions of each label by score, in B bins; the outer ones hold all that lies beyond."""

    edges: NDArray[np.float64]
    """[B+1]"""
    normal: NDArray[np.float64]
    """[B]"""
    anomalous: NDArray[np.float64]
    """[B]"""


def histogram(sample: Sample, detector: Detector, threshold: float | None, bins: int = 60) -> Histogram:
    """Scores of normals and anomalies in bins, from the 0.1% quantile to the 99.9% one and the threshold."""
    finite = detector.score[np.isfinite(detector.score)]
    low, high = np.quantile(finite, (0.001, 0.999)).tolist() if len(finite) else (0.0, 1.0)
    if threshold is not None and math.isfinite(threshold):
        low, high = min(low, threshold), max(high, threshold)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    inside = np.clip(detector.score, edges[0], edges[-1])
    parts = [
        np.histogram(inside[sample.label == label], edges, weights=sample.weight[sample.label == label])[0]
        for label in (0, 1)
    ]
    return Histogram(edges, parts[0].astype(np.float64), parts[1].astype(np.float64))


def threshold_of(detector: Detector) -> float | None:
    """The score between the sessions that alarm and those that do not; None where alarms are no cut of it."""
    if not detector.alarm.any() or detector.alarm.all():
        return None
    lowest, highest = (
        float(detector.score[detector.alarm].min()),
        float(detector.score[~detector.alarm].max()),
    )
    if not lowest > highest or not math.isfinite(lowest) or not math.isfinite(highest):
        return None
    return (lowest + highest) / 2


@dataclass(frozen=True)
class Timeline:
    """Weight of the alarms a day, in bars of some hours or days."""

    start: NDArray[np.float64]
    """[N] Unix seconds."""
    width: float
    """Seconds of a bar."""
    true: NDArray[np.float64]
    """[N] Alarms a day on anomalies."""
    false: NDArray[np.float64]
    """[N] Alarms a day on normals."""


_WIDTHS = (60.0, 300.0, 900.0, 3600.0, 3 * 3600.0, 6 * 3600.0, DAY, 7 * DAY, 30 * DAY, 365 * DAY)


def timeline(sample: Sample, detector: Detector) -> Timeline | None:
    """Alarms a day over the time of the sessions; None where fewer than two times are known."""
    timed = np.isfinite(sample.time)
    times = sample.time[timed]
    if len(times) < 2 or not np.ptp(times) > 0:
        return None
    spread = float(np.ptp(times))
    width = next((w for w in _WIDTHS if spread / w < MOST_BARS), max(_WIDTHS[-1], spread / MOST_BARS))
    first = math.floor(times.min() / width)
    place = np.floor(times / width).astype(np.int64) - first
    bars = int(place.max()) + 1
    alarm, label = detector.alarm[timed], sample.label[timed]
    weight = sample.weight[timed] * DAY / width
    true, false = (
        np.bincount(place[chosen], weights=weight[chosen], minlength=bars).astype(np.float64)
        for chosen in (alarm & (label == 1), alarm & (label == 0))
    )
    return Timeline((first + np.arange(bars)) * width, width, true, false)
