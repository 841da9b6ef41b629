"""How often sessions alarm that are like the ordinary ones, against the budget and what was said."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.detection.evidence import (
    ALIKE,
    decisive,
    final_p,
    limit_of,
)
from logbert_engine.detection.rules import Rate
from tests.detection.drawing import NAMES, RATES, alarming, calibrated, drawn, findings, fired, weigh


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
    beyond = weighed.weight + ALIKE < calibration.evidence[0]
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


def test_where_the_budget_is_not_enough_for_all_rules_new_events_come_first() -> None:
    """A new event is seen by its rule alone, a length by statistics too."""
    statistics, rates = (
        drawn(np.random.default_rng(67), 2999, NAMES),
        {"unseen": (6, 9999), "length": (1, 9999)},
    )
    calibration = calibrated(statistics, None, {name: Rate(*rate) for name, rate in rates.items()})
    assert limit_of(calibration, 0.001).rules == ["unseen"]
    assert limit_of(calibration, 0.0011).rules == ["unseen", "length"]
    assert limit_of(calibration, 0.0006).rules == ["length"], "one that fits all the same"


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
