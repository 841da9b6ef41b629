"""Sessions drawn like the ordinary ones, calibrated on and weighed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from logbert_engine.detection.calibration import calibrate
from logbert_engine.detection.evidence import STATISTICS, Evidence, Limit, evidence_of
from logbert_engine.detection.rules import Findings, Rate
from logbert_engine.models.checkpoint import Calibration

Values = NDArray[np.float64]
Statistics = dict[str, Values]
NAMES = list(STATISTICS)


def findings(sessions: int, **found: Values) -> Findings:
    """What rules find; nothing where it is not given."""
    return Findings(
        unseen=found.get("unseen", np.zeros(sessions)).astype(np.int64),
        counts=found.get("counts", np.zeros(sessions)).astype(np.bool_),
        pairs=np.zeros(sessions, dtype=np.int64),
        length=found.get("length", np.zeros(sessions)).astype(np.bool_),
    )


def calibrated(
    statistics: Statistics, found: Findings | None = None, rates: Mapping[str, Rate] | None = None
) -> Calibration:
    sessions = len(next(iter(statistics.values())))
    nothing = findings(sessions)
    means, once = np.ones(sessions), np.ones(sessions, dtype=np.int64)
    return calibrate(means, once, {}, statistics, found or nothing, rates or {})


def weigh(calibration: Calibration, statistics: Statistics, found: Findings | None = None) -> Evidence:
    sessions = len(next(iter(statistics.values())))
    rates = {rule: Rate(*counts) for rule, counts in calibration.rules.items()}
    return evidence_of(statistics, found or findings(sessions), calibration.statistics, rates)


def alarming(
    calibration: Calibration, limit: Limit, statistics: Statistics, found: Findings | None = None
) -> float:
    """The share of sessions that alarms."""
    return float(limit.alarms(calibration, weigh(calibration, statistics, found)).mean())


def drawn(rng: np.random.Generator, sessions: int, names: list[str], law: str = "normal") -> Statistics:
    """Statistics of sessions that are all of one kind; they share a part, as surprisals do, or lie apart."""
    if law == "apart":
        return {name: np.maximum(rng.standard_normal(sessions) - 1.6, 0.0) for name in names}
    common = rng.standard_normal(sessions)
    found = {name: 0.7 * common + 0.7 * rng.standard_normal(sessions) for name in names}
    if law == "heavy":
        return {name: np.exp(2 * values) for name, values in found.items()}
    if law == "coarse":
        return {name: np.round(values * 2) for name, values in found.items()}
    if law == "seldom":  # as distances, which most sessions have none of
        return {name: np.maximum(values - 1.5, 0.0) for name, values in found.items()}
    return found


RATES = {"unseen": Rate(3, 5000), "counts": Rate(40, 5000), "length": Rate(4, 5000)}
"""Rules that ordinary sessions set off too: two of them hardly ever."""


def fired(rng: np.random.Generator, sessions: int, rates: Mapping[str, Rate]) -> Findings:
    """What rules find in ordinary sessions; without rates, nothing."""
    share = {rule: rate.alarms / rate.sessions for rule, rate in rates.items()}
    return findings(sessions, **{rule: rng.random(sessions) < share[rule] for rule in share})
