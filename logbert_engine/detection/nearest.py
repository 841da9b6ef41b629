"""How far the events of a session, whatever their order, are from those of the nearest ordinary session."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.flat import taken
from logbert_engine.data.hashing import mix
from logbert_engine.data.normals import Normals, bag_numbers
from logbert_engine.models.vocabulary import UNK

MOST_BAGS = 10_000
"""Distinct ordinary bags that are compared with, those of most sessions."""
_MOST_COLUMNS = 2048
"""Of a bag's vector; of more events some share one."""
_AT_ONCE = 1024
_COLUMN = 41
_DIGITS = 6
"""Products of matrices differ in the last digits by how many rows they are made of at once."""


class Nearest:
    """Knows the bags of ordinary sessions as vectors of term frequencies.

    The vector of a bag has ``log(1 + n) * idf`` for an event that it holds n times, and length 1; idf is
    ``log((1 + N) / (1 + h)) + 1`` for an event that h of N distinct bags hold. Source: Liao and Vemuri, Use of
    k-nearest neighbor classifier for intrusion detection, Computers & Security 2002 (sessions as documents of system
    calls, cosine similarity).
    """

    def __init__(self, normals: Normals) -> None:
        numbers = bag_numbers(normals.tokens, normals.offsets)
        _, first, which = np.unique(numbers, return_index=True, return_inverse=True)
        sessions = np.bincount(which, weights=normals.counts)
        kept = np.sort(first[np.argsort(-sessions, kind="stable")[:MOST_BAGS]])
        tokens, offsets = taken(normals.tokens, normals.offsets, kept)
        self._columns = min(_MOST_COLUMNS, int(tokens.max()) + 1)
        bags = self._counted(tokens, offsets)
        held = (bags > 0).sum(axis=0)
        self._idf = (np.log((1 + len(bags)) / (1 + held)) + 1).astype(np.float32)
        self._known = self._weighted(bags)

    def distances(
        self,
        tokens: NDArray[np.int32],
        offsets: NDArray[np.int64],
        others: tuple[NDArray[np.int32], NDArray[np.int64]] | None = None,
    ) -> NDArray[np.float64]:
        """One less the cosine of the angle to the nearest ordinary bag.

        Args:
            tokens: model ids of the sequences, one behind the other; all unknown events count as one.
            offsets: [U+1] where each begins and ends.
            others: tokens and offsets of sequences to compare with in place of the ordinary ones.

        Returns:
            [U] from 0, an ordinary bag, to 1, no event in common with any.
        """
        known = self._known if others is None else self._weighted(self._counted(*others))
        found = np.empty(len(offsets) - 1)
        for begin in range(0, len(found), _AT_ONCE):
            some = offsets[begin : begin + _AT_ONCE + 1]
            bags = self._counted(tokens[some[0] : some[-1]], some - some[0])
            found[begin : begin + len(bags)] = 1 - (self._weighted(bags) @ known.T).max(axis=1)
        return np.maximum(np.round(found, _DIGITS), 0.0)

    def _weighted(self, bags: NDArray[np.float32]) -> NDArray[np.float32]:
        weighted = np.log1p(bags) * self._idf
        scaled: NDArray[np.float32] = weighted / np.linalg.norm(weighted, axis=1, keepdims=True)
        return scaled

    def _counted(self, tokens: NDArray[np.int32], offsets: NDArray[np.int64]) -> NDArray[np.float32]:
        """[U, columns] how often each sequence holds each event."""
        ids = tokens.astype(np.int64)
        beyond = mix(_COLUMN, ids) % np.uint64(self._columns) if self._columns == _MOST_COLUMNS else UNK
        columns = np.where(ids < self._columns, ids, beyond).astype(np.int64)
        owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        counted = np.bincount(owner * self._columns + columns, minlength=(len(offsets) - 1) * self._columns)
        return counted.reshape(len(offsets) - 1, self._columns).astype(np.float32)
