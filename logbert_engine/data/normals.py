"""The ordinary sessions that training saw, as arrays: each distinct sequence once, with a count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.flat import taken
from logbert_engine.data.hashing import mix
from logbert_engine.data.store import Store

_BAG, _SEQUENCE = 31, 32


@dataclass(frozen=True)
class Normals:
    """The training sample."""

    tokens: NDArray[np.int32]
    """[T] model ids of all sequences, one behind the other; UNK where training did not know the event."""
    offsets: NDArray[np.int64]
    """[U+1] where each sequence begins and ends in ``tokens``."""
    counts: NDArray[np.int64]
    """[U] sessions with each sequence."""

    def with_more(self, more: Normals) -> Normals:
        """These and others."""
        return Normals(
            tokens=np.concatenate([self.tokens, more.tokens]),
            offsets=np.concatenate([self.offsets, self.offsets[-1] + more.offsets[1:]]),
            counts=np.concatenate([self.counts, more.counts]),
        )


def normals_of(store: Store, sessions: NDArray[np.int64], lookup: NDArray[np.int64]) -> Normals:
    """Gather the distinct sequences of some sessions.

    Args:
        store: where they are.
        sessions: indices of sessions.
        lookup: model id of each event of the store.
    """
    chosen, counts = np.unique(store.sequence_of[sessions], return_counts=True)
    tokens, offsets = taken(store.tokens, store.offsets, chosen)
    return Normals(tokens=lookup[tokens].astype(np.int32), offsets=offsets, counts=counts.astype(np.int64))


def sequence_numbers(tokens: NDArray[np.int32], offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A number for each sequence, of its events in their order.

    Args:
        tokens: of the sequences, one behind the other.
        offsets: [U+1] where each begins and ends.
    """
    place = np.arange(len(tokens)) - np.repeat(offsets[:-1], np.diff(offsets))
    with np.errstate(over="ignore"):
        found: NDArray[np.uint64] = np.add.reduceat(mix(_SEQUENCE, tokens, place), offsets[:-1])
    return found


def bag_numbers(tokens: NDArray[np.int32], offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A number for each sequence that does not depend on the order of its events.

    Args:
        tokens: of the sequences, one behind the other.
        offsets: [U+1] where each begins and ends.
    """
    with np.errstate(over="ignore"):
        found: NDArray[np.uint64] = np.add.reduceat(mix(_BAG, tokens), offsets[:-1])
    return found
