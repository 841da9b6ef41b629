"""The training session most like a given one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from logbert_engine.data.normals import Normals
from logbert_engine.explanation.bags import Bags

MOST_WORK = 100_000_000
"""Steps of 64 table cells for one session; about half a second. Beyond, the bag distance has to do."""
_PAIR = 32
"""Steps that a comparison costs however short it is."""
_FIRST, _LARGEST = 64, 4096
"""Sequences compared at a time: few at first, so that the many have a distance to stay below."""


@dataclass(frozen=True)
class Neighbour:
    """The training sequence nearest to a session."""

    index: int
    """Of the sequence in ``Normals``."""
    distance: int
    """Events to insert, delete or substitute."""
    sessions: int
    """Training sessions with this sequence."""
    approximate: bool = False
    """The sequences were too long to compare: nearest, and its distance, are by the bag of events alone. The
    true distance is at least this."""


class Nearest:
    """Looks up the nearest training sequence; built once for many sessions.

    The bag distance bounds the edit distance from below, so sequences are compared in the order of that bound
    until it passes the best distance found. The result is exact unless marked ``approximate``.

    Args:
        normals: of training, at least one sequence.

    Raises:
        ValueError: there is no sequence.
    """

    def __init__(self, normals: Normals) -> None:
        if not len(normals.counts):
            raise ValueError("no training sequence to compare with")
        self.bags = Bags(normals)
        self._known = np.unique(normals.tokens)
        self._preferred = np.lexsort((np.arange(len(normals.counts)), -normals.counts))
        """Sequences as they win ties: most sessions first, then the lowest index. All below is in this order."""
        self._sessions = normals.counts[self._preferred]
        self._bag_of = self.bags.bag_of[self._preferred]
        self._lengths = self.bags.lengths[self._bag_of]
        letters = _text(np.searchsorted(self._known, normals.tokens))
        bounds = normals.offsets.tolist()
        self._texts = [letters[bounds[i] : bounds[i + 1]] for i in self._preferred.tolist()]

    def find(self, sequence: NDArray[np.integer]) -> Neighbour:
        """The training sequence of least edit distance; equal ones by sessions, then by index.

        Args:
            sequence: [T] tokens as in ``Normals``: events unknown to training are all UNK and count as equal.
        """
        bound = self.bags.distances(sequence)[self._bag_of]
        order = np.argsort(bound.astype(np.uint16) if bound.max() < 1 << 16 else bound, kind="stable")
        text = self._letters(sequence)
        best, place = None, len(order)
        begin, size, work = 0, _FIRST, 0
        while begin < len(order):
            near = order[begin : begin + size]
            if best is not None:
                bounds = bound[near]
                near = near[(bounds < best) | ((bounds == best) & (near < place))]
                if bounds[0] > best:
                    break
            work += int((-(-len(text) // 64) * self._lengths[near] + _PAIR).sum())
            if work > MOST_WORK:
                return self._neighbour(int(order[0]), int(bound[order[0]]), approximate=True)
            if len(near):
                distances = process.cdist(
                    [text],
                    [self._texts[i] for i in near.tolist()],
                    scorer=Levenshtein.distance,
                    score_cutoff=best,
                    dtype=np.int32,
                )[0]
                least = int(distances.min())
                first = int(near[distances == least].min())
                if best is None or (least, first) < (best, place):
                    best, place = least, first
            begin += size
            size = min(2 * size, _LARGEST)
        assert best is not None
        return self._neighbour(place, best, approximate=False)

    def _neighbour(self, place: int, distance: int, *, approximate: bool) -> Neighbour:
        return Neighbour(int(self._preferred[place]), distance, int(self._sessions[place]), approximate)

    def _letters(self, sequence: NDArray[np.integer]) -> str:
        """A session in the letters of the training ones; events that those lack have letters of their own."""
        tokens, which = np.unique(sequence, return_inverse=True)
        found = np.searchsorted(self._known, np.asarray(tokens))
        known = self._known[np.minimum(found, len(self._known) - 1)] == tokens
        letters = np.where(known, found, len(self._known) + np.arange(len(tokens)))
        return _text(letters[which])


def _text(letters: NDArray[np.integer]) -> str:
    """Numbers as a string of one character each, which rapidfuzz compares without hashing anything.

    Raises:
        ValueError: there are more kinds of events than characters, 1,114,112.
    """
    if letters.max(initial=0) > 0x10FFFF:
        raise ValueError("more than 1,114,112 kinds of events cannot be compared")
    return letters.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
