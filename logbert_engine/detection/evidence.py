"""Evidence that a session is odd: how far out it lies among ordinary sessions, by one statistic after another.

Each statistic of a session becomes a conformal p-value, the share of held-out ordinary sessions that lie as far
out, ``(1 + #{ordinary >= s}) / (n + 1)``; each rule that fires has the share of ordinary sessions that it alarms on.
A session's evidence is the product of its two lowest p-values, so that what two of them tell counts for more than
what one does; where that lies among the ordinary sessions' own gives the p-value that alarms go by. So several
statistics cost no more false alarms than one, however they depend on one another. A rule that hardly ever fires on
ordinary sessions is decisive: it alarms by itself, and what it costs is taken off the budget of the others.

A session that is held out lies a little less far out by p-values that it has a part in than one to come does. How
many alarm is therefore counted by leaving each out in turn: it is judged by the p-values that the others give it.

Sources: Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, 2005 (conformal p-values); Dudbridge and
Koeleman: Rank truncated product of P-values, Genetic Epidemiology 2003; Westfall and Young: Resampling-Based Multiple
Testing, 1993 (the null distribution of such a combination by resampling); Barber, Candès, Ramdas, Tibshirani:
Predictive inference with the jackknife+, Annals of Statistics 2021 (each left out in turn).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from logbert_engine.detection.rules import Findings, Rate
from logbert_engine.evaluation.proportions import Span, effective_sessions, share_span
from logbert_engine.models.checkpoint import Calibration
from logbert_engine.models.surprisal import Surprisals
from logbert_engine.presets.types import View

DEFAULT_BUDGET = 0.001
"""Share of ordinary sessions that may alarm."""
KEPT = 10_000
"""Most values kept of a statistic: a sample at even steps, the highest always among them."""
_TAIL = 0.1
"""Share of the ordinary sessions, those furthest out, that the tail is read from."""
_INDEX = 2.0
"""Of the Pareto law that the tail follows further out than every ordinary session."""
_MORE_UNSEEN = 0.1
"""Each further unseen event makes a session ten times as odd; it orders the list, alarms do not depend on it."""
_CLOSE = 1e-5
"""Values of a statistic that are no further apart are the same: identical sessions differ in the last digits by what
they are scored with."""
_NARROWEST = 1e-4
"""The smallest scale of a tail."""
ALIKE = 0.005
"""Evidence, log10, that differs by no more is the same, for the same reason."""
_LEAST = 1e-300
"""The lowest p-value that is told."""
_BEFORE = 1e9
"""More than the evidence of any session, -log10."""


STATISTICS = {
    "order.mean": "order",
    "order.end": "end",
    "bag.rms": "bag",
    "counts.distance": "counts",
    "distance": "distance",
}
"""Numbers for each session, the higher the odder, to the component that they are evidence of."""
FIRING = ("unseen", "counts", "length")
"""Rules that are evidence of their own; neighbours are what the order view sees better."""
RARE = 0.001
"""A rule that fires on no larger share of ordinary sessions is decisive."""


def statistics_of(
    found: Mapping[View, Surprisals], distances: NDArray[np.float64] | None = None
) -> dict[str, NDArray[np.float64]]:
    """The statistics of some sequences.

    In order the mean surprisal of the events and that of the end, nats; in the bag the root mean square, as a bag is
    odd by few of its events.

    Args:
        found: view to the surprisals of the same sequences.
        distances: [U] to the nearest ordinary bag.

    Returns:
        Name to [U] values: nats, the given distances, and the squared distance from the centre of ordinary sessions
        where there is one, the mean over the views that have it.
    """
    values: dict[str, NDArray[np.float64]] = {}
    for view, surprisals in found.items():
        if view == "bag":
            values["bag.rms"] = np.sqrt(surprisals.of_squares().means())
        else:
            values["order.mean"] = surprisals.means()
            if surprisals.end is not None:
                values["order.end"] = surprisals.end.astype(np.float64)
    if distances is not None:
        values["counts.distance"] = distances
    from_centre = [each.distance for each in found.values() if each.distance is not None]
    if from_centre:
        values["distance"] = np.mean(from_centre, axis=0, dtype=np.float64)
    return values


def sample_of(values: NDArray[np.float64], counts: NDArray[np.int64]) -> list[float]:
    """Sorted values that occur ``counts`` times each; of more than ``KEPT`` a sample at even steps, with the ends."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(counts[order])
    return [float(value) for value in values[order][np.searchsorted(reached, kept_ranks(int(reached[-1])))]]


def kept_ranks(sessions: int) -> NDArray[np.int64]:
    """Which of so many are kept, counted from 1: at most ``KEPT`` at even steps, the last always."""
    kept = min(sessions, KEPT)
    found: NDArray[np.int64] = -(-np.arange(1, kept + 1) * sessions // kept)  # rounded up, in whole numbers
    return found


def p_values(
    ordinary: NDArray[np.float64], values: NDArray[np.float64], *, among: bool = False
) -> NDArray[np.float64]:
    """Conformal p-values, and above the upper tenth of the ordinary values an exponential tail.

    Means and maxima of surprisals, negative logarithms of probabilities, fall off about exponentially; the tail
    serves to weigh statistics against one another further out than ordinary values can tell. Below their resolution,
    1/(n + 1), it falls off as slowly as a Pareto law, so that a statistic that hardly varies among ordinary sessions
    does not outweigh all others once it does. Alarms do not rest on the tail: they go by where the evidence lies
    among that of the ordinary sessions.

    Args:
        ordinary: [n] sorted.
        values: [U].
        among: the values are some of the ordinary ones; each is compared with the others.

    Returns:
        [U] in (0, 1].
    """
    found: NDArray[np.float64] = np.maximum(10 ** _exponents(ordinary, values, among=among), _LEAST)
    return found


def _exponents(
    ordinary: NDArray[np.float64], values: NDArray[np.float64], *, among: bool
) -> NDArray[np.float64]:
    """[U] log10 of the p-values."""
    n = max(1, len(ordinary) - among)
    p = (1 + n - np.searchsorted(ordinary, values - _CLOSE, side="left")) / (n + 1)
    far = most_in_tail(n)
    start = float(ordinary[n - far])
    over = np.maximum(values - start, 0.0)
    beyond_start = (ordinary[n - far :] - start).sum() - (over if among else 0.0)
    scale = np.maximum(beyond_start / far, _NARROWEST)
    beyond = np.log10((far + 1) / (n + 1)) - over / scale * np.log10(np.e)
    exponential = np.where(values > start + _CLOSE, beyond, np.log10(p))
    resolution = -np.log10(n + 1)
    below = np.maximum(resolution - exponential, 0.0)
    found: NDArray[np.float64] = np.where(
        below > 0, resolution - _INDEX * np.log10(1 + below / _INDEX), exponential
    )
    return found


def most_in_tail(sessions: int) -> int:
    """How many of the ordinary sessions the tail is read from."""
    return max(1, round(sessions * _TAIL))


@dataclass(frozen=True)
class Evidence:
    """Of U sequences."""

    p: dict[str, NDArray[np.float64]]
    """Statistic or rule to p-values; 1 where a rule does not fire."""
    weight: NDArray[np.float64]
    """[U] log10 of the product of the two lowest p-values: what sessions are ranked by, lowest first."""
    ordinary: NDArray[np.float64]
    """[U] the same without decisive rules: what is compared with ordinary sessions."""
    which: list[str]
    """[U] the component that is named as the reason: a decisive rule that fires, else that of the lowest p-value."""


def decisive(rates: Mapping[str, Rate], held_out: int) -> list[str]:
    """Rules that alarm by themselves, new events first: those that fire on no more than ``RARE`` of ordinary
    sessions, or on less than so many held-out ones can tell.

    Args:
        rates: rule to how often it alarms on ordinary sessions.
        held_out: ordinary sessions that the evidence is compared with.
    """
    most = max(RARE, 1 / (held_out + 1))
    return [rule for rule in FIRING if rule in rates and rates[rule].upper <= most]


def evidence_of(
    statistics: Mapping[str, NDArray[np.float64]],
    findings: Findings,
    samples: Mapping[str, list[float]],
    rates: Mapping[str, Rate],
    *,
    among: bool = False,
) -> Evidence:
    """Weigh the statistics and rules of some sequences.

    Args:
        statistics: name to [U] values.
        findings: of the rules.
        samples: name to the sorted values of ordinary sessions.
        rates: rule to how often it alarms on ordinary sessions.
        among: the sequences are those of the samples; each is compared with the others.
    """
    exponents: dict[str, NDArray[np.float64]] = {}
    components: list[str] = []
    for name, component in STATISTICS.items():
        if name in statistics and name in samples:
            exponents[name] = _exponents(np.array(samples[name]), statistics[name], among=among)
            components.append(component)
    for rule in FIRING:
        if rule in rates:
            exponents[rule] = np.where(findings.fires(rule), np.log10(rates[rule].upper), 0.0)
            if rule == "unseen":
                exponents[rule] += np.log10(_MORE_UNSEEN) * np.maximum(findings.unseen - 1, 0)
            components.append(rule)
    by_itself = decisive(rates, max(map(len, samples.values()), default=0))
    values = np.stack(list(exponents.values()))
    weighed = np.stack([exponents[name] for name in exponents if name not in by_itself])
    return Evidence(
        p={name: np.maximum(10**each, _LEAST) for name, each in exponents.items()},
        weight=_two_lowest(values),
        ordinary=_two_lowest(weighed),
        which=[components[i] for i in _named(list(exponents), values, by_itself).tolist()],
    )


def _named(names: list[str], exponents: NDArray[np.float64], decisive: list[str]) -> NDArray[np.int64]:
    """[U] Index of what a session is said to be odd by: a decisive rule that fires, else what is lowest."""
    found: NDArray[np.int64] = exponents.argmin(axis=0)
    for rule in reversed(decisive):
        index = names.index(rule)
        found = np.where(exponents[index] < 0, index, found)
    return found


def ranking(evidence: Evidence, alarms: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[U] What sessions are ranked by, highest first: the evidence, -log10; those that alarm before the others."""
    found: NDArray[np.float64] = -evidence.weight + np.where(alarms, _BEFORE, 0.0)
    return found


def _two_lowest(exponents: NDArray[np.float64]) -> NDArray[np.float64]:
    """[U] Sum of the two lowest of each column."""
    found: NDArray[np.float64] = np.sort(exponents, axis=0)[:2].sum(axis=0)
    return found


def places_left_out(
    ordinary: NDArray[np.float64], own: NDArray[np.float64], left_out: NDArray[np.float64]
) -> NDArray[np.float64]:
    """In which place sessions stand among the others when those alone judge them; 1 is the oddest.

    Others that are equally odd have the same place, as they would have if it were a later session that is like them.

    Args:
        ordinary: [n] sorted evidence of held-out sessions.
        own: [U] evidence of some of them, each counted among the ordinary ones.
        left_out: [U] their evidence by the others.

    Returns:
        [U].
    """
    before = np.searchsorted(ordinary, own - ALIKE, side="left")
    behind = np.searchsorted(ordinary, own + ALIKE, side="right")
    odder = np.minimum(np.searchsorted(ordinary, left_out + ALIKE, side="right"), before)
    found: NDArray[np.float64] = (odder + np.maximum(behind - before, 1)).astype(np.float64)
    return found


def final_p(calibration: Calibration, evidence: Evidence) -> NDArray[np.float64]:
    """The share of ordinary sessions whose evidence is as strong, (1 + #{ordinary <= e}) / (n + 1); at most how rare
    a decisive rule is that fires.

    Returns:
        [U].
    """
    found = _ranked(calibration, evidence.ordinary)
    rates = _rates(calibration)
    for rule in decisive(rates, len(calibration.evidence)):
        found = np.minimum(found, np.where(evidence.p[rule] < 1, rates[rule].upper, 1.0))
    return found


def _ranked(calibration: Calibration, values: NDArray[np.float64]) -> NDArray[np.float64]:
    ordinary = np.array(calibration.evidence)
    below = np.searchsorted(ordinary, values + ALIKE, side="right")
    found: NDArray[np.float64] = (1 + below) / (len(ordinary) + 1)
    return found


def _rates(calibration: Calibration) -> dict[str, Rate]:
    return {rule: Rate(*counts) for rule, counts in calibration.rules.items()}


@dataclass(frozen=True)
class Limit:
    """What alarms within a budget."""

    rules: list[str]
    """Decisive rules that the budget is enough for."""
    rate: float
    """Sessions alarm whose evidence comes up to that of this share of ordinary ones."""
    share: float
    """The share of ordinary sessions that alarms by both, with the held-out ones each left out in turn: on the safe
    side, (1 + alarms) / (n + 1) and what the rules alarm on, as far as the budget goes that the alarms keep."""
    span: Span
    """Where that share lies, as far as so many held-out sessions can tell."""

    def alarms(self, calibration: Calibration, evidence: Evidence) -> NDArray[np.bool_]:
        """[U] whether each sequence alarms."""
        found: NDArray[np.bool_] = _ranked(calibration, evidence.ordinary) <= self.rate
        for rule in self.rules:
            found |= evidence.p[rule] < 1
        return found


def limit_of(calibration: Calibration, budget: float) -> Limit:
    """What alarms within a budget.

    What lies further out than every held-out session alarms, however small the budget. Decisive rules come next, new
    events before counts and lengths, which statistics see too: each that leaves a step of the evidence, 1/(n + 1), of
    the budget; of a smaller one those that together alarm on no more than a step. What is left of the budget is for
    further evidence. ``share`` says what all this comes to: of a budget of few steps it may be more.

    Args:
        calibration: of the model.
        budget: share of ordinary sessions that may alarm.
    """
    n = len(calibration.evidence)
    step, cost = 1 / (n + 1), 0.0
    most = max(budget - step, step)
    rates = _rates(calibration)
    rules = []
    for rule in decisive(rates, n):
        each = rates[rule].alarms / rates[rule].sessions
        if cost + each <= most:
            rules.append(rule)
            cost += each
    left = (budget - cost) / step
    allowed = max(0, math.floor(left + 1e-9))
    limit = max(1, calibration.left_out[allowed] - 1) if allowed < n else n + 1
    alarms = bisect_right(calibration.left_out, limit)
    told = max(1, alarms)
    share = min(budget, (1 + told) * step + cost) if told <= left + 1e-9 else told * step + cost
    expected = min(1.0, alarms / n + cost) if n else 1.0
    sessions = effective_sessions(calibration.parts, math.ceil(expected * n)) if calibration.parts else n
    span = share_span(expected * sessions, sessions)
    return Limit(rules=rules, rate=limit / (n + 1), share=min(1.0, share), span=span)
