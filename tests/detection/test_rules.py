"""The floor against brute force, and against the figures that come with the labelled sessions."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from logbert_engine.data.normals import Normals, normals_of
from logbert_engine.data.reading import session_files
from logbert_engine.data.store import Store, open_store
from logbert_engine.detection.rules import RULES, Findings, Rate, Rules
from logbert_engine.models.vocabulary import UNK, Vocabulary

Sequence = list[int]
EVENTS = st.sampled_from([UNK, 10, 11, 12, 13, 64])
SEQUENCES = st.lists(st.lists(EVENTS, min_size=1, max_size=6), min_size=1, max_size=8)
KNOWN = st.lists(
    st.tuples(st.lists(EVENTS, min_size=1, max_size=6), st.integers(1, 3)),
    min_size=1,
    max_size=10,
    unique_by=lambda pair: tuple(pair[0]),
)


def flat(sequences: list[Sequence]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    offsets = np.cumsum([0, *map(len, sequences)])
    return np.array([event for events in sequences for event in events], dtype=np.int32), offsets


def normals(known: list[tuple[Sequence, int]]) -> Normals:
    tokens, offsets = flat([events for events, _ in known])
    return Normals(tokens=tokens, offsets=offsets, counts=np.array([count for _, count in known]))


def pairs(events: Sequence) -> list[tuple[int, int]]:
    return list(itertools.pairwise(events))


def by_hand(known: list[Sequence], events: Sequence) -> tuple[int, bool, int, bool]:
    """What the rules find in a session, one ordinary session after the other."""
    seen = {event for other in known for event in other} - {UNK}
    unseen = len({event for event in events if event not in seen})
    counts = all(Counter(other) != Counter(events) for other in known)
    new_pairs = sum(all(pair not in pairs(other) for other in known) for pair in pairs(events))
    lengths = [len(other) for other in known]
    return unseen, counts, new_pairs, not min(lengths) <= len(events) <= max(lengths)


def rows(found: Findings) -> list[tuple[int, bool, int, bool]]:
    columns = (found.unseen.tolist(), found.counts.tolist(), found.pairs.tolist(), found.length.tolist())
    return list(zip(*columns, strict=True))


@given(KNOWN, SEQUENCES)
def test_rules_find_what_a_look_at_every_ordinary_session_finds(
    known: list[tuple[Sequence, int]], sequences: list[Sequence]
) -> None:
    found = Rules(normals(known)).find(*flat(sequences))
    assert rows(found) == [by_hand([events for events, _ in known], events) for events in sequences]
    for rule, column in zip(RULES, zip(*rows(found), strict=True), strict=True):
        assert found.fires(rule).tolist() == [value > 0 for value in column]


@given(KNOWN.filter(lambda known: sum(count for _, count in known) > 1))
def test_rates_are_those_of_leaving_each_session_out_and_fitting_anew(
    known: list[tuple[Sequence, int]],
) -> None:
    sessions = [events for events, count in known for _ in range(count)]
    alarms = Counter[str]()
    for i, events in enumerate(sessions):
        others = Counter(tuple(other) for other in sessions[:i] + sessions[i + 1 :])
        found = Rules(normals([(list(other), count) for other, count in others.items()])).find(
            *flat([events])
        )
        alarms.update(rule for rule in RULES if found.fires(rule)[0])
    assert Rules(normals(known)).left_out() == {
        rule: Rate(alarms=alarms[rule], sessions=len(sessions)) for rule in RULES
    }


@given(KNOWN, SEQUENCES, st.randoms(use_true_random=False))
def test_what_rules_find_does_not_depend_on_the_order_of_sessions(
    known: list[tuple[Sequence, int]], sequences: list[Sequence], random: object
) -> None:
    found = rows(Rules(normals(known)).find(*flat(sequences)))
    turned = list(range(len(sequences)))
    random.shuffle(turned)  # type: ignore[attr-defined]
    again = rows(Rules(normals(known[::-1])).find(*flat([sequences[i] for i in turned])))
    assert again == [found[i] for i in turned]


def test_an_unknown_event_is_unseen_although_ordinary_sessions_held_unknown_ones() -> None:
    rules = Rules(normals([([UNK, 10], 5), ([10, 10], 3)]))
    found = rules.find(*flat([[UNK, 10], [10, 10], [10, 10, UNK, UNK]]))
    assert found.unseen.tolist() == [1, 0, 1], "all unknown events count as one"
    assert rules.left_out()["unseen"] == Rate(alarms=5, sessions=8)


def test_a_bag_is_how_often_each_event_occurs() -> None:
    rules = Rules(normals([([10, 11, 11, 12], 1)]))
    sequences = [[11, 12, 11, 10], [10, 11, 12], [10, 10, 11, 12], [10, 11, 11, 12, 12]]
    assert rules.find(*flat(sequences)).counts.tolist() == [False, True, True, True]


def test_two_events_are_a_pair_only_within_a_session() -> None:
    rules = Rules(normals([([10, 11], 1), ([12, 10], 1)]))
    assert rules.find(*flat([[10], [12], [11, 12], [12, 10, 11], [10, 12]])).pairs.tolist() == [0, 0, 1, 0, 1]


@given(st.integers(0, 50), st.integers(0, 1000))
def test_the_share_of_a_rule_is_never_zero_and_at_least_what_was_counted(alarms: int, more: int) -> None:
    rate = Rate(alarms=alarms, sessions=alarms + more + 1)
    assert alarms / rate.sessions <= rate.upper <= 1
    assert rate.upper > 0


def test_rates_foretell_how_often_rules_alarm_on_sessions_to_come() -> None:
    """An event of many rare ones, so that new ones come up all the time (Good's estimate of what is unseen)."""
    rng = np.random.default_rng(5)
    share = 1 / np.arange(1, 3001) ** 1.5
    drawn = 10 + rng.choice(3000, size=(12_000, 4), p=share / share.sum()).astype(np.int32)
    sequences, which, counts = np.unique(drawn[:4000], axis=0, return_inverse=True, return_counts=True)
    rules = Rules(normals(list(zip(sequences.tolist(), counts.tolist(), strict=True))))
    found = rules.find(*flat(drawn[4000:].tolist()))
    rates = rules.left_out()
    assert len(which) == rates["unseen"].sessions
    for rule in ("unseen", "counts", "pairs"):
        realised = float(found.fires(rule).mean())
        assert realised > 0.01
        assert rates[rule].upper == pytest.approx(realised, rel=0.1)


CASES = {
    "HDFS classic 4,855 train -> shared eval (dated+bulk), normals weighted to natural rate": (
        "hdfs",
        ("eval_dated", "eval_bulk"),
        33.6,
    ),
    "bgl_node -> shared eval": ("bgl_node", ("eval",), 1.0),
    "bgl_w20 -> shared eval": ("bgl_w20", ("eval",), 1.0),
    "hadoop -> shared eval": ("hadoop", ("eval",), 1.0),
}
UNIONS = {
    "unseen event": ("unseen",),
    "unseen event or count vector": ("unseen", "counts"),
    "unseen event or 2-gram": ("unseen", "pairs"),
    "unseen event or length": ("unseen", "length"),
}
CLASSIC = 4855


def f1(label: NDArray[np.int8], alarms: NDArray[np.bool_], weight: float) -> float:
    hits = float((alarms & (label == 1)).sum())
    false = float((alarms & (label == 0)).sum()) * weight
    missed = float((~alarms & (label == 1)).sum())
    return 2 * hits / (2 * hits + false + missed)


def known_of(store: Store, sessions: NDArray[np.int64]) -> tuple[Normals, Vocabulary]:
    held = {store.events[i] for s in np.unique(store.sequence_of[sessions]) for i in store.sequence(int(s))}
    vocabulary = Vocabulary(events=sorted(held, key=str), reserved=2)
    return normals_of(store, sessions, vocabulary.lookup(store.events)), vocabulary


@pytest.mark.shared
@pytest.mark.parametrize("case", CASES, ids=[name for name, _, _ in CASES.values()])
def test_on_labelled_sessions_rules_reach_the_figures_that_come_with_them(
    shared_data: Path, case: str
) -> None:
    name, pools, weight = CASES[case]
    expected = json.loads((shared_data / "baselines.json").read_text())[case]["detectors"]
    trained = open_store(session_files(shared_data / name / "train"))
    sessions = np.arange(trained.n_sessions)
    if name == "hdfs":
        ids = [str(trained.session_id(i)) for i in sessions.tolist()]
        sessions = np.array([i for i, own in enumerate(ids) if "ld-000001" <= own <= f"ld-{CLASSIC:06d}"])
        assert len(sessions) == CLASSIC
    ordinary, vocabulary = known_of(trained, sessions)
    store = open_store([file for pool in pools for file in session_files(shared_data / name / pool)])
    tokens = vocabulary.lookup(store.events)[store.tokens].astype(np.int32)
    found = Rules(ordinary).find(tokens, np.asarray(store.offsets))
    label = np.asarray(store.label)
    assert (label >= 0).all()
    for union, rules in UNIONS.items():
        alarms = np.any([found.fires(rule) for rule in rules], axis=0)[store.sequence_of]
        assert f1(label, alarms, weight) == pytest.approx(expected[union]["F1"], abs=1e-4), union
