"""A session beside the ordinary ones that training saw: the nearest, how often events occur, how long they are."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.contract import EventId
from logbert_engine.data.normals import Normals
from logbert_engine.explanation.alignment import align
from logbert_engine.explanation.counts import CountRow, differing
from logbert_engine.explanation.lengths import LengthRow, measured
from logbert_engine.explanation.nearest import Nearest as Index
from logbert_engine.models.vocabulary import Vocabulary
from logbert_engine.protocol.results import CountDifference, DifferenceStep, Nearest

UNKNOWN_EVENT = "?"
"""Stands for an event of an ordinary session that the vocabulary does not have."""
MOST_ALIGNED = 4_000_000
"""Cells of the table that lays two sessions side by side: 2,000 events beside 2,000."""
MOST_COUNTS = 8


class Comparing:
    """Compares sessions with the training sample; what that takes is built once, when it is first asked for.

    Args:
        normals: of training, at least one sequence.
        vocabulary: of the model.
    """

    def __init__(self, normals: Normals, vocabulary: Vocabulary) -> None:
        self._normals, self._vocabulary = normals, vocabulary

    @cached_property
    def _index(self) -> Index:
        return Index(self._normals)

    def nearest(self, tokens: NDArray[np.int32], events: list[EventId]) -> Nearest:
        """The ordinary session that takes the fewest changes, laid beside a session.

        Args:
            tokens: [T] model ids of the session.
            events: [T] their source ids.
        """
        found = self._index.find(tokens)
        begin, end = self._normals.offsets[found.index], self._normals.offsets[found.index + 1]
        steps: list[DifferenceStep] = []
        if not found.approximate and len(events) * int(end - begin) <= MOST_ALIGNED:
            ordinary = [self._event(token) for token in self._normals.tokens[begin:end].tolist()]
            steps = [
                DifferenceStep(
                    kind=step.kind,
                    at=step.seen_at,
                    seen=list(step.seen),
                    ordinary=[] if step.kind == "keep" else list(step.normal),
                )
                for step in align(events, ordinary)
            ]
        return Nearest(
            distance=found.distance, sessions=found.sessions, steps=steps, approximate=found.approximate
        )

    def counts(self, tokens: NDArray[np.int32], events: list[EventId]) -> list[CountRow]:
        """Events that occur more or less often than in the ordinary sessions most like a session.

        Events that training never saw are told of elsewhere, and left out.
        """
        sources = dict(zip(tokens.tolist(), events, strict=True))
        rows = []
        for row in differing(tokens, self._index.bags):
            event = sources.get(int(row.event), self._vocabulary.event(int(row.event)))
            if self._vocabulary.event(int(row.event)) is not None and event is not None:
                rows.append(CountRow(event, row.here, row.median, row.lowest, row.highest))
        return rows

    def length(self, events: int) -> LengthRow:
        """A length among those of the ordinary sessions."""
        return measured(events, self._normals)

    def _event(self, token: int) -> EventId:
        event = self._vocabulary.event(token)
        return UNKNOWN_EVENT if event is None else event


def as_differences(rows: list[CountRow]) -> list[CountDifference]:
    """The largest differences, as results hold them."""
    return [
        CountDifference(
            event=row.event, here=row.here, median=row.median, lowest=row.lowest, highest=row.highest
        )
        for row in rows[:MOST_COUNTS]
    ]
