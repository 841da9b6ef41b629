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
    Limit,
    decisive,
    evidence_of,
    final_p,
    limit_of,
    p_values,
    places_left_out,
    ranking,
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


def alarming(
    calibration: Calibration, limit: Limit, statistics: Statistics, found: Findings | None = None
) -> float:
    """The share of sessions that alarms."""
    return float(limit.alarms(calibration, weigh(calibration, statistics, found)).mean())


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
    assert weighed.weight.tolist() == pytest.approx([0.5, 0.5, 0.01 * 0.5, 0.01 * 0.01 * 0.1, 0.75 * 0.5])
    assert weighed.which == ["order", "bag", "unseen", "unseen", "counts"]
    assert weighed.p["length"].tolist() == pytest.approx([1, 1, 1, 0.1, 1])
    assert set(FIRING) == {"unseen", "counts", "length"} <= set(weighed.p)
    # of three held-out sessions none is as rare as the unseen events and the lengths are: these are decisive
    assert decisive(rates, 3) == ["unseen", "length"]
    assert weighed.ordinary.tolist() == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.75 * 0.5])


def test_rules_are_decisive_that_are_rarer_than_the_held_out_sessions_tell_or_than_one_in_a_thousand() -> (
    None
):
    rates = {"counts": Rate(4, 999), "length": Rate(0, 999), "unseen": Rate(1, 999), "pairs": Rate(0, 10**6)}
    assert decisive(rates, 10_000) == ["length"]
    assert decisive(rates, 499) == ["length", "unseen"]
    assert decisive(rates, 199) == ["length", "unseen", "counts"]
    assert decisive({}, 10) == []


def test_sessions_that_alarm_are_ranked_before_others_and_each_kind_by_its_evidence() -> None:
    weight = np.array([1e-300, 1e-3, 1.0, 1e-9])
    evidence = Evidence(p={}, weight=weight, ordinary=weight, which=["order"] * 4)
    ranked = np.argsort(-ranking(evidence, np.array([False, True, True, False])))
    assert ranked.tolist() == [1, 2, 0, 3]


def drawn(rng: np.random.Generator, sessions: int, names: list[str], law: str = "normal") -> Statistics:
    """Statistics of sessions that are all of one kind; they share a part, as surprisals do, or lie apart."""
    if law == "apart":
        return {name: np.maximum(rng.standard_normal(sessions) - 1.6, 0.0) for name in names}
    common = rng.standard_normal(sessions)
    found = {name: 0.7 * common + 0.7 * rng.standard_normal(sessions) for name in names}
    if law == "heavy":
        return {name: np.exp(2 * values) for name, values in found.items()}
    if law == "coarse":
        return {name: np.round(values * 2) for name, values in found.items()}
    if law == "seldom":  # as distances, which most sessions have none of
        return {name: np.maximum(values - 1.5, 0.0) for name, values in found.items()}
    return found


RATES = {"unseen": Rate(3, 5000), "counts": Rate(40, 5000), "length": Rate(4, 5000)}
"""Rules that ordinary sessions set off too: two of them hardly ever."""


def fired(rng: np.random.Generator, sessions: int, rates: Mapping[str, Rate]) -> Findings:
    """What rules find in ordinary sessions; without rates, nothing."""
    share = {rule: rate.alarms / rate.sessions for rule, rate in rates.items()}
    return findings(sessions, **{rule: rng.random(sessions) < share[rule] for rule in share})


def alarms(
    rng: np.random.Generator,
    n: int,
    budget: float,
    names: list[str],
    law: str = "normal",
    rates: Mapping[str, Rate] | None = None,
) -> tuple[float, float]:
    """The share of alarms on sessions like the ordinary ones, and the one that was said, on average."""
    shares, said = [], []
    for _ in range(REPEATS):
        calibration = calibrated(drawn(rng, n, names, law), fired(rng, n, rates or {}), rates)
        limit = limit_of(calibration, budget)
        said.append(limit.share)
        later = drawn(rng, LATER, names, law), fired(rng, LATER, rates or {})
        shares.append(alarming(calibration, limit, *later))
        beyond = limit_of(calibration, 0.0).share
        assert limit.share <= (max(budget, beyond) if not rates else budget + beyond), "the least there is"
    return float(np.mean(shares)), float(np.mean(said))


REPEATS, LATER = 80, 2000


def bound(share: float, n: int) -> float:
    """Four standard deviations above a share that ``REPEATS`` calibrations of n sessions each tell."""
    return share + 4 * math.sqrt(share * (1 - share) * (1 / (REPEATS * n) + 1 / (REPEATS * LATER)))


@pytest.mark.parametrize("rates", [{}, RATES], ids=["no rules", "rules"])
@pytest.mark.parametrize("law", ["normal", "heavy", "coarse", "seldom"])
@pytest.mark.parametrize("names", [NAMES[:1], NAMES], ids=["one", "three"])
@pytest.mark.parametrize("budget", [0.01, 0.05])
@pytest.mark.parametrize("n", [400, 2000])
def test_no_larger_share_than_the_budget_alarms_of_sessions_like_the_ordinary_ones(
    n: int, budget: float, names: list[str], law: str, rates: dict[str, Rate]
) -> None:
    share, said = alarms(np.random.default_rng(17), n, budget, names, law, rates)
    assert said <= budget
    assert share <= bound(budget, n)
    assert share <= bound(said, n)
    if law in ("normal", "heavy"):
        assert share >= 0.8 * budget - 2 / n, "and not a much smaller one"


@pytest.mark.parametrize("rates", [{}, RATES], ids=["no rules", "rules"])
@pytest.mark.parametrize("law", ["normal", "heavy", "coarse", "seldom"])
@pytest.mark.parametrize("n", [50, 400])
@pytest.mark.parametrize("names", [NAMES[:1], NAMES[:2], NAMES], ids=["one", "two", "three"])
def test_below_the_resolution_the_share_that_alarms_is_the_one_that_is_said(
    n: int, names: list[str], law: str, rates: dict[str, Rate]
) -> None:
    share, said = alarms(np.random.default_rng(23), n, 1e-4, names, law, rates)
    assert 1 / (n + 1) <= said * (1 + 1e-9)
    assert said <= 3.5 / (n + 1)
    assert share <= bound(said, n)
    if law in ("normal", "heavy"):
        assert share >= 0.7 * said - 0.3 / n


@pytest.mark.parametrize("steps", [3, 5, 8])
def test_few_sessions_alarm_of_few_where_a_budget_allows_few(steps: int) -> None:
    """Held-out sessions far out have a part in the tail that they are weighed by; not leaving them out, 3 are 4."""
    rng, n, shares, said = np.random.default_rng(19), 400, [], []
    for _ in range(500):
        calibration = calibrated(drawn(rng, n, NAMES, "apart"))
        limit = limit_of(calibration, steps / (n + 1))
        said.append(limit.share)
        shares.append(alarming(calibration, limit, drawn(rng, 500, NAMES, "apart")))
    assert np.mean(shares) * (n + 1) <= steps + 4 * math.sqrt(steps * (1 / 500 + n / 500**2))
    assert np.mean(said) * (n + 1) <= steps + 1e-9
    assert np.mean(shares) * (n + 1) >= 0.7 * steps


def test_rules_that_are_rare_each_and_together_are_not_keep_the_budget() -> None:
    n, rates = 400, {"unseen": Rate(7, 4000), "counts": Rate(8, 4000), "length": Rate(8, 4000)}
    assert decisive(rates, n) == ["unseen", "counts", "length"]
    for budget in (0.01, 0.02):
        share, said = alarms(np.random.default_rng(53), n, budget, NAMES, rates=rates)
        assert said <= budget + 3 / (n + 1), (
            "what lies further out than all of them comes on top of the rules"
        )
        assert share <= bound(said, n)
    share, said = alarms(np.random.default_rng(53), n, 1e-4, NAMES, rates=rates)
    assert share <= bound(said, n)


def test_a_statistic_of_noise_costs_no_further_false_alarms() -> None:
    budget, n, rng = 0.02, 1000, np.random.default_rng(29)
    without, with_it = np.zeros(REPEATS), np.zeros(REPEATS)
    for i in range(REPEATS):
        ordinary, later = (drawn(rng, sessions, NAMES[:2]) for sessions in (n, LATER))
        for found, names in ((without, NAMES[:2]), (with_it, NAMES)):
            if len(names) == 3:
                ordinary[NAMES[2]], later[NAMES[2]] = rng.standard_normal(n), rng.standard_normal(LATER)
            calibration = calibrated(ordinary)
            found[i] = alarming(calibration, limit_of(calibration, budget), later)
    assert without.mean() <= bound(budget, n)
    assert with_it.mean() <= bound(budget, n)
    assert with_it.mean() >= 0.7 * budget


@pytest.mark.parametrize("budget", [0.0, 1e-6, 1 / 402])
def test_a_budget_below_the_resolution_alarms_exactly_on_what_lies_further_out_than_all(
    budget: float,
) -> None:
    rng = np.random.default_rng(37)
    ordinary, later = drawn(rng, 400, NAMES), drawn(rng, 20_000, NAMES)
    calibration = calibrated(ordinary)
    weighed = weigh(calibration, later)
    beyond = weighed.weight < calibration.evidence[0]
    limit = limit_of(calibration, budget)
    assert limit.alarms(calibration, weighed).tolist() == beyond.tolist()
    assert (final_p(calibration, weighed) <= limit.rate).tolist() == beyond.tolist()
    assert 0 < beyond.sum() < 400
    assert not limit.alarms(calibration, weigh(calibration, ordinary)).any()


def test_a_rare_rule_alarms_by_itself_where_the_budget_is_enough_and_what_it_costs_is_taken_off() -> None:
    rng, n = np.random.default_rng(59), 999
    statistics, rates = drawn(rng, n, NAMES), {"unseen": Rate(4, 9999), "length": Rate(7, 9999)}
    calibration = calibrated(statistics, None, rates)
    without = calibrated(statistics)
    calm = {name: np.full(2, -9.0) for name in NAMES}
    odd = weigh(calibration, calm, findings(2, unseen=np.array([1, 0]), length=np.array([0, 1])))
    assert final_p(calibration, odd).tolist() == pytest.approx([5e-4, 8e-4])
    for budget, rules in ((0.05, ["unseen", "length"]), (0.0016, ["unseen"]), (0.001, ["unseen"])):
        limit = limit_of(calibration, budget)
        assert limit.rules == rules
        assert limit.alarms(calibration, odd).tolist() == [rule in rules for rule in ("unseen", "length")]
        cost = sum(rates[rule].alarms / 9999 for rule in rules)
        assert limit.rate == limit_of(without, budget - cost).rate
        assert limit.share == pytest.approx(limit_of(without, budget - cost).share + cost)
    assert limit_of(calibration, 1e-5).rules == ["unseen"], "no more than a step of a thousandth together"


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


@given(st.floats(0, 1), st.floats(0, 1))
def test_without_decisive_rules_a_larger_budget_alarms_on_no_less(one: float, other: float) -> None:
    calibration = calibrated(
        drawn(np.random.default_rng(43), 150, NAMES, "coarse"), None, {"counts": Rate(40, 150)}
    )
    low, high = (limit_of(calibration, budget) for budget in sorted((one, other)))
    assert low.rules == high.rules == []
    assert 0 < low.rate <= high.rate <= 1
    assert low.share <= high.share <= 1


@given(st.floats(0, 1), st.booleans())
def test_the_share_that_is_said_keeps_the_budget_or_is_the_smallest_there_is(
    budget: float, with_rules: bool
) -> None:
    rates = (
        {"unseen": Rate(9, 1500), "counts": Rate(6, 1500), "length": Rate(3, 1500)} if with_rules else None
    )
    calibration = calibrated(drawn(np.random.default_rng(47), 150, NAMES, "coarse"), None, rates)
    limit = limit_of(calibration, budget)
    assert limit.share <= max(budget + 1e-9, limit_of(calibration, 0.0).share)
    if limit.share > budget + 1e-9:
        assert not (np.array(calibration.evidence) < calibration.evidence[0]).any()


def test_all_may_alarm() -> None:
    ordinary = drawn(np.random.default_rng(61), 150, NAMES)
    calibration = calibrated(ordinary)
    limit = limit_of(calibration, 1.0)
    assert limit.share == 1
    assert limit.alarms(calibration, weigh(calibration, ordinary)).all()
