"""Whether the tails that evidence is read from are those of the held-out sessions: a check of their fit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from logbert_engine.detection.evidence import most_in_tail
from logbert_engine.models.checkpoint import Calibration

LEAST_VALUES = 20
"""With fewer different values in the tail nothing is told."""
FITS = 1.308
"""``misfit`` of an exponential law is higher once in a hundred times."""


def misfits(samples: Mapping[str, list[float]]) -> dict[str, float]:
    """How badly an exponential law fits the tail of each statistic.

    Args:
        samples: name to the sorted values of ordinary sessions.

    Returns:
        Name to ``misfit``, where there are enough different values to tell.
    """
    found: dict[str, float] = {}
    for name, values in samples.items():
        ordinary = np.array(values)
        start = ordinary[len(ordinary) - most_in_tail(len(ordinary))]
        # sessions that are alike are one value: how often one recurs says nothing of how they fall off
        beyond = np.unique(ordinary[ordinary > start] - start)
        if len(beyond) >= LEAST_VALUES:
            found[name] = misfit(beyond)
    return found


def misfit(values: NDArray[np.float64]) -> float:
    """Distance of values from an exponential law of their mean, in a measure that does not depend on how many.

    Args:
        values: [n] different ones above 0.

    Returns:
        Kolmogorov and Smirnov's D as ``(D - 0.2/n) * (sqrt(n) + 0.26 + 0.5/sqrt(n))``; ``FITS`` is its 1% point.

    Source: Lilliefors, On the Kolmogorov-Smirnov test for the exponential distribution with mean unknown, JASA 1969;
    Stephens, EDF statistics for goodness of fit and some comparisons, JASA 1974 (the measure and its points).
    """
    n = len(values)
    law = 1 - np.exp(-np.sort(values) / values.mean())
    steps = np.arange(n + 1) / n
    distance = float(max((steps[1:] - law).max(), (law - steps[:-1]).max()))
    root = float(np.sqrt(n))
    return (distance - 0.2 / n) * (root + 0.26 + 0.5 / root)


def tails_in_words(calibration: Calibration) -> str:
    """Which tails do not fit, and what that means; empty where all do."""
    names = [name for name, value in calibration.tails.items() if value > FITS]
    if not names:
        return ""
    which = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return (
        f"far out the values of {which} do not fall off as assumed: which sessions alarm does not depend on it, but "
        f"the order among those rarer than 1/{len(calibration.evidence) + 1} is rough"
    )
