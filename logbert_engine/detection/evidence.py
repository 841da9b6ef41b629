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
"""Share of the ordinary sessions, those furthest out, that the tail is read from."""
_MORE_UNSEEN = 0.1
"""Each further unseen event makes a session ten times as odd; it orders the list, alarms do not depend on it."""


STATISTICS = {"order.mean": "order", "bag.mean": "bag", "bag.highest": "bag", "distance": "distance"}
"""Numbers for each session, the higher the odder, to the component that they are evidence of."""
FIRING = ("unseen", "counts", "length")
"""Rules that are evidence of their own; neighbours are what the order view sees better."""


def statistics_of(found: Mapping[View, Surprisals]) -> dict[str, NDArray[np.float64]]:
    """The statistics of some sequences.

    Args:
        found: view to the surprisals of the same sequences.

    Returns:
        Name to [U] values: nats, and the squared distance from the centre of ordinary sessions where there is one,
        the mean over the views that have it.
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
    distances = [each.distance for each in found.values() if each.distance is not None]
    if distances:
        values["distance"] = np.mean(distances, axis=0, dtype=np.float64)
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
    """Conformal p-values, and above the upper tenth of the ordinary values an exponential tail.

    Means and maxima of surprisals, negative logarithms of probabilities, fall off about exponentially; the tail
    serves to weigh statistics against one another further out than ordinary values can tell. Alarms do not rest on
    it: they go by where the evidence lies among that of the ordinary sessions.

    Args:
        ordinary: [n] sorted.
        values: [U].

    Returns:
        [U] in (0, 1].
    """
    n = len(ordinary)
    p = (1 + n - np.searchsorted(ordinary, values, side="left")) / (n + 1)
    far = max(1, round(n * _TAIL))
    start = float(ordinary[n - far])
    scale = max(float((ordinary[n - far :] - start).mean()), 1e-6)
    beyond = (far + 1) / (n + 1) * np.exp(-np.maximum(values - start, 0.0) / scale)
    found: NDArray[np.float64] = np.where(values > start, np.maximum(beyond, 1e-300), p)
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
    rates: dict[str, float]
    """Rule to the most of ordinary sessions that it alarms on."""


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
        p=p,
        lowest=values.min(axis=0),
        which=[components[i] for i in values.argmin(axis=0).tolist()],
        rates={rule: rate.upper for rule, rate in rates.items()},
    )


def final_p(ordinary: NDArray[np.float64], evidence: Evidence) -> NDArray[np.float64]:
    """The share of ordinary sessions whose evidence is as strong, (1 + #{ordinary <= e}) / (n + 1).

    Where a rule alarms that is rarer among the ordinary sessions than these can resolve, because more of them tell
    of it, the p-value is at most how rare it is.

    Args:
        ordinary: [n] sorted evidence of held-out ordinary sessions.
        evidence: of U sequences.

    Returns:
        [U].
    """
    found = _ranked(ordinary, evidence.lowest)
    for rule in FIRING:
        if evidence.rates.get(rule, 1.0) <= 1 / (len(ordinary) + 1):
            found = np.minimum(found, np.where(evidence.p[rule] < 1, evidence.rates[rule], 1.0))
    return found


def _ranked(ordinary: NDArray[np.float64], lowest: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = (1 + np.searchsorted(ordinary, lowest, side="right")) / (len(ordinary) + 1)
    return found


def alarm_rate(calibration: Calibration, budget: float) -> float:
    """The highest p-value that alarms within a budget.

    Alarms come in steps of the resolution; a budget below it alarms on what lies further out than every held-out
    session.
    """
    n = len(calibration.evidence)
    return max(1, math.floor(budget * (n + 1) + 1e-9)) / (n + 1)


def alarming_share(calibration: Calibration, rate: float) -> float:
    """The share of ordinary sessions that alarms up to a p-value.

    It is (1 + #{ordinary: p <= rate}) / (n + 1), and the share that rules which are rarer than that can resolve
    alarm on. Where none of the held-out ones does, and there are several statistics, it is one step more: each has
    its tail from these very sessions, which lie a little less far out by it than others of their kind do.
    """
    ordinary = np.array(calibration.evidence)
    alarms = int((_ranked(ordinary, ordinary) <= rate).sum())
    if not alarms and len(calibration.statistics) > 1:
        alarms = 1
    rules = (Rate(*counts) for rule, counts in calibration.rules.items() if rule in FIRING)
    fired = sum(
        rule.alarms / rule.sessions for rule in rules if rule.upper <= min(rate, 1 / (len(ordinary) + 1))
    )
    return min(1.0, (1 + alarms) / (len(ordinary) + 1) + fired)
