from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.models.vocabulary import (
    BAG,
    CLS,
    END,
    MARKERS,
    MASK,
    MORE,
    PAD,
    UNK,
    EventId,
    Vocabulary,
)

EVENT_IDS = st.lists(st.integers(-(2**70), 2**70) | st.text(max_size=4), max_size=12, unique=True)


@given(EVENT_IDS, st.integers(0, 60))
def test_every_event_has_a_row_of_its_own_above_markers_and_reserved_rows(
    events: list[EventId], reserved: int
) -> None:
    vocabulary = Vocabulary(events=events, reserved=reserved)
    rows = vocabulary.lookup(events).tolist()
    assert rows == list(range(MARKERS + reserved, vocabulary.size))
    assert [vocabulary.event(row) for row in rows] == events


def test_zero_and_texts_are_events_like_others() -> None:
    vocabulary = Vocabulary(events=[0, "0", "E7", 7], reserved=0)
    assert vocabulary.lookup([0, "0", "E7", 7]).tolist() == [8, 9, 10, 11]
    assert PAD not in vocabulary.lookup([0, "0"]).tolist()


def test_an_event_that_is_not_known_is_unknown_whatever_its_type() -> None:
    vocabulary = Vocabulary(events=[0, "E7"], reserved=4)
    assert vocabulary.lookup(["0", 1, "e7", -1, "", 2**65]).tolist() == [UNK] * 6


def test_markers_and_reserved_rows_are_no_events() -> None:
    vocabulary = Vocabulary(events=["only"], reserved=4)
    assert [vocabulary.event(row) for row in range(vocabulary.first)] == [None] * vocabulary.first
    assert vocabulary.event(vocabulary.size) is None
    assert len({PAD, CLS, END, MASK, UNK, BAG, MORE}) == 7
    assert max(PAD, CLS, END, MASK, UNK, BAG, MORE) < MARKERS


@given(EVENT_IDS)
def test_numbers_and_texts_stay_apart_through_json(events: list[EventId]) -> None:
    vocabulary = Vocabulary(events=events, reserved=1)
    again = msgspec.json.decode(msgspec.json.encode(vocabulary), type=Vocabulary)
    assert again == vocabulary
    assert [type(event) for event in again.events] == [type(event) for event in events]
