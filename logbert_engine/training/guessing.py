"""What guessing costs: the loss of a model that has learned nothing, or no more than how frequent events are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.batches import Pieces
from logbert_engine.data.store import Store
from logbert_engine.models.vocabulary import Vocabulary

_CHUNK = 1 << 16
"""Pieces counted at once, so that large stores need no large arrays."""


@dataclass(frozen=True)
class Guessing:
    """Losses (mean surprisal of an event, nats) to hold a model's against."""

    blind: float
    """All rows of the vocabulary alike: where a new model begins."""
    frequencies: float
    """Each event as often as it occurs, whatever stands around it: where training that learns nothing ends."""


def occurrences(store: Store, pieces: Pieces) -> NDArray[np.float64]:
    """How often each event of a store occurs in some pieces, identical sessions counted each."""
    counts = np.zeros(len(store.events))
    for begin in range(0, len(pieces), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        length, weight = pieces.length[part], pieces.count[part]
        first = store.offsets[pieces.sequence[part]] + pieces.start[part]
        within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        events = store.tokens[np.repeat(first, length) + within]
        counts += np.bincount(events, weights=np.repeat(weight, length), minlength=len(counts))
    return counts


def guessing(counts_E: NDArray[np.float64], vocabulary: Vocabulary) -> Guessing:
    """The two losses, from the ``occurrences`` in what a stage trains on."""
    share = counts_E[counts_E > 0] / max(counts_E.sum(), 1.0)
    return Guessing(blind=math.log(vocabulary.size), frequencies=float(-(share * np.log(share)).sum()))
