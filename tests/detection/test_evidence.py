"""Evidence against counting by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.detection import evidence
from logbert_engine.detection.evidence import (
    FIRING,
    KEPT,
    Evidence,
    decisive,
    evidence_of,
    p_values,
    places_left_out,
    ranking,
    sample_of,
    statistics_of,
)
from logbert_engine.detection.rules import Rate
from logbert_engine.models.surprisal import Surprisals
from tests.detection.drawing import NAMES, calibrated, drawn, findings, weigh

FINITE = st.floats(-50, 50).map(lambda value: round(value, 3))
SOME = st.lists(FINITE, min_size=1, max_size=30)


# One statistic


@given(SOME, SOME)
def test_a_p_value_is_the_share_of_ordinary_sessions_as_far_out(
    ordinary: list[float], values: list[float]
) -> None:
    found = p_values(np.sort(ordinary), np.array(values))
    tail = sorted(ordinary)[-max(1, round(len(ordinary) / 10))]
    for value, p in zip(values, found.tolist(), strict=True):
        assert 0 < p <= 1
        if value <= tail:
            assert p == pytest.approx((1 + sum(other >= value for other in ordinary)) / (len(ordinary) + 1))


@given(SOME, SOME)
def test_what_lies_further_out_has_no_higher_p_value(ordinary: list[float], values: list[float]) -> None:
    found = p_values(np.sort(ordinary), np.sort(values))
    assert (np.diff(found) <= 0).all()


@pytest.mark.parametrize("spread", [1e-3, 1.0, 40.0])
def test_in_the_tail_p_values_fall_as_the_values_do(spread: float) -> None:
    """Drawn from an exponential law, which is the tail's own, they are its probabilities."""
    ordinary = np.sort(np.random.default_rng(3).exponential(spread, 20_000))
    far = spread * np.linspace(3.0, 300.0, 2000)
    found = p_values(ordinary, far)
    assert (np.diff(found) < 0).all()
    assert found[-1] > 0
    near = far <= 9 * spread  # as far as 20,000 can tell
    assert np.log(found[near]) == pytest.approx(-far[near] / spread, rel=0.05)


def test_further_out_than_all_ordinary_values_p_values_fall_as_a_pareto_law_does() -> None:
    ordinary = np.sort(np.random.default_rng(3).exponential(1.0, 20_000))
    at, twice_as_far = p_values(ordinary, np.array([1e4, 2e4]))
    assert at / twice_as_far == pytest.approx(4.0, rel=0.01), "its index is 2"
    edge = float(np.log(20_001))
    below, above = p_values(ordinary, np.array([edge - 1e-3, edge + 1e-3]))
    assert below == pytest.approx(above, rel=0.01), "the two laws meet"


def test_what_hardly_varies_among_ordinary_sessions_does_not_outweigh_all_else() -> None:
    rng = np.random.default_rng(4)
    statistics = {"order.mean": rng.exponential(1.0, 5000), "order.end": rng.exponential(1e-4, 5000)}
    calibration = calibrated(statistics)
    later = {"order.mean": np.array([8.0]), "order.end": np.array([0.05])}
    assert -13 < weigh(calibration, later).weight[0] < -9, "500 times what is usual, but 0.05 nats"


def test_where_ordinary_sessions_are_all_alike_p_values_are_sound() -> None:
    found = p_values(np.full(99, 0.5), np.array([0.0, 0.5, 0.5 + 1e-6, 0.6, 1e9]))
    assert found[:3].tolist() == [1.0, 1.0, 1.0], "the last digits are those of what it was scored with"
    assert (found[3:] <= 0.11).all()
    assert (found > 0).all()
    assert (np.diff(found) <= 0).all()


@given(st.lists(FINITE, min_size=2, max_size=60))
def test_each_of_the_ordinary_sessions_can_be_compared_with_the_others(ordinary: list[float]) -> None:
    values = np.sort(ordinary)
    others = [p_values(np.delete(values, i), values[i : i + 1])[0] for i in range(len(values))]
    assert p_values(values, values, among=True).tolist() == pytest.approx(others, rel=1e-6, abs=1e-250)


# What is kept of ordinary sessions

WEIGHTED = st.lists(st.tuples(FINITE, st.integers(1, 40)), min_size=1, max_size=30)


@given(WEIGHTED)
def test_few_values_are_kept_as_they_are(pairs: list[tuple[float, int]]) -> None:
    values, counts = np.array([v for v, _ in pairs]), np.array([c for _, c in pairs])
    assert sample_of(values, counts) == np.sort(np.repeat(values, counts)).tolist()


@given(WEIGHTED, st.integers(1, 50))
def test_of_many_values_some_at_even_steps_are_kept_and_always_the_highest(
    pairs: list[tuple[float, int]], most: int
) -> None:
    values, counts = np.array([v for v, _ in pairs]), np.array([c for _, c in pairs])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence, "KEPT", most)
        kept = sample_of(values, counts)
    written_out = np.sort(np.repeat(values, counts))
    assert len(kept) == min(most, len(written_out))
    assert kept[-1] == written_out[-1]
    assert kept == sorted(kept)
    steps = np.searchsorted(written_out, kept, side="right") / len(written_out)
    assert (steps >= np.arange(1, len(kept) + 1) / len(kept) - 1e-9).all()


def test_no_more_than_ten_thousand_are_kept_of_a_million() -> None:
    values = np.random.default_rng(2).normal(size=1000)
    kept = sample_of(values, np.full(1000, 1000))
    assert len(kept) == KEPT == 10_000
    assert kept[-1] == values.max()
    assert np.mean(np.array(kept) > 1.0) == pytest.approx((values > 1.0).mean(), abs=1e-3)


def test_the_statistics_are_the_mean_in_order_and_the_root_mean_square_in_the_bag() -> None:
    found = Surprisals(
        sequence=np.arange(2),
        offsets=np.array([0, 3, 4]),
        values=np.array([1, 2, 6, 5], dtype=np.float32),
    )
    expected = {"order.mean": [3.0, 5.0], "bag.rms": [math.sqrt(41 / 3), 5.0], "counts.distance": [0.0, 0.3]}
    statistics = statistics_of({"next": found, "bag": found}, np.array([0.0, 0.3]))
    assert {n: v.tolist() for n, v in statistics.items()} == {
        n: pytest.approx(v) for n, v in expected.items()
    }
    assert set(statistics_of({"order": found})) == {"order.mean"}
    ended = replace(found, end=np.array([0.5, 7], dtype=np.float32))
    assert statistics_of({"next": ended})["order.end"].tolist() == [0.5, 7.0]
    afar = replace(found, distance=np.array([0.25, 4], dtype=np.float32))
    near = replace(found, distance=np.array([0.75, 2], dtype=np.float32))
    assert statistics_of({"next": found, "bag": afar})["distance"].tolist() == [0.25, 4.0]
    assert statistics_of({"order": near, "bag": afar})["distance"].tolist() == [0.5, 3.0]
    assert set(NAMES) == {*expected, "order.end", "distance"}


# Together


def test_evidence_is_the_product_of_the_two_lowest_p_values_and_names_the_kind_of_the_lowest() -> None:
    samples = {"order.mean": [1.0, 2.0, 3.0], "bag.rms": [1.0, 2.0, 3.0]}
    rates = {"unseen": Rate(0, 99), "counts": Rate(9, 19), "length": Rate(0, 9), "pairs": Rate(0, 10**6)}
    statistics = {
        "order.mean": np.array([3.0, 0.0, 0.0, 0.0, 1.5]),
        "bag.rms": np.array([0.0, 2.5, 0.0, 0.0, 0.0]),
    }
    found = findings(
        5,
        unseen=np.array([0, 0, 1, 3, 0]),
        counts=np.array([0, 0, 1, 1, 1]),
        length=np.array([0, 0, 0, 1, 0]),
    )
    weighed = evidence_of(statistics, found, samples, rates)
    assert (10**weighed.weight).tolist() == pytest.approx(
        [0.5, 0.5, 0.01 * 0.5, 0.01 * 0.01 * 0.1, 0.75 * 0.5]
    )
    assert weighed.which == ["order", "bag", "unseen", "unseen", "counts"]
    assert weighed.p["length"].tolist() == pytest.approx([1, 1, 1, 0.1, 1])
    assert set(FIRING) == {"unseen", "counts", "length"} <= set(weighed.p)
    # of three held-out sessions none is as rare as the unseen events and the lengths are: these are decisive
    assert decisive(rates, 3) == ["unseen", "length"]
    assert (10**weighed.ordinary).tolist() == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.75 * 0.5])


def test_rules_are_decisive_that_are_rarer_than_the_held_out_sessions_tell_or_than_one_in_a_thousand() -> (
    None
):
    rates = {"counts": Rate(4, 999), "length": Rate(0, 999), "unseen": Rate(1, 999), "pairs": Rate(0, 10**6)}
    assert decisive(rates, 10_000) == ["length"]
    assert decisive(rates, 499) == ["unseen", "length"]
    assert decisive(rates, 199) == ["unseen", "counts", "length"], "new events first"
    assert decisive({}, 10) == []


def test_sessions_that_alarm_are_ranked_before_others_and_each_kind_by_its_evidence() -> None:
    weight = np.array([1e-300, 1e-3, 1.0, 1e-9])
    evidence = Evidence(p={}, weight=weight, ordinary=weight, which=["order"] * 4)
    ranked = np.argsort(-ranking(evidence, np.array([False, True, True, False])))
    assert ranked.tolist() == [1, 2, 0, 3]


def test_in_which_place_a_session_stands_when_the_others_judge_it() -> None:
    ordinary = np.array([0.1, 0.2, 0.2, 0.3, 0.5])
    own, left_out = np.array([0.1, 0.2, 0.3, 0.5]), np.array([0.05, 0.15, 0.15, 0.5])
    # the third passes the two of 0.2; the second stays beside its like
    assert places_left_out(ordinary, own, left_out).tolist() == [1, 3, 2, 5]


def test_evidence_and_verdicts_do_not_depend_on_the_order_of_sessions() -> None:
    rng = np.random.default_rng(41)
    ordinary, later = drawn(rng, 300, NAMES, "coarse"), drawn(rng, 500, NAMES, "coarse")
    new = rng.random(500) < 0.1
    rates = {"unseen": Rate(2, 999)}
    calibration = calibrated(ordinary, None, rates)
    turned, back = rng.permutation(300), rng.permutation(500)
    again = calibrated({name: values[turned] for name, values in ordinary.items()}, None, rates)
    assert again == calibration
    one = weigh(calibration, later, findings(500, unseen=new))
    other = weigh(again, {name: v[back] for name, v in later.items()}, findings(500, unseen=new[back]))
    assert other.weight.tolist() == one.weight[back].tolist()
    assert other.which == [one.which[i] for i in back.tolist()]
