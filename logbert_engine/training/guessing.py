"""What guessing costs: the loss of a model that has learned nothing, or no more than how frequent events are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

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


def guessing(store: Store, pieces: Pieces, vocabulary: Vocabulary) -> Guessing:
    """The two losses on what a stage trains on, identical sessions counted each."""
    counts = np.zeros(len(store.events))
    for begin in range(0, len(pieces), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        length, weight = pieces.length[part], pieces.count[part]
        first = store.offsets[pieces.sequence[part]] + pieces.start[part]
        within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        events = store.tokens[np.repeat(first, length) + within]
        counts += np.bincount(events, weights=np.repeat(weight, length), minlength=len(counts))
    share = counts[counts > 0] / max(counts.sum(), 1.0)
    return Guessing(blind=math.log(vocabulary.size), frequencies=float(-(share * np.log(share)).sum()))
