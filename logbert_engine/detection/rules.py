"""The floor: what simple rules see in a session that ordinary sessions did not have. No training, no threshold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.normals import Normals, bag_numbers
from logbert_engine.models.vocabulary import UNK

RULES = ("unseen", "counts", "pairs", "length")
_MOST_IDS = 1 << 31


@dataclass(frozen=True)
class Findings:
    """What the rules find in U sequences."""

    unseen: NDArray[np.int64]
    """[U] distinct events that no ordinary session held; all unknown events count as one."""
    counts: NDArray[np.bool_]
    """[U] whether no ordinary session held each event just as often (an unseen count vector)."""
    pairs: NDArray[np.int64]
    """[U] neighbouring events, one behind the other, that no ordinary session held (unseen 2-grams)."""
    length: NDArray[np.bool_]
    """[U] whether it is shorter or longer than every ordinary session."""

    def fires(self, rule: str) -> NDArray[np.bool_]:
        """[U] whether a rule of ``RULES`` alarms."""
        found: NDArray[np.bool_] = getattr(self, rule) > 0
        return found


@dataclass(frozen=True)
class Rate:
    """How often a rule alarms on ordinary sessions."""

    alarms: int
    """Of ``sessions``, those that it alarms on when it has seen all the others."""
    sessions: int

    @property
    def upper(self) -> float:
        """Share of ordinary sessions to come that it alarms on: (1 + alarms) / (sessions + 1)."""
        return (1 + self.alarms) / (self.sessions + 1)


class Rules:
    """Simple detectors that know what ordinary sessions hold.

    Source: Landauer, Skopik, Wurzenberger: A critical review of common log data sets used for evaluation of
    sequence-based anomaly detection techniques, FSE 2024 (new event types, count vectors, 2-grams, lengths).
    """

    def __init__(self, normals: Normals) -> None:
        self._normals = normals
        self._lengths = np.diff(normals.offsets)
        self._sessions = int(normals.counts.sum())

    @cached_property
    def _events(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self._held(self._normals.tokens.astype(np.int64), _owners(self._lengths))

    @cached_property
    def _pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self._held(*_pairs(self._normals.tokens, self._normals.offsets))

    @cached_property
    def _bags(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        bags, which = np.unique(bag_numbers(self._normals.tokens, self._normals.offsets), return_inverse=True)
        return bags, np.bincount(which, weights=self._normals.counts).astype(np.int64)

    def _held(
        self, items: NDArray[np.int64], owner: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The distinct items, and how many sessions hold each."""
        known, which = np.unique(items, return_inverse=True)
        both = np.unique(which.astype(np.int64) * len(self._lengths) + owner)
        of_item, of_sequence = np.divmod(both, len(self._lengths))
        sessions = np.bincount(of_item, weights=self._normals.counts[of_sequence], minlength=len(known))
        return known, sessions.astype(np.int64)

    def find(self, tokens: NDArray[np.int32], offsets: NDArray[np.int64]) -> Findings:
        """Apply the rules.

        Args:
            tokens: model ids of the sequences, one behind the other; UNK for events not in the vocabulary.
            offsets: [U+1] where each begins and ends.
        """
        lengths = np.diff(offsets)
        owner = _owners(lengths)
        strange = ~np.isin(tokens, self._events[0]) | (tokens == UNK)
        distinct = np.unique(owner[strange] * _MOST_IDS + tokens[strange])
        pairs, pair_owner = _pairs(tokens, offsets)
        new = ~np.isin(pairs, self._pairs[0])
        low, high = int(self._lengths.min()), int(self._lengths.max())
        return Findings(
            unseen=np.bincount(distinct // _MOST_IDS, minlength=len(lengths)),
            counts=~np.isin(bag_numbers(tokens, offsets), self._bags[0]),
            pairs=np.bincount(pair_owner[new], minlength=len(lengths)),
            length=(lengths < low) | (lengths > high),
        )

    def left_out(self) -> dict[str, Rate]:
        """How often each rule alarms on an ordinary session that it has not seen: each left out in turn.

        A rule alarms on a session left out where the session alone holds something, so one look at what is held
        once is enough, and at unknown events, which are never known. Source: Good, The population frequencies of
        species, Biometrika 1953.
        """
        ids = self._normals.tokens.astype(np.int64)
        events, sessions = self._events
        strange = np.isin(ids, events[sessions == 1]) | (ids == UNK)
        pairs, owner = _pairs(self._normals.tokens, self._normals.offsets)
        known, held_by = self._pairs
        found = {
            "unseen": self._of_sequences(_owners(self._lengths)[strange]),
            "pairs": self._of_sequences(owner[np.isin(pairs, known[held_by == 1])]),
        }
        found["counts"] = self._rate(int((self._bags[1] == 1).sum()))
        extremes = 0
        for length in {int(self._lengths.min()), int(self._lengths.max())}:
            extremes += int(self._normals.counts[self._lengths == length].sum()) == 1
        found["length"] = self._rate(extremes)
        return found

    def _of_sequences(self, sequences: NDArray[np.int64]) -> Rate:
        return self._rate(int(self._normals.counts[np.unique(sequences)].sum()))

    def _rate(self, alarms: int) -> Rate:
        return Rate(alarms=alarms, sessions=self._sessions)


def _owners(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(lengths)), lengths)


def _pairs(
    tokens: NDArray[np.int32], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each two neighbours as one number, and the sequence that holds them."""
    owner = _owners(np.diff(offsets))
    inside = np.flatnonzero(owner[1:] == owner[:-1])
    ids = tokens.astype(np.int64)
    return ids[inside] * _MOST_IDS + ids[inside + 1], owner[inside]
