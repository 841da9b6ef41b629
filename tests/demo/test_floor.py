"""The demo is neither trivial nor hopeless: no simple rule and no level of a line finds its faults alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from .conftest import Demo

Record = dict[str, Any]
Rule = Callable[[Record], bool]


def pairs(events: list[int]) -> set[tuple[int, int]]:
    return set(pairwise(events))


def rules(training: list[Record]) -> dict[str, Rule]:
    """The simple rules, fitted to all training sessions as a user would, faulty ones among them."""
    sequences = [record["event_sequence"] for record in training]
    events = {event for sequence in sequences for event in sequence}
    vectors = {tuple(sorted(sequence)) for sequence in sequences}
    known_pairs = {pair for sequence in sequences for pair in pairs(sequence)}
    low, high = min(map(len, sequences)), max(map(len, sequences))
    return {
        "unseen event": lambda record: not events.issuperset(record["event_sequence"]),
        "unseen count vector": lambda record: tuple(sorted(record["event_sequence"])) not in vectors,
        "unseen 2-gram": lambda record: not known_pairs.issuperset(pairs(record["event_sequence"])),
        "length": lambda record: not low <= len(record["event_sequence"]) <= high,
        "has_error": lambda record: record["has_error"],
        "has_warn": lambda record: record["has_warn"],
    }


def figures(rule: Rule, records: list[Record]) -> tuple[float, float, float]:
    """Precision, recall and false-alarm rate."""
    alarms = [record["label"] for record in records if rule(record)]
    faulty = sum(record["label"] for record in records)
    false = len(alarms) - sum(alarms)
    precision = sum(alarms) / len(alarms) if alarms else 0.0
    return precision, sum(alarms) / faulty, false / (len(records) - faulty)


@pytest.fixture(scope="module")
def floor(demo: Demo) -> dict[str, tuple[float, float, float]]:
    evaluation = demo.sessions("eval")
    return {name: figures(rule, evaluation) for name, rule in rules(demo.sessions("sessions")).items()}


@pytest.mark.parametrize("name", ["unseen event", "unseen count vector", "unseen 2-gram", "length"])
def test_no_simple_rule_finds_all_faults_without_false_alarms(
    floor: dict[str, tuple[float, float, float]], name: str, record_property: Callable[[str, object], None]
) -> None:
    precision, recall, false_alarms = floor[name]
    record_property("precision, recall, false alarms", floor[name])
    assert recall < 0.95
    assert 2 * precision * recall / max(precision + recall, 1e-9) < 0.75, floor[name]
    assert false_alarms < 0.15, "normal sessions resemble those of the training days"


def test_the_faults_are_not_beyond_all_rules(floor: dict[str, tuple[float, float, float]]) -> None:
    assert floor["unseen count vector"][1] > 0.6
    assert 0.05 < floor["unseen event"][1] < 0.4
    assert floor["unseen 2-gram"][1] > 0.2


@pytest.mark.parametrize("name", ["has_error", "has_warn"])
def test_the_level_of_its_lines_does_not_tell_a_faulty_session(
    floor: dict[str, tuple[float, float, float]], name: str, record_property: Callable[[str, object], None]
) -> None:
    precision, recall, _ = floor[name]
    record_property("precision, recall, false alarms", floor[name])
    assert precision < 0.75
    assert 0.15 < recall < 0.7


def test_no_other_field_of_a_session_tells_its_label(demo: Demo) -> None:
    """Neither the kind of session nor its hour nor its number gives faulty sessions away."""
    evaluation = demo.sessions("eval")
    faulty = [record for record in evaluation if record["label"]]
    for field in ("service_name", "time_window"):
        normal = {record[field] for record in evaluation if not record["label"]}
        alone = [record for record in faulty if record[field] not in normal]
        assert len(alone) < 0.2 * len(faulty), field
    assert len({record["service_name"] for record in faulty}) >= 3
    lengths = sorted(record["session_length"] for record in evaluation if not record["label"])
    inside = [lengths[0] <= record["session_length"] <= lengths[-1] for record in faulty]
    assert sum(inside) > 0.9 * len(faulty)


def test_rare_is_not_the_same_as_faulty(demo: Demo) -> None:
    """Administrators' work and handled trouble is as rare as faults are, and in order."""
    training, evaluation = demo.sessions("sessions"), demo.sessions("eval")
    share = Counter(event for record in training for event in set(record["event_sequence"]))
    rare = {event for event in demo.vocabulary() if share[event] < len(training) / 200}
    labels = Counter(record["label"] for record in evaluation if rare & set(record["event_sequence"]))
    assert labels[0] > labels[1] > 0
