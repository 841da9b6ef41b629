from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.explanation.alignment import Step, align, applied
from tests.explanation.building import edit_distance

event_ids = st.integers(-3, 4) | st.sampled_from(["a", "b", "97", "\ud800", "-1"]) | st.just(10**30)
sessions = st.lists(event_ids, max_size=14)


@given(sessions, sessions)
def test_the_steps_make_the_session_of_the_normal_one(seen, normal):
    assert applied(align(seen, normal), normal) == seen


@given(sessions, sessions)
def test_the_steps_are_the_fewest_and_their_runs_are_merged(seen, normal):
    steps = align(seen, normal)
    changed = sum(max(len(s.seen), len(s.normal)) for s in steps if s.kind != "keep")
    assert changed == edit_distance(seen, normal)
    assert all(a.kind != b.kind for a, b in pairwise(steps))


@given(sessions, sessions)
def test_the_places_are_those_in_both(seen, normal):
    seen_at = normal_at = 0
    for step in align(seen, normal):
        assert (step.seen_at, step.normal_at) == (seen_at, normal_at)
        assert tuple(seen[seen_at : seen_at + len(step.seen)]) == step.seen
        match step.kind:
            case "keep":
                assert step.seen == step.normal
            case "substitute":
                assert len(step.seen) == len(step.normal)
                assert all(a != b for a, b in zip(step.seen, step.normal, strict=True))
            case "insert":
                assert step.seen
                assert not step.normal
            case "delete":
                assert step.normal
                assert not step.seen
        seen_at += len(step.seen)
        normal_at += len(step.normal)
    assert (seen_at, normal_at) == (len(seen), len(normal))


def test_each_kind_of_step_is_told_apart():
    assert align([1, 2, 9, 3, 4, 6], [1, 2, 3, 4, 5, 6]) == [
        Step("keep", 0, 0, (1, 2), (1, 2)),
        Step("insert", 2, 2, (9,), ()),
        Step("keep", 3, 2, (3, 4), (3, 4)),
        Step("delete", 5, 4, (), (5,)),
        Step("keep", 5, 5, (6,), (6,)),
    ]
    assert align([1, 7], [1, 2])[-1] == Step("substitute", 1, 1, (7,), (2,))


def test_a_number_is_not_the_text_of_it():
    assert [step.kind for step in align([97, "97", "a"], ["a", 97, "97"])] != ["keep"]


def test_steps_of_another_session_are_refused():
    steps = align([1, 2], [1, 3])
    with pytest.raises(ValueError, match="not of this session"):
        applied(steps, [4, 3])
    with pytest.raises(ValueError, match="end at 2 of 3"):
        applied(steps, [1, 3, 3])


def test_a_hundred_thousand_events_are_aligned():
    random = np.random.default_rng(1)
    normal = random.integers(0, 50, 100_000).tolist()
    seen = [*normal[:40_000], 99, *normal[40_100:]]
    assert applied(align(seen, normal), normal) == seen
