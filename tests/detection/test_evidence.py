"""Evidence against counting by hand, and how often it alarms on sessions drawn like the ordinary ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from logbert_engine.detection import evidence
from logbert_engine.detection.calibration import calibrate
from logbert_engine.detection.evidence import (
    FIRING,
    KEPT,
    STATISTICS,
    Evidence,
    alarm_rate,
    alarming_share,
    evidence_of,
    final_p,
    p_values,
    sample_of,
    statistics_of,
)
from logbert_engine.detection.rules import Findings, Rate
from logbert_engine.models.checkpoint import Calibration
from logbert_engine.models.surprisal import Surprisals

Values = NDArray[np.float64]
Statistics = dict[str, Values]
NAMES = list(STATISTICS)
FINITE = st.floats(-50, 50).map(lambda value: round(value, 3))
SOME = st.lists(FINITE, min_size=1, max_size=30)


def findings(sessions: int, **found: Values) -> Findings:
    """What rules find; nothing where it is not given."""
    return Findings(
        unseen=found.get("unseen", np.zeros(sessions)).astype(np.int64),
        counts=found.get("counts", np.zeros(sessions)).astype(np.bool_),
        pairs=np.zeros(sessions, dtype=np.int64),
        length=found.get("length", np.zeros(sessions)).astype(np.bool_),
    )


def calibrated(
    statistics: Statistics, found: Findings | None = None, rates: Mapping[str, Rate] | None = None
) -> Calibration:
    sessions = len(next(iter(statistics.values())))
    nothing = findings(sessions)
    means, once = np.ones(sessions), np.ones(sessions, dtype=np.int64)
    return calibrate(means, once, {}, statistics, found or nothing, rates or {})


def weigh(calibration: Calibration, statistics: Statistics, found: Findings | None = None) -> Evidence:
    sessions = len(next(iter(statistics.values())))
    rates = {rule: Rate(*counts) for rule, counts in calibration.rules.items()}
    return evidence_of(statistics, found or findings(sessions), calibration.statistics, rates)


def final(calibration: Calibration, statistics: Statistics, found: Findings | None = None) -> Values:
    return final_p(np.array(calibration.evidence), weigh(calibration, statistics, found))


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
            assert p == (1 + sum(other >= value for other in ordinary)) / (len(ordinary) + 1)


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
    near = far <= 12 * spread
    assert np.log(found[near]) == pytest.approx(-far[near] / spread, rel=0.05)


def test_where_ordinary_sessions_are_all_alike_p_values_are_sound() -> None:
    found = p_values(np.full(99, 0.5), np.array([0.0, 0.5, 0.5 + 1e-7, 1.0, 1e9]))
    assert found[:2].tolist() == [1.0, 1.0]
    assert (found[2:] <= 0.11).all()
    assert (found > 0).all()
    assert (np.diff(found) <= 0).all()


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


def test_the_statistics_are_means_the_highest_surprisal_of_the_bag_and_the_distance() -> None:
    found = Surprisals(
        sequence=np.arange(2), offsets=np.array([0, 3, 4]), values=np.array([1, 2, 6, 5], dtype=np.float32)
    )
    expected = {"order.mean": [3.0, 5.0], "bag.mean": [3.0, 5.0], "bag.highest": [6.0, 5.0]}
    assert {n: v.tolist() for n, v in statistics_of({"next": found, "bag": found}).items()} == expected
    assert set(statistics_of({"order": found})) == {"order.mean"}
    afar = replace(found, distance=np.array([0.25, 4], dtype=np.float32))
    near = replace(found, distance=np.array([0.75, 2], dtype=np.float32))
    assert statistics_of({"next": found, "bag": afar})["distance"].tolist() == [0.25, 4.0]
    assert statistics_of({"order": near, "bag": afar})["distance"].tolist() == [0.5, 3.0]
    assert set(NAMES) == {*expected, "distance"}


# Together


def test_evidence_is_the_lowest_p_value_and_names_the_kind_that_it_comes_from() -> None:
    samples = {"order.mean": [1.0, 2.0, 3.0], "bag.mean": [1.0, 2.0, 3.0]}
    rates = {"unseen": Rate(0, 99), "counts": Rate(9, 99), "length": Rate(0, 9), "pairs": Rate(0, 10**6)}
    statistics = {
        "order.mean": np.array([3.0, 0.0, 0.0, 0.0, 1.5]),
        "bag.mean": np.array([0.0, 2.5, 0.0, 0.0, 0.0]),
    }
    found = findings(
        5,
        unseen=np.array([0, 0, 1, 3, 0]),
        counts=np.array([0, 0, 1, 1, 1]),
        length=np.array([0, 0, 0, 1, 0]),
    )
    weighed = evidence_of(statistics, found, samples, rates)
    assert weighed.lowest.tolist() == pytest.approx([0.5, 0.5, 0.01, 0.01 * 0.01, 0.1])
    assert weighed.which == ["order", "bag", "unseen", "unseen", "counts"]
    assert weighed.p["length"].tolist() == pytest.approx([1, 1, 1, 0.1, 1])
    assert set(FIRING) == {"unseen", "counts", "length"} <= set(weighed.p)


def drawn(rng: np.random.Generator, sessions: int, names: list[str], law: str = "normal") -> Statistics:
    """Statistics of sessions that are all of one kind; they share a part, as surprisals do."""
    common = rng.standard_normal(sessions)
    found = {name: 0.7 * common + 0.7 * rng.standard_normal(sessions) for name in names}
    if law == "heavy":
        return {name: np.exp(2 * values) for name, values in found.items()}
    if law == "coarse":
        return {name: np.round(values * 2) for name, values in found.items()}
    return found


def alarms(
    rng: np.random.Generator, n: int, budget: float, names: list[str], law: str = "normal"
) -> tuple[int, int, float]:
    """Alarms on sessions like the ordinary ones, of how many, and the share that was said."""
    count, sessions, said = 0, 0, 0.0
    for _ in range(80):
        calibration = calibrated(drawn(rng, n, names, law))
        rate = alarm_rate(calibration, budget)
        said = max(said, alarming_share(calibration, rate))
        count += int((final(calibration, drawn(rng, 2000, names, law)) <= rate).sum())
        sessions += 2000
    return count, sessions, said


def bound(share: float, n: int, repeats: int = 80) -> float:
    """Four standard deviations above a share that ``repeats`` calibrations of n sessions each tell."""
    return share + 4 * math.sqrt(share * (1 - share) * (1 / (repeats * n) + 1 / (repeats * 2000)))


@pytest.mark.parametrize("law", ["normal", "heavy", "coarse"])
@pytest.mark.parametrize("names", [NAMES[:1], NAMES], ids=["one", "three"])
@pytest.mark.parametrize("budget", [0.01, 0.05])
@pytest.mark.parametrize("n", [400, 2000])
def test_no_larger_share_than_the_budget_alarms_of_sessions_like_the_ordinary_ones(
    n: int, budget: float, names: list[str], law: str
) -> None:
    count, sessions, said = alarms(np.random.default_rng(17), n, budget, names, law)
    assert said <= budget
    assert count / sessions <= bound(budget, n)
    if law != "coarse":
        assert count / sessions >= 0.8 * budget - 4 / n, "and not a much smaller one"


@pytest.mark.parametrize("n", [50, 400])
@pytest.mark.parametrize("names", [NAMES[:1], NAMES[:2], NAMES], ids=["one", "two", "three"])
def test_below_the_resolution_the_share_that_alarms_is_the_one_that_is_said(n: int, names: list[str]) -> None:
    count, sessions, said = alarms(np.random.default_rng(23), n, 1e-4, names)
    assert said == pytest.approx(min(2, len(names)) / (n + 1))
    assert count / sessions <= bound(said, n)


def test_a_statistic_of_noise_costs_no_further_false_alarms() -> None:
    budget, n, rng = 0.02, 1000, np.random.default_rng(29)
    without, with_it = np.zeros(60), np.zeros(60)
    for i in range(60):
        ordinary, later = (drawn(rng, sessions, NAMES[:2]) for sessions in (n, 3000))
        for found, names in ((without, NAMES[:2]), (with_it, NAMES)):
            if len(names) == 3:
                ordinary[NAMES[2]], later[NAMES[2]] = rng.standard_normal(n), rng.standard_normal(3000)
            calibration = calibrated(ordinary)
            found[i] = (final(calibration, later) <= alarm_rate(calibration, budget)).mean()
    assert without.mean() <= bound(budget, n, 60)
    assert with_it.mean() <= bound(budget, n, 60)
    assert with_it.mean() >= 0.7 * budget


def test_rules_that_alarm_on_ordinary_sessions_too_keep_the_budget() -> None:
    rng, n, budget = np.random.default_rng(31), 1000, 0.02
    rates = {"unseen": Rate(3, 5000), "counts": Rate(40, 5000), "length": Rate(0, 5000)}

    def found(sessions: int) -> Findings:
        share = {rule: rate.upper for rule, rate in rates.items()}
        return findings(sessions, **{rule: rng.random(sessions) < share[rule] for rule in share})

    shares = []
    for _ in range(60):
        calibration = calibrated(drawn(rng, n, NAMES), found(n), rates)
        later = final(calibration, drawn(rng, 3000, NAMES), found(3000))
        shares.append((later <= alarm_rate(calibration, budget)).mean())
    assert np.mean(shares) <= bound(budget, n, 60)
    assert np.mean(shares) >= 0.7 * budget


@pytest.mark.parametrize("budget", [0.0, 1e-6, 1 / 402])
def test_a_budget_below_the_resolution_alarms_exactly_on_what_lies_further_out_than_all(
    budget: float,
) -> None:
    rng = np.random.default_rng(37)
    ordinary, later = drawn(rng, 400, NAMES), drawn(rng, 20_000, NAMES)
    calibration = calibrated(ordinary)
    beyond = weigh(calibration, later).lowest < calibration.evidence[0]
    rate = alarm_rate(calibration, budget)
    assert (final(calibration, later) <= rate).tolist() == beyond.tolist()
    assert 0 < beyond.sum() < 400
    assert not (final(calibration, ordinary) <= rate).any()


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
    assert other.lowest.tolist() == one.lowest[back].tolist()
    assert other.which == [one.which[i] for i in back.tolist()]


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_larger_budget_alarms_on_no_less(one: float, other: float) -> None:
    calibration = calibrated(drawn(np.random.default_rng(43), 150, NAMES, "coarse"))
    low, high = (alarm_rate(calibration, budget) for budget in sorted((one, other)))
    assert 0 < low <= high <= 1
    assert alarming_share(calibration, low) <= alarming_share(calibration, high) <= 1


@given(st.floats(0, 1))
def test_the_share_that_is_said_keeps_the_budget_or_is_the_smallest_there_is(budget: float) -> None:
    calibration = calibrated(drawn(np.random.default_rng(47), 150, NAMES, "coarse"))
    said = alarming_share(calibration, alarm_rate(calibration, budget))
    assert said <= max(budget + 1e-9, 2 / 151)
