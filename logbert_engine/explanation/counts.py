"""Which events occur more or less often than in the ordinary sessions most like a given one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from logbert_engine.explanation.bags import Bags

NEIGHBOURS = 10


@dataclass(frozen=True)
class CountRow:
    """How often an event occurs in a session, and in the ordinary sessions like it."""

    event: int | str
    """A token, until the caller puts the event id in its place."""
    here: int
    median: int
    """Of the neighbours; the lower of the two in the middle."""
    lowest: int
    highest: int


def differing(sequence: NDArray[np.integer], bags: Bags, k: int = NEIGHBOURS) -> list[CountRow]:
    """Compare the counts of a session's events with those of the ``k`` nearest bags of training.

    Each distinct bag counts once, however many sessions have it: else the one that is most common would stand
    for all.

    Args:
        sequence: [T] tokens.
        bags: of training.
        k: neighbours, fewer where training has fewer bags.

    Returns:
        The events whose count is not the neighbours' median: first those furthest outside the neighbours' range,
        then those furthest from the median, then by token.
    """
    near = [bags.contents(int(bag)) for bag in bags.nearest(sequence, k)]
    events = np.unique(np.concatenate([sequence, *(events for events, _ in near)]))
    here = np.bincount(np.searchsorted(events, sequence), minlength=len(events))
    there = np.zeros((len(near), len(events)), dtype=np.int64)
    for row, (kinds, counts) in zip(there, near, strict=True):
        row[np.searchsorted(events, kinds)] = counts
    there.sort(axis=0)
    median, lowest, highest = there[(len(near) - 1) // 2], there[0], there[-1]
    outside = np.maximum(np.maximum(here - highest, lowest - here), 0)
    off = np.abs(here - median)
    order = np.lexsort((events, -off, -outside))
    return [
        CountRow(int(events[i]), int(here[i]), int(median[i]), int(lowest[i]), int(highest[i]))
        for i in order.tolist()
        if off[i]
    ]
