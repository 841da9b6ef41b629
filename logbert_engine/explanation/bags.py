"""How far a session is from the training ones when only how often each event occurs matters."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.normals import Normals

_DENSE = 4
"""An event in more than 1/4 of the bags has a count for each bag: that is smaller than a list of them."""


class Bags:
    """The training sequences with their order left out: sequences of the same events are one bag.

    Attributes:
        bag_of: [U] int64, the bag of each training sequence.
        sessions: [B] int64, training sessions with each bag.
        lengths: [B] int64, events in each bag.
    """

    def __init__(self, normals: Normals) -> None:
        lengths = np.diff(normals.offsets).astype(np.int64)
        rows = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
        width = int(normals.tokens.max(initial=0)) + 1
        keys = np.sort(rows * width + normals.tokens)
        tokens = (keys % width).astype(np.int32)
        first, self.bag_of = _distinct(tokens, normals.offsets)
        self.sessions = np.zeros(len(first), dtype=np.int64)
        np.add.at(self.sessions, self.bag_of, normals.counts)
        self.lengths = lengths[first]
        # runs of one event in one bag: the bags' contents
        begins = np.ones(len(keys), dtype=np.bool_)
        begins[1:] = keys[1:] != keys[:-1]
        starts = np.flatnonzero(begins)
        counts = np.diff(np.append(starts, len(keys)))
        is_first = np.zeros(len(lengths), dtype=np.bool_)
        is_first[first] = True
        kept = is_first[rows[starts]]
        bags = self.bag_of[rows[starts[kept]]].astype(np.int32)
        self._events = tokens[starts[kept]]
        self._counts = counts[kept].astype(_smallest(int(counts.max(initial=0))))
        self._begins = np.searchsorted(bags, np.arange(len(first) + 1))
        self._index(bags)

    def _index(self, bags: NDArray[np.int32]) -> None:
        """Where each event occurs: a list of bags, or a count for every bag where it is common."""
        order = np.argsort(self._events, kind="stable")
        events, starts = np.unique(self._events[order], return_index=True)
        ends = np.append(starts[1:], len(order))
        self._dense: dict[int, NDArray[np.unsignedinteger]] = {}
        self._sparse: dict[int, tuple[NDArray[np.int32], NDArray[np.unsignedinteger]]] = {}
        for event, begin, end in zip(events.tolist(), starts.tolist(), ends.tolist(), strict=True):
            within, counts = bags[order[begin:end]], self._counts[order[begin:end]]
            if (end - begin) * _DENSE > len(self.lengths):
                row = np.zeros(len(self.lengths), dtype=np.int64).astype(self._counts.dtype)
                row[within] = counts
                self._dense[event] = row
            else:
                self._sparse[event] = within, counts

    def contents(self, bag: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The events of a bag, ascending, and how often each occurs."""
        begin, end = self._begins[bag], self._begins[bag + 1]
        return self._events[begin:end], self._counts[begin:end].astype(np.int64)

    def distances(self, sequence: NDArray[np.integer]) -> NDArray[np.int64]:
        """The bag distance of a session to every bag: events to put in, take out or replace, order aside.

        It is ``max(length) - events in common`` and never above the edit distance.

        Args:
            sequence: [T] tokens.

        Returns:
            [B] events.

        Source: Bartolini, Ciaccia and Patella, String Matching with Metric Trees Using an Approximate
        Distance, SPIRE 2002.
        """
        common = np.zeros(len(self.lengths), dtype=np.int32)
        highest = np.iinfo(self._counts.dtype).max
        for event, count in zip(*_counted(sequence), strict=True):
            most = np.array(min(count, highest), dtype=self._counts.dtype)
            if event in self._dense:
                common += np.minimum(self._dense[event], most)
            elif event in self._sparse:
                within, counts = self._sparse[event]
                common[within] += np.minimum(counts, most)
        longer: NDArray[np.int64] = np.maximum(self.lengths, np.int64(len(sequence)))
        return longer - common

    def nearest(self, sequence: NDArray[np.integer], k: int) -> NDArray[np.int64]:
        """The ``k`` bags of least distance, nearest first; equal ones by sessions, then by index.

        Args:
            sequence: [T] tokens.
            k: at least 1; all bags where there are fewer.
        """
        distances = self.distances(sequence)
        k = min(k, len(distances))
        reach = np.partition(distances, k - 1)[k - 1]
        near = np.flatnonzero(distances <= reach)
        order = np.lexsort((near, -self.sessions[near], distances[near]))
        return near[order[:k]]


def _counted(sequence: NDArray[np.integer]) -> tuple[list[int], list[int]]:
    events, counts = np.unique(sequence, return_counts=True)
    return events.tolist(), counts.tolist()


def _distinct(
    tokens: NDArray[np.int32], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that are equal, found once: the first row of each kind, and the kind of every row."""
    content = tokens.tobytes()
    bounds = (offsets * tokens.itemsize).tolist()
    kinds: dict[bytes, int] = {}
    first: list[int] = []
    kind_of = np.empty(len(bounds) - 1, dtype=np.int64)
    for row, (begin, end) in enumerate(pairwise(bounds)):
        kind = kinds.setdefault(content[begin:end], len(first))
        if kind == len(first):
            first.append(row)
        kind_of[row] = kind
    return np.array(first, dtype=np.int64), kind_of


def _smallest(highest: int) -> type[np.unsignedinteger]:
    """The smallest type that holds counts up to ``highest``."""
    for kind in (np.uint8, np.uint16):
        if highest <= np.iinfo(kind).max:
            return kind
    return np.uint32
