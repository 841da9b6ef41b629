"""How far a share may be off that a few sessions were counted for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import betaincinv

LEVEL = 0.95
"""Probability inside an interval."""

Span = tuple[float, float]
"""Lowest and highest share."""


def share_span(alarms: float, sessions: float) -> Span:
    """Where the share of ordinary sessions to come that alarm lies, with a probability of at least ``LEVEL``.

    It holds for a limit that was fixed before, and for one that is the evidence of the last session that alarms.
    Sources: Clopper and Pearson, The use of confidence or fiducial limits, Biometrika 1934; Vovk, Conditional
    validity of inductive conformal predictors, ACML 2012 (the Beta distribution of the share behind an order
    statistic, which these limits enclose).

    Args:
        alarms: of ``sessions``; may be a fraction.
        sessions: ordinary ones that nothing was learnt from, each independent of the others.
    """
    out = (1 - LEVEL) / 2
    low = float(betaincinv(alarms, sessions - alarms + 1, out)) if alarms > 0 else 0.0
    high = float(betaincinv(alarms + 1, sessions - alarms, 1 - out)) if alarms < sessions else 1.0
    return low, high


def effective_sessions(parts: Sequence[int], alarms: int) -> float:
    """How many independent sessions tell as much of a share as these, which alarm in clusters.

    What is odd happens many times in a row, so a hundred alarms of one hour tell little more than one. The number of
    sessions is divided by the design effect: by how much more the alarms differ from part to part than they would if
    they fell at random; never less than 1. Sources: Kish, Survey Sampling, 1965 (the design effect of clusters); Korn
    and Graubard, Confidence intervals for proportions with small expected number of positive counts estimated from
    survey data, Survey Methodology 1998 (exact limits for the effective sample size).

    Args:
        parts: [n] the part of time that each session lies in, the oddest session first.
        alarms: the first so many alarm.
    """
    n = len(parts)
    if not 0 < alarms < n:
        return float(n)
    _, which = np.unique(np.asarray(parts), return_inverse=True)
    sessions = np.bincount(which)
    found = np.bincount(which[:alarms], minlength=len(sessions))
    if len(sessions) < 2:
        return float(n)
    share = alarms / n
    apart = float(((found - share * sessions) ** 2).sum()) * len(sessions) / (len(sessions) - 1)
    return n / max(1.0, apart / (n * share * (1 - share)))
