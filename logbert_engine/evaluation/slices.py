"""The parts of a sample that figures are shown for, with every session left out counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from logbert_engine.evaluation.detections import Sample


@dataclass(frozen=True, eq=False)
class Slice:
    """Some sessions of a sample: N of S."""

    name: str
    title: str
    rows: NDArray[np.int64]
    """[N] Into the sample, rising."""
    sample: Sample
    """The N sessions, as they are to be weighed here."""
    excluded: dict[str, int]
    """Sessions left out, by the reason in words."""


def slices_of(sample: Sample) -> list[Slice]:
    """All sessions; each distinct one once; those with unseen events; those without.

    A distinct session (sequence and label) is the first of its kind, weighs 1 and has no time: neither a natural
    rate nor alarms per day mean anything there.
    """
    everything = np.arange(len(sample), dtype=np.int64)
    once = _first_of_each(sample)
    unique = sample.take(once)
    return [
        Slice("all", "all sessions", everything, sample, {}),
        Slice(
            "unique",
            "unique sequences",
            once,
            Sample(
                unique.label,
                np.ones(len(once)),
                unique.sequence,
                unique.unseen,
                np.full(len(once), np.nan),
            ),
            _excluded("repeats of a session of the same label", len(sample) - len(once)),
        ),
        _part(sample, "unseen", "with unseen events", sample.unseen, "without an unseen event"),
        _part(sample, "seen", "without unseen events", ~sample.unseen, "with an unseen event"),
    ]


def _first_of_each(sample: Sample) -> NDArray[np.int64]:
    _, dense = np.unique(sample.sequence, return_inverse=True)
    _, first = np.unique(2 * dense.astype(np.int64) + sample.label, return_index=True)
    return np.sort(first).astype(np.int64)


def _part(sample: Sample, name: str, title: str, inside: NDArray[np.bool_], why: str) -> Slice:
    rows = np.flatnonzero(inside).astype(np.int64)
    return Slice(name, title, rows, sample.take(rows), _excluded(why, len(sample) - len(rows)))


def _excluded(why: str, sessions: int) -> dict[str, int]:
    return {why: sessions} if sessions else {}
