"""Evidence that a session is odd: how far out it lies among ordinary sessions, by one statistic after another.

Each statistic of a session becomes a conformal p-value, the share of held-out ordinary sessions that lie as far
out, ``(1 + #{ordinary >= s}) / (n + 1)``; each rule has the share of ordinary sessions that it alarms on. A session's
evidence is the lowest of them; where that lies among the ordinary sessions' own gives the p-value that
alarms go by. So several statistics cost no more false alarms than one, however they depend on one another.

Sources: Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, 2005 (conformal p-values); Westfall and
Young: Resampling-Based Multiple Testing, 1993 (single-step min-p), which unlike Bonferroni's bound is exact but
for a step of each further statistic (``_slack``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from logbert_engine.detection.rules import Findings, Rate
from logbert_engine.models.checkpoint import Calibration
from logbert_engine.models.surprisal import Surprisals
from logbert_engine.presets.types import View

KEPT = 10_000
"""Most values kept of a statistic: a sample at even steps, the highest always among them."""
_TAIL = 0.1
"""Share of the ordinary sessions that the fall beyond the highest of them is read from."""
_MORE_UNSEEN = 0.1
"""Each further unseen event makes a session ten times as odd; it orders the list, alarms do not depend on it."""


STATISTICS = {"order.mean": "order", "bag.mean": "bag", "bag.highest": "bag"}
"""Numbers for each session, the higher the odder, to the component that they are evidence of."""
FIRING = ("unseen", "counts", "length")
"""Rules that are evidence of their own; neighbours are what the order view sees better."""


def statistics_of(found: Mapping[View, Surprisals]) -> dict[str, NDArray[np.float64]]:
    """The statistics of some sequences.

    Args:
        found: view to the surprisals of the same sequences.

    Returns:
        Name to [U] values, nats.
    """
    values: dict[str, NDArray[np.float64]] = {}
    for view, surprisals in found.items():
        if view == "bag":
            values["bag.mean"] = surprisals.means()
            values["bag.highest"] = np.maximum.reduceat(surprisals.values, surprisals.offsets[:-1]).astype(
                np.float64
            )
        else:
            values["order.mean"] = surprisals.means()
    return values


def sample_of(values: NDArray[np.float64], counts: NDArray[np.int64]) -> list[float]:
    """Sorted values that occur ``counts`` times each; of more than ``KEPT`` a sample at even steps, with the ends."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(counts[order])
    sessions = int(reached[-1])
    kept = min(sessions, KEPT)
    ranks = -(-np.arange(1, kept + 1) * sessions // kept)  # rounded up, in whole numbers
    return [float(value) for value in values[order][np.searchsorted(reached, ranks)]]


def p_values(ordinary: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Conformal p-values, and beyond the highest ordinary value an exponential fall that keeps the order.

    Args:
        ordinary: [n] sorted.
        values: [U].

    Returns:
        [U] in (0, 1]; at most 1 / (n + 1) only beyond the highest ordinary value.
    """
    n = len(ordinary)
    p = (1 + n - np.searchsorted(ordinary, values, side="left")) / (n + 1)
    far = max(1, round(n * _TAIL))
    scale = max(float((ordinary[n - far :] - ordinary[n - far]).mean()), 1e-6)
    beyond = np.exp(-np.maximum(values - ordinary[-1], 0.0) / scale) / (n + 1)
    found: NDArray[np.float64] = np.where(values > ordinary[-1], np.maximum(beyond, 1e-300), p)
    return found


@dataclass(frozen=True)
class Evidence:
    """Of U sequences."""

    p: dict[str, NDArray[np.float64]]
    """Statistic or rule to p-values; 1 where a rule does not fire."""
    lowest: NDArray[np.float64]
    """[U] the lowest p-value: what sessions are ranked by."""
    which: list[str]
    """[U] the component that it comes from."""


def evidence_of(
    statistics: Mapping[str, NDArray[np.float64]],
    findings: Findings,
    samples: Mapping[str, list[float]],
    rates: Mapping[str, Rate],
) -> Evidence:
    """Weigh the statistics and rules of some sequences.

    Args:
        statistics: name to [U] values.
        findings: of the rules.
        samples: name to the sorted values of ordinary sessions.
        rates: rule to how often it alarms on ordinary sessions.
    """
    p: dict[str, NDArray[np.float64]] = {}
    components: list[str] = []
    for name, component in STATISTICS.items():
        if name in statistics and name in samples:
            p[name] = p_values(np.array(samples[name]), statistics[name])
            components.append(component)
    for rule in FIRING:
        if rule in rates:
            fired = np.where(findings.fires(rule), rates[rule].upper, 1.0)
            if rule == "unseen":
                fired = fired * _MORE_UNSEEN ** np.maximum(findings.unseen - 1, 0)
            p[rule] = np.maximum(fired, 1e-300)
            components.append(rule)
    values = np.stack(list(p.values()))
    return Evidence(
        p=p, lowest=values.min(axis=0), which=[components[i] for i in values.argmin(axis=0).tolist()]
    )


def final_p(ordinary: NDArray[np.float64], lowest: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of ordinary sessions whose evidence is as strong: (1 + #{ordinary <= e}) / (n + 1).

    Args:
        ordinary: [n] sorted evidence of ordinary sessions.
        lowest: [U] evidence.
    """
    found: NDArray[np.float64] = (1 + np.searchsorted(ordinary, lowest, side="right")) / (len(ordinary) + 1)
    return found


def alarm_rate(calibration: Calibration, budget: float) -> float:
    """The highest p-value that alarms within a budget.

    Alarms come in steps of the resolution; a budget below it alarms on what lies further out than every held-out
    session.
    """
    n = len(calibration.evidence)
    return max(1, math.floor(budget * (n + 1) + 1e-9) - _slack(calibration)) / (n + 1)


def alarming_share(calibration: Calibration, rate: float) -> float:
    """The most of ordinary sessions that alarm up to a p-value: (1 + slack + #{ordinary: p <= rate}) / (n + 1)."""
    ordinary = np.array(calibration.evidence)
    alarms = int((final_p(ordinary, ordinary) <= rate).sum())
    return min(1.0, (1 + _slack(calibration) + alarms) / (len(ordinary) + 1))


def _slack(calibration: Calibration) -> int:
    """Steps by which final p-values can be too low: one for each statistic but the first.

    A session is weighed with the held-out ones, and they without it. Were it among them, then in each further
    statistic one more of them could lie as far out as it does.
    """
    return max(0, len(calibration.statistics) - 1)
