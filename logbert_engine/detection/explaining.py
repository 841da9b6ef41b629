"""Why a sequence is odd: what each of its events surprises by, what was expected, and a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np

from logbert_engine.data.contract import EventId
from logbert_engine.data.store import Store
from logbert_engine.detection.comparing import Comparing, as_differences
from logbert_engine.detection.scoring import StoreScores
from logbert_engine.explanation.sentence import Component, Ending, Evidence, sentence
from logbert_engine.models.checkpoint import ModelRecord
from logbert_engine.models.surprisal import Surprisals
from logbert_engine.protocol.results import CountDifference, EventScore, Nearest
from logbert_engine.triage.verdicts import signature


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
    signature: str
    """What sequences of the same events have in common."""
    counts: list[CountDifference]
    nearest: Nearest | None


def explain(
    store: Store,
    scores: StoreScores,
    record: ModelRecord,
    comparing: Comparing,
    sequence: int,
    *,
    most: int,
    detailed: bool,
    beside: bool,
) -> Explained:
    """Explain a sequence of a store.

    Args:
        store: that was scored.
        scores: of the store.
        record: of the model.
        comparing: with the model's ordinary sessions.
        sequence: index of the distinct sequence.
        most: positions to tell of.
        detailed: whether to compare how often events occur.
        beside: whether to look for the nearest ordinary session, which takes longest.
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
                surprisal=round(float(values[place]), 6),
                expected=[(event, round(p, 4)) for event, p in named if event is not None],
            )
        )
    known = set(record.vocabulary.events) if scores.findings.unseen[sequence] else set(events)
    unseen = [event for event in events if event not in known]
    tokens = record.vocabulary.lookup(store.events)[store.sequence(sequence)].astype(np.int32)
    component = cast("Component", scores.evidence.which[sequence])
    rows = comparing.counts(tokens, events) if detailed else []
    assert record.calibration is not None
    evidence = Evidence(
        component=component,
        top=positions[0],
        length=len(events),
        rarer_than=rarer_than(float(scores.p[sequence]), record.calibration.sessions),
        unseen=unseen,
        counts=rows,
        ending=Ending(last=events[-1]) if component == "end" else None,
        length_row=comparing.length(len(events)) if component == "length" else None,
    )
    return Explained(
        reason=sentence(evidence, record.templates),
        positions=positions,
        events=events,
        surprisals=[round(float(value), 6) for value in values],
        unseen_events=len(unseen),
        signature=signature(events),
        counts=as_differences(rows),
        nearest=comparing.nearest(tokens, events) if beside else None,
    )


def rarer_than(p: float, sessions: int) -> tuple[int, int]:
    """Of how many held-out sessions a p-value leaves fewer as odd: (those less odd, all); (0, 0) below half."""
    less = sessions - math.ceil(p * (sessions + 1)) + 1
    return (min(less, sessions), sessions) if 2 * less >= sessions else (0, 0)


def _view_of(scores: StoreScores, component: str) -> Surprisals:
    """The surprisals that a component's evidence comes from; of a rule, those in order where there are any."""
    in_order = [found for view, found in scores.surprisals.items() if view != "bag"]
    if component == "bag" or not in_order:
        return scores.surprisals["bag"]
    return in_order[0]
