"""Whether the calibration still holds for the sessions that are scored: ordinary ones should look as they did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOW = 0.1
"""A p-value that one of ten ordinary sessions comes up to."""
MOST_LOW = 0.25
"""Share of the sessions up to which ``LOW`` is put down to anomalies among them."""
LEAST_SESSIONS = 100
"""With fewer a share says little."""


@dataclass(frozen=True)
class Drift:
    """How the sessions of an input lie by the calibration."""

    low: float
    """Share with a p-value up to ``LOW``."""
    unseen: float
    """Share that holds an event which training never saw."""
    unseen_before: float
    """The most that is expected of ordinary sessions, by those of training."""
    alarms: float
    """Share that alarms."""
    budget: float
    """Share of ordinary sessions that alarms, by the held-out ones."""

    @property
    def found(self) -> bool:
        """Whether so many are odd that anomalies are not the likeliest reason."""
        return self.low > MOST_LOW

    def in_words(self, *, adapted: bool = False) -> str:
        """A sentence or two for people; empty where the calibration holds.

        Args:
            adapted: whether the model adapted to the sessions before.
        """
        if not self.found:
            return ""
        why, never = "", "is still unknown" if adapted else "training never saw"
        adapt = "" if adapted else "adapt to them (--adapt), "
        if self.unseen > max(MOST_LOW, 2 * self.unseen_before):
            why = (
                f" {self.unseen:.1%} of the sessions hold an event that {never}, where "
                f"{self.unseen_before:.2%} were expected."
            )
        return (
            f"the calibration does not hold for these sessions: {self.low:.1%} of them are as odd as {LOW:.0%} of "
            f"ordinary ones were, and {self.alarms:.1%} alarm, not {self.budget:.2%}.{why} Unless so many really are "
            f"anomalies, the logs have changed since: {adapt}train on recent sessions, or judge the "
            "top of the list, which teaches what is ordinary now."
        )


def drift_of(
    p: NDArray[np.float64],
    alarms: NDArray[np.bool_],
    unseen: NDArray[np.bool_],
    sessions: NDArray[np.int64],
    unseen_before: float,
    budget: float,
) -> Drift | None:
    """Compare an input with the calibration.

    Args:
        p: [U] p-value of each distinct sequence.
        alarms: [U] whether it alarms.
        unseen: [U] whether it holds an event that training never saw.
        sessions: [U] sessions with it.
        unseen_before: share of ordinary sessions that hold such an event, at most.
        budget: share of ordinary sessions that alarm.

    Returns:
        None with too few sessions to tell.
    """
    total = int(sessions.sum())
    if total < LEAST_SESSIONS:
        return None

    def share(which: NDArray[np.bool_]) -> float:
        return float(sessions[which].sum() / total)

    return Drift(
        low=share(p <= LOW),
        unseen=share(unseen),
        unseen_before=unseen_before,
        alarms=share(alarms),
        budget=budget,
    )
