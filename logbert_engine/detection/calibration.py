"""From surprisal to ``anomaly_score``: a robust z on held-out sessions, which need no labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.sampling import part_of
from logbert_engine.data.store import Store
from logbert_engine.detection.evidence import (
    evidence_of,
    kept_ranks,
    places_left_out,
    sample_of,
    statistics_of,
)
from logbert_engine.detection.rules import Findings, Rate
from logbert_engine.detection.tails import misfits
from logbert_engine.models.checkpoint import Calibration
from logbert_engine.models.surprisal import Surprisals, raise_unknown
from logbert_engine.presets.types import View

SMALLEST_SURPRISAL = 1e-6
"""Nats; keeps the logarithm finite for sessions that the model knows by heart."""
SMALLEST_DEVIATION = 1e-3
KEPT_SCORES = 10_000


@dataclass(frozen=True)
class Times:
    """When some sessions were."""

    sequence: NDArray[np.int64]
    """[n] which of the distinct sequences each is."""
    part: NDArray[np.int64]
    """[n] the part of time that it lies in."""

    @classmethod
    def of(cls, store: Store, sessions: NDArray[np.int64]) -> Self:
        """Sessions of a store, their distinct sequences in ascending order."""
        _, which = np.unique(store.sequence_of[sessions], return_inverse=True)
        return cls(sequence=which.astype(np.int64), part=part_of(sessions, store.n_sessions))


def log_surprisal(mean_surprisal: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithm that scores are made from: surprisals of sessions lie skewed, their logs less so."""
    logs: NDArray[np.float64] = np.log(np.maximum(mean_surprisal, SMALLEST_SURPRISAL))
    return logs


def weighted_quantile(
    values: NDArray[np.float64], counts: NDArray[np.int64], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Quantiles of values that occur ``counts`` times each (the inverted distribution function)."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(counts[order])
    at = np.searchsorted(reached, np.maximum(1, np.ceil(shares * reached[-1])))
    found: NDArray[np.float64] = values[order][np.minimum(at, len(values) - 1)]
    return found


def calibrate(
    mean_surprisal: NDArray[np.float64],
    counts: NDArray[np.int64],
    highest: Mapping[str, float],
    statistics: Mapping[str, NDArray[np.float64]] | None = None,
    findings: Findings | None = None,
    rates: Mapping[str, Rate] | None = None,
    when: Times | None = None,
) -> Calibration:
    """Fit median and robust deviation of the log surprisal of held-out sessions, and keep how their evidence lies.

    The deviation is 1.4826 MAD; where more than half of the sessions are alike and the MAD is zero, it is
    1.2533 times the mean absolute deviation.

    Args:
        mean_surprisal: of each distinct sequence, nats.
        counts: sessions with each sequence.
        highest: view to the highest surprisal of a single event, nats.
        statistics: name to values of each distinct sequence.
        findings: of rules that have not seen these sessions.
        rates: rule to how often it alarms on ordinary sessions.
        when: the sessions were held out; None where they are independent.

    Source: Iglewicz and Hoaglin, How to Detect and Handle Outliers, ASQC 1993 (modified z-scores).
    """
    logs = log_surprisal(mean_surprisal)
    half = np.array([0.5])
    median = float(weighted_quantile(logs, counts, half)[0])
    distance = np.abs(logs - median)
    deviation = 1.4826 * float(weighted_quantile(distance, counts, half)[0])
    if deviation < SMALLEST_DEVIATION:
        deviation = 1.2533 * float(np.average(distance, weights=counts))
    deviation = max(deviation, SMALLEST_DEVIATION)
    sessions = int(counts.sum())
    kept = min(sessions, KEPT_SCORES)
    shares = (np.arange(kept) + 0.5) / kept
    scores = (weighted_quantile(logs, counts, shares) - median) / deviation
    samples = {name: sample_of(values, counts) for name, values in (statistics or {}).items()}
    evidence: list[float] = []
    left_out: list[int] = []
    parts: list[int] = []
    if statistics is not None and findings is not None:
        found = evidence_of(statistics, findings, samples, rates or {}).ordinary
        evidence = [-value for value in reversed(sample_of(-found, counts))]
        alone = evidence_of(statistics, findings, samples, rates or {}, among=True).ordinary
        places = places_left_out(np.array(evidence), found, alone)
        left_out = [int(place) for place in sample_of(places, counts)]
        if when is not None:
            oddest_first = np.argsort(places[when.sequence], kind="stable")[kept_ranks(sessions) - 1]
            parts = [int(part) for part in when.part[oddest_first]]
    return Calibration(
        median=median,
        deviation=deviation,
        sessions=sessions,
        highest=dict(highest),
        scores=[_rounded_up(float(score)) for score in scores],
        statistics=samples,
        rules={rule: (rate.alarms, rate.sessions) for rule, rate in (rates or {}).items()},
        evidence=evidence,
        left_out=left_out,
        parts=parts,
        tails=misfits(samples),
    )


def calibrate_on(
    found: Mapping[View, Surprisals],
    unknown: Mapping[View, NDArray[np.bool_]],
    counts: NDArray[np.int64],
    distances: NDArray[np.float64],
    findings: Findings,
    rates: Mapping[str, Rate],
    when: Times,
) -> tuple[float, Calibration | None]:
    """Calibrate on held-out sessions as they were scored; unknown events are raised in place.

    Args:
        found: view to the surprisals of their distinct sequences.
        unknown: view to which events the model has no row for.
        counts: sessions with each sequence.
        distances: of each sequence to the nearest ordinary bag that is not held out.
        findings: of rules that have not seen these sessions.
        rates: rule to how often it alarms on ordinary sessions.
        when: the sessions were.

    Returns:
        The mean surprisal per event (nats; over views, and each session counts, identical ones too), and the
        calibration; None where that is not finite.
    """
    losses: list[float] = []
    highest: dict[str, float] = {}
    for view, surprisals in found.items():
        highest[view] = raise_unknown(surprisals, unknown[view])
        per_event = np.repeat(counts, np.diff(surprisals.offsets))
        losses.append(float(np.average(surprisals.values.astype(np.float64), weights=per_event)))
    loss = float(np.mean(losses))
    if not math.isfinite(loss):
        return loss, None
    means = np.mean([surprisals.means() for surprisals in found.values()], axis=0)
    return loss, calibrate(means, counts, highest, statistics_of(found, distances), findings, rates, when)


def _rounded_up(score: float) -> float:
    """Up, so that the many sessions alike at a threshold stay below it."""
    return math.ceil(score * 10_000) / 10_000


def anomaly_scores(calibration: Calibration, mean_surprisal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Robust z of each session's log surprisal; 0 is the median held-out session."""
    return (log_surprisal(mean_surprisal) - calibration.median) / calibration.deviation


def false_alarm_rate(calibration: Calibration, threshold: float) -> float:
    """Share of ordinary sessions that a threshold alarms on, by the held-out ones: (1 + #{s > t}) / (n + 1)."""
    above = len(calibration.scores) - int(np.searchsorted(calibration.scores, threshold, side="right"))
    return (1 + above) / (len(calibration.scores) + 1)


def threshold_for(calibration: Calibration, budget: float) -> float:
    """The lowest threshold whose ``false_alarm_rate`` is within a budget.

    Args:
        calibration: of the model.
        budget: a share, 0 to 1. Below the resolution 1/(n + 1) no held-out session alarms, and the rate is
            that resolution.
    """
    scores = calibration.scores
    allowed = max(0, math.floor(budget * (len(scores) + 1) + 1e-9) - 1)
    return scores[len(scores) - 1 - min(allowed, len(scores) - 1)]
