"""What verdicts teach: the events, counts and neighbours of sessions that were judged normal are ordinary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.contract import EventId
from logbert_engine.data.normals import Normals
from logbert_engine.models.surprisal import Surprisals
from logbert_engine.models.vocabulary import UNK, Vocabulary

Taught = Sequence[Sequence[EventId]]
"""Sequences that were judged normal, as source ids."""


@dataclass(frozen=True)
class Lesson:
    """How sequences are read once some have been judged normal."""

    lookup: NDArray[np.int64]
    """[E] id of each event of a store: the model's, beyond those an id for each event that was taught, else UNK."""
    normals: Normals
    """The ordinary sessions of training and those that were judged."""
    taught: Normals | None
    """Those that were judged, in these ids; None where there are none."""
    first_taught: int
    """Ids from here on are taught: the model has no row for them."""


def learn(vocabulary: Vocabulary, events: Sequence[EventId], normals: Normals, taught: Taught) -> Lesson:
    """Put what was judged normal beside what training saw.

    Args:
        vocabulary: of the model.
        events: of the store.
        normals: of training.
        taught: sequences that were judged normal.
    """
    lookup = vocabulary.lookup(list(events)).astype(np.int64)
    first = vocabulary.size
    distinct = list(dict.fromkeys(event for sequence in taught for event in sequence))
    known = vocabulary.lookup(distinct) if distinct else np.zeros(0, dtype=np.int64)
    new = {
        event: first + i
        for i, event in enumerate(e for e, i in zip(distinct, known, strict=True) if i == UNK)
    }
    ids = dict(zip(distinct, known.tolist(), strict=True)) | new
    for place, event in enumerate(events):
        if lookup[place] == UNK and event in new:
            lookup[place] = new[event]
    if not taught:
        return Lesson(lookup=lookup, normals=normals, taught=None, first_taught=first)
    added = [np.array([ids[event] for event in sequence], dtype=np.int32) for sequence in taught]
    judged = Normals(
        tokens=np.concatenate(added),
        offsets=np.concatenate([[0], np.cumsum([len(sequence) for sequence in added])]),
        counts=np.ones(len(added), dtype=np.int64),
    )
    return Lesson(lookup=lookup, normals=normals.with_more(judged), taught=judged, first_taught=first)


def passed_over(found: Surprisals, left_out: NDArray[np.bool_]) -> Surprisals:
    """Surprisals with some positions left out: they take the mean of the others of their sequence.

    Args:
        found: of some sequences.
        left_out: [T] the positions; where all of a sequence are, they are no surprise at all.
    """
    if not left_out.any():
        return found
    begins = found.offsets[:-1]
    lengths = np.diff(found.offsets)
    kept = (~left_out).astype(np.float64)
    sums = np.add.reduceat(found.values * kept, begins)
    means = sums / np.maximum(np.add.reduceat(kept, begins), 1.0)
    values = np.where(left_out, np.repeat(means, lengths), found.values).astype(np.float32)
    return replace(found, values=values)
