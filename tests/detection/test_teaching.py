"""What people judged normal is ordinary from then on, and a simulated operator gains by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from logbert_engine.data.contract import EventId
from logbert_engine.data.store import Store, open_store
from logbert_engine.detection.operating import operate, true_answers
from logbert_engine.detection.scoring import StoreScores, Weighing, surprisals_of
from logbert_engine.detection.teaching import Taught, passed_over
from logbert_engine.models.checkpoint import ModelRecord
from logbert_engine.models.encoder import MaskedModel
from logbert_engine.models.surprisal import Surprisals

Write = Callable[..., Path]
NEW: list[list[EventId]] = [
    ["new", 0, "E1", 5],
    [9, "new", 5],
    ["newer", "new", 9],
    ["odd", "odd", 9],
    [0, "E1", 5],
]
"""Later sessions: a new kind of event that is ordinary, another one, one that is an anomaly, and an old one."""


@pytest.fixture
def later(write: Write) -> Store:
    return open_store([write("sessions/preprocessed_logs_2025-04-03.json", NEW, label=[0, 0, 0, 1, 0])])


@pytest.fixture
def weighing(model: MaskedModel, record: ModelRecord, later: Store) -> Callable[[Taught], StoreScores]:
    found = surprisals_of(model, record, later, torch.device("cpu"))
    return Weighing(record, later, found, 0.05).scores


def place(store: Store, events: list[EventId]) -> int:
    """Of a distinct sequence in the store."""
    return next(u for u in range(store.n_unique) if [store.events[i] for i in store.sequence(u)] == events)


def test_events_of_sessions_that_were_judged_normal_are_known_in_all_others(
    weighing: Callable[[Taught], StoreScores], later: Store
) -> None:
    before, after = weighing([]), weighing([NEW[0]])
    taught, same_event, more, odd, old = (place(later, events) for events in NEW)
    assert before.findings.unseen[[taught, same_event, more, odd, old]].tolist() == [1, 1, 1, 1, 0]
    assert after.findings.unseen[[taught, same_event, more, odd, old]].tolist() == [0, 0, 1, 1, 0]
    for scores, unseen in ((before, True), (after, False)):
        assert ((scores.evidence.p["unseen"][[taught, same_event]] < 1) == unseen).all()
    assert (after.mean[[taught, same_event]] < before.mean[[taught, same_event]]).all()
    assert after.p[odd] == before.p[odd]
    assert after.score[old] == before.score[old]
    assert not after.findings.counts[taught]
    assert after.findings.pairs[taught] == 0


def test_without_verdicts_nothing_changes(weighing: Callable[[Taught], StoreScores], later: Store) -> None:
    one, other = weighing([]), weighing([[0, "E1", 5]])
    assert one.evidence.weight.tolist() == other.evidence.weight.tolist(), "that one was ordinary before"


def test_positions_that_are_left_out_take_the_mean_of_the_others() -> None:
    found = Surprisals(
        sequence=np.arange(3),
        offsets=np.array([0, 3, 5, 6]),
        values=np.array([1, 9, 3, 4, 6, 7], dtype=np.float32),
    )
    out = passed_over(found, np.array([False, True, False, False, False, True]))
    assert out.values.tolist() == [1, 2, 3, 4, 6, 0]
    assert out.means().tolist() == [2, 5, 0]
    assert passed_over(found, np.zeros(6, dtype=np.bool_)) is found


def test_what_an_operator_answers_is_settled_and_what_is_ordinary_teaches(
    weighing: Callable[[Taught], StoreScores],
    later: Store,
) -> None:
    of = np.asarray(later.sequence_of)
    anomalous, sessions = true_answers(np.asarray(later.label), of, later.n_unique)
    asked: list[list[EventId]] = []

    def events_of(u: int) -> list[EventId]:
        asked.append([later.events[i] for i in later.sequence(u)])
        return asked[-1]

    found = operate(weighing, events_of, anomalous, sessions, of, 4)
    assert [detector.name for detector in found] == ["after 0 answers", "after 4 answers"]
    labels = np.asarray(later.label)
    first, last = found
    assert first.alarm.sum() > labels.sum(), "new events alarm until somebody says that they are ordinary"
    assert last.alarm.tolist() == (labels == 1).tolist()
    assert np.argmax(last.score) == int(np.flatnonzero(labels)[0])
    assert all(events != NEW[3] for events in asked), "an anomaly teaches nothing"
    assert len({tuple(events) for events in asked}) == len(asked), "no signature is shown twice"


def test_more_answers_than_signatures_end_with_the_last(
    weighing: Callable[[Taught], StoreScores],
    later: Store,
) -> None:
    of = np.asarray(later.sequence_of)
    anomalous, sessions = true_answers(np.asarray(later.label), of, later.n_unique)
    found = operate(
        weighing, lambda u: [later.events[i] for i in later.sequence(u)], anomalous, sessions, of, 50
    )
    assert [detector.name for detector in found] == ["after 0 answers", "after 5 answers"]
    assert found[-1].alarm.tolist() == (np.asarray(later.label) == 1).tolist()


def test_what_most_alarms_have_in_common_is_shown_first_and_once(
    weighing: Callable[[Taught], StoreScores], write: Write, model: MaskedModel, record: ModelRecord
) -> None:
    kinds: list[list[EventId]] = [
        ["odd", 9],
        ["odd", 5, 9],
        ["often", 0],
        ["often", 5],
        ["often", 9, 9],
        ["once", 0],
    ]
    times, labels = [3, 1, 4, 2, 2, 1], [1, 1, 0, 0, 0, 0]
    sequences = [events for events, n in zip(kinds, times, strict=True) for _ in range(n)]
    label = [label for label, n in zip(labels, times, strict=True) for _ in range(n)]
    store = open_store([write("more/preprocessed_logs_2025-04-04.json", sequences, label=label)])
    found = surprisals_of(model, record, store, torch.device("cpu"))
    taught: list[Taught] = []

    def weigh(known: Taught) -> StoreScores:
        taught.append(list(known))
        return Weighing(record, store, found, 0.05).scores(known)

    of = np.asarray(store.sequence_of)
    anomalous, sessions = true_answers(np.asarray(store.label), of, store.n_unique)
    shown = operate(weigh, lambda u: [store.events[i] for i in store.sequence(u)], anomalous, sessions, of, 2)
    assert taught == [[], [["often", 0]]], "the second answer was that to the anomalies"
    before, after = shown[0], shown[-1]
    assert before.alarm.all()
    assert after.alarm[np.array(label) == 1].all(), "those like the confirmed one stay alarms, unasked"
    assert after.alarm.sum() < before.alarm.sum()
    assert np.isinf(after.score).sum() == 3 + 4, "of each of the two what most sessions hold was settled"
