"""Parts of a store over time, and parts put together again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from logbert_engine.data.flat import taken
from logbert_engine.data.store import Store

_OF_SESSIONS = (
    "time",
    "service_of",
    "has_error",
    "has_warn",
    "label",
    "file_of",
    "position_of",
    "name_at",
)


def between(store: Store, first: int, last: int) -> Store:
    """The sessions from ``first`` to before ``last``, with the distinct sequences among them."""
    rows = slice(first, last)
    sequences, of, counts = np.unique(store.sequence_of[rows], return_inverse=True, return_counts=True)
    tokens, offsets = taken(store.tokens, store.offsets, sequences)
    columns: dict[str, Any] = {name: getattr(store, name)[rows] for name in _OF_SESSIONS}
    return replace(
        store,
        tokens=tokens,
        offsets=offsets,
        counts=counts.astype(np.int64),
        sequence_of=of.astype(np.int32),
        **columns,
    )


def together(store: Store, parts: Sequence[Store]) -> Store:
    """A store's parts that follow one another, as one again. Sequences that occur in several of them stay apart."""
    before = np.cumsum([0, *(part.n_unique for part in parts)])
    begins = np.cumsum([0, *(len(part.tokens) for part in parts)])
    return replace(
        store,
        tokens=np.concatenate([part.tokens for part in parts]),
        offsets=np.concatenate(
            [part.offsets[:-1] + begin for part, begin in zip(parts, begins, strict=False)] + [begins[-1:]]
        ),
        counts=np.concatenate([part.counts for part in parts]),
        sequence_of=np.concatenate(
            [part.sequence_of + shift for part, shift in zip(parts, before, strict=False)]
        ).astype(np.int32),
    )
