from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.protocol.errors import TriageError, error_of_kind
from logbert_engine.triage.verdicts import Change, Judgement, Target, check, holding, signature

SAME = "a" * 64
ids = st.integers() | st.text()


@given(st.lists(ids, max_size=6), st.lists(ids, max_size=6))
def test_signatures_are_equal_exactly_for_equal_sequences(a: list[int | str], b: list[int | str]):
    assert (signature(a) == signature(b)) == (a == b)


def test_a_signature_is_the_same_for_ever():
    assert signature([5, "E22", 7]) == "24e9c6ac3f43ece3db170c9feca73e5331c25c8dbef8c2c96f9d4f496e53ce58"


def test_a_signature_tells_order_and_type_apart_and_not_whose_number_it_is():
    assert signature([1, 2]) != signature([2, 1])
    assert signature([1, 2]) != signature(["1", 2])
    assert signature(np.array([1, 2])) == signature((1, 2))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("judgement", "words"),
    [
        (Judgement(target=Target("session", 1), verdict="odd"), "normal, anomaly, ignore, suppress"),  # type: ignore[arg-type]
        (Judgement(target=Target("run", 1), verdict="normal"), "a session or a signature"),  # type: ignore[arg-type]
        (Judgement(target=Target("session", True), verdict="normal"), "a number or a text"),
        (Judgement(target=Target("session", None), verdict="normal"), "a number or a text"),  # type: ignore[arg-type]
        (Judgement(target=Target("signature", "abc"), verdict="normal"), "64 hex digits"),
        (Judgement(target=Target("signature", 7), verdict="normal"), "64 hex digits"),
        (Judgement(target=Target("signature", SAME), verdict="ignore"), "one session only"),
        (Judgement(target=Target("session", 1), verdict="normal", until=200.0), "only suppress takes a time"),
        (Judgement(target=Target("session", 1), verdict="suppress"), "a time in the future"),
        (Judgement(target=Target("session", 1), verdict="suppress", until=100.0), "a time in the future"),
        (
            Judgement(target=Target("session", 1), verdict="suppress", until=float("inf")),
            "a time in the future",
        ),
    ],
)
def test_a_verdict_that_makes_no_sense_is_refused(judgement: Judgement, words: str):
    with pytest.raises(TriageError, match=words):
        check(judgement, now=100.0)


def given_verdict(seq: int, target: Target, verdict: str, **more: object) -> Change:
    return Change(seq=seq, act=seq, when=0.0, who="ana", target=target, verdict=verdict, **more)  # type: ignore[arg-type]


def test_a_sessions_own_verdict_beats_that_of_its_signature():
    held = holding(
        [
            given_verdict(1, Target("session", 5), "anomaly"),
            given_verdict(2, Target("signature", SAME), "normal"),
        ],
        now=0.0,
    )
    assert [getattr(held.of(session, SAME), "verdict", None) for session in (5, "5", 6)] == [
        "anomaly",
        "normal",
        "normal",
    ]
    assert held.of(6, "b" * 64) is None


def test_what_stood_before_a_suppress_stands_again_after_it():
    target = Target("signature", SAME)
    changes = [given_verdict(1, target, "anomaly"), given_verdict(2, target, "suppress", until=50.0)]
    assert [getattr(holding(changes, now).of(1, SAME), "verdict", None) for now in (49.9, 50.0)] == [
        "suppress",
        "anomaly",
    ]


def test_an_undo_brings_the_verdict_before_back():
    target = Target("session", "s")
    changes = [
        given_verdict(1, target, "normal"),
        given_verdict(2, target, "anomaly"),
        given_verdict(3, target, "anomaly", undoes=2),
    ]
    assert holding(changes, 0.0).by_session == {"s": changes[0]}


def test_the_error_keeps_its_class_over_the_wire():
    assert type(error_of_kind("triage", "no")) is TriageError


def test_triage_needs_no_torch():
    code = "import sys, logbert_engine.triage.database; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
