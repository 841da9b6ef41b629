from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from logbert_engine.explanation.counts import CountRow
from logbert_engine.explanation.lengths import LengthRow
from logbert_engine.explanation.sentence import Ending, Evidence, sentence
from logbert_engine.protocol.results import EventScore

TEMPLATES = {"11": "PacketResponder for block terminating", "26": "Received block"}
TOP = EventScore(position=13, event="E7", surprisal=9.5, expected=[(11, 0.981), (26, 0.01)])
RARE = "; more unusual than 9,987 of 10,000 normal sessions"
ORDER = Evidence(component="order", top=TOP, length=20, rarer_than=(9_987, 10_000))


def said(**changes: object) -> str:
    return sentence(replace(ORDER, **changes), TEMPLATES)  # type: ignore[arg-type]


def test_order_names_what_was_expected_where():
    expected = "expected 11 (PacketResponder for block terminating) (98%) at 14 of 20, saw E7"
    assert said() == expected + RARE
    assert said(component=None) == expected + RARE


def test_the_bag_names_no_place():
    assert said(component="bag") == (
        "expected 11 (PacketResponder for block terminating) (98%) among the others, saw E7" + RARE
    )
    alone = EventScore(position=0, event=26, surprisal=9.5, expected=[])
    assert said(component="bag", top=alone) == "event 26 (Received block) is unusual among the others" + RARE
    likely = EventScore(position=0, event=26, surprisal=0.5, expected=[(26, 0.6)])
    assert said(component="bag", top=likely).startswith(
        "nothing unexpected; least certain among the others: 26"
    )


def test_unseen_events_are_named_and_the_others_counted():
    assert said(component="unseen", unseen=["X"]) == "event X never seen in training" + RARE
    assert (
        said(component="unseen", unseen=["X", 9, "X"]) == "event X and 1 more never seen in training" + RARE
    )


def test_counts_stand_beside_those_of_ordinary_sessions():
    def counted(*rows: CountRow) -> str:
        return said(component="counts", counts=rows).removesuffix(RARE)

    eleven = "event 11 (PacketResponder for block terminating)"
    assert counted(CountRow(11, 5, 3, 3, 3)) == f"{eleven} occurs 5 times, ordinary sessions like it have 3"
    assert (
        counted(CountRow(11, 0, 3, 2, 4)) == f"{eleven} is missing, ordinary sessions like it have 3 (2 to 4)"
    )
    assert counted(CountRow("X", 1, 0, 0, 0)) == "event X occurs once, ordinary sessions like it have none"
    assert counted(CountRow("X", 5, 0, 0, 2)).endswith("ordinary sessions like it have none or up to 2")
    two = counted(CountRow("X", 1, 0, 0, 0), CountRow(2, 1, 0, 0, 0))
    assert two.endswith("have none; 1 more event differs")
    three = counted(*[CountRow("X", 1_000, 0, 0, 0)] * 3)
    assert three == "event X occurs 1,000 times, ordinary sessions like it have none; 2 more events differ"


def test_a_missing_end_names_the_last_event():
    assert said(component="end", ending=Ending(26)) == (
        "ends after 26 (Received block), where ordinary sessions go on" + RARE
    )
    assert said(component="end", ending=Ending(26, (11, 0.97))) == (
        "ends after 26 (Received block), where ordinary sessions go on with "
        "11 (PacketResponder for block terminating) (97%)" + RARE
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (LengthRow(3, 20, 2, 10_000), "3 events, shorter than all but 2 of 10,000 normal sessions"),
        (LengthRow(1, 20, 0, 10_000), "1 event, shorter than all 10,000 normal sessions"),
        (LengthRow(4_000, 20, 1, 500), "4,000 events, longer than all but 1 of 500 normal sessions"),
    ],
)
def test_a_length_is_compared(row: LengthRow, words: str):
    assert said(component="length", length_row=row) == f"{words} (median 20)"


def test_distance_speaks_of_the_whole():
    assert said(component="distance").startswith("as a whole far from")


def test_rarity_is_exact_at_both_ends():
    assert said(rarer_than=(10_000, 10_000)).endswith("; more unusual than all 10,000 normal sessions")
    assert said(rarer_than=(0, 0)).endswith("saw E7")


@pytest.mark.parametrize("component", ["unseen", "counts", "end", "length"])
def test_a_component_without_its_evidence_falls_back_on_the_top_position(component: str):
    assert said(component=component) == said()


def test_explaining_needs_no_torch():
    code = (
        "import sys, logbert_engine.explanation.sentence, logbert_engine.explanation.nearest, "
        "logbert_engine.explanation.alignment; sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
