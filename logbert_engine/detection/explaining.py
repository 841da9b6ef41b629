"""Why a sequence is odd: what each of its events surprises by, what was expected, and a sentence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from logbert_engine.data.contract import EventId
from logbert_engine.data.store import Store
from logbert_engine.detection.scoring import StoreScores
from logbert_engine.detection.wording import reason
from logbert_engine.models.checkpoint import ModelRecord
from logbert_engine.models.surprisal import Surprisals
from logbert_engine.protocol.messages import EventScore


@dataclass(frozen=True)
class Explained:
    """One sequence, explained in the view that its evidence comes from."""

    reason: str
    positions: list[EventScore]
    """Of highest surprisal, highest first."""
    events: list[EventId]
    surprisals: list[float]
    """Of each event, nats."""
    unseen_events: int
    """Positions that hold an event which training never saw."""


def explain(store: Store, scores: StoreScores, record: ModelRecord, sequence: int, most: int) -> Explained:
    """Explain a sequence of a store.

    Args:
        store: that was scored.
        scores: of the store.
        record: of the model.
        sequence: index of the distinct sequence.
        most: positions to tell of.
    """
    found = _view_of(scores, scores.evidence.which[sequence])
    begin, end = int(store.offsets[sequence]), int(store.offsets[sequence + 1])
    values = found.values[begin:end]
    events = [store.events[i] for i in store.sequence(sequence)]
    assert found.expected is not None
    assert found.probability is not None
    positions = []
    for place in np.argsort(-values, kind="stable")[:most].tolist():
        expected, probability = found.expected[begin + place], found.probability[begin + place]
        named = [
            (record.vocabulary.event(int(i)), float(p)) for i, p in zip(expected, probability, strict=True)
        ]
        positions.append(
            EventScore(
                position=place,
                event=events[place],
                surprisal=round(float(values[place]), 4),
                expected=[(event, round(p, 4)) for event, p in named if event is not None],
            )
        )
    known = set(record.vocabulary.events) if scores.findings.unseen[sequence] else set(events)
    unseen = [event for event in events if event not in known]
    return Explained(
        reason=reason(positions[0], unseen, len(events), record.templates),
        positions=positions,
        events=events,
        surprisals=[round(float(value), 4) for value in values],
        unseen_events=len(unseen),
    )


def _view_of(scores: StoreScores, component: str) -> Surprisals:
    """The surprisals that a component's evidence comes from; of a rule, those in order where there are any."""
    in_order = [found for view, found in scores.surprisals.items() if view != "bag"]
    if component == "bag" or not in_order:
        return scores.surprisals["bag"]
    return in_order[0]
