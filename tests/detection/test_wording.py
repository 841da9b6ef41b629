from __future__ import annotations

from logbert_engine.detection.wording import named, reason
from logbert_engine.protocol.results import EventScore

TEMPLATES = {
    "26": "BLOCK* NameSystem.addStoredBlock: blockMap updated: <*> is added to <*>",
    "E1": "one\n  two",
}


def worst(event: int | str, *expected: tuple[int | str, float]) -> EventScore:
    return EventScore(position=2, event=event, surprisal=6.5, expected=list(expected))


def test_an_event_is_named_with_its_template_on_one_short_line() -> None:
    assert named("E1", TEMPLATES) == "E1 (one two)"
    assert named(26, TEMPLATES) == "26 (BLOCK* NameSystem.addStoredBlock: blockMap upda…)"
    assert named(7, TEMPLATES) == "7"
    assert named(0, {"0": "  "}) == "0"


def test_what_was_expected_and_what_was_seen_is_told() -> None:
    said = reason(worst("E1", (5, 0.973), ("E1", 0.01)), [], 19, {"5": "open"})
    assert said == "expected 5 (open) (97%) at 3 of 19, saw E1"


def test_a_session_whose_events_were_all_expected_says_so() -> None:
    assert reason(worst(5, (5, 0.6)), [], 4, {}) == "nothing unexpected; least certain at 3 of 4: 5"


def test_unseen_events_come_first_and_are_counted_once_each() -> None:
    assert reason(worst(5, (5, 0.6)), ["new"], 4, {}) == "event new never seen in training"
    assert reason(worst(5), ["new"] * 3, 4, {}) == "event new never seen in training"
    assert reason(worst(5), ["new", 9, "new", 0], 4, {}) == "event new and 2 more never seen in training"


def test_without_expectations_the_place_alone_is_told() -> None:
    assert reason(worst(0), [], 4, {}) == "0 at 3 of 4 is unusual"
