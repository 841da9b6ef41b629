"""Time, load and chance of the simulation."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.demo.simulate import NATURAL_RATE, Scale, simulate
from logbert_engine.demo.workflows import BY_NAME
from logbert_engine.protocol.errors import LogbertError


def test_a_seed_gives_the_same_sessions_again_and_another_seed_others() -> None:
    scale = Scale(sessions=300, days=2, seed=11)
    first = list(simulate(scale))
    assert list(simulate(scale)) == first
    other = list(simulate(Scale(sessions=300, days=2, seed=12)))
    assert not {session.trace_id for session in first} & {session.trace_id for session in other}


@given(
    days=st.integers(2, 40), extra=st.integers(0, 5_000), rate=st.floats(0, 0.5, allow_nan=False, width=32)
)
def test_days_share_out_exactly_the_sessions_asked_for(days: int, extra: int, rate: float) -> None:
    scale = Scale(sessions=10 * days + extra, days=days, anomaly_rate=rate)
    counts = scale.sessions_of_days()
    assert len(counts) == days
    assert sum(counts) == scale.sessions
    assert min(counts) > 0
    assert 1 <= scale.training_days < days


def test_weekends_are_quieter() -> None:
    counts = Scale(sessions=7_000, days=7).sessions_of_days()
    assert max(counts[5:]) < 0.7 * min(counts[:5])


def test_sessions_come_in_the_order_of_their_first_lines_and_end_on_their_day() -> None:
    before = (0, 0)
    for session in simulate(Scale(sessions=4_000, days=4, seed=5, anomaly_rate=0.2)):
        times = [line.time_ms for line in session.lines]
        assert times == sorted(set(times)), "strictly increasing"
        assert times[-1] < 24 * 3_600_000
        assert (session.day, times[0]) >= before
        before = (session.day, times[0])


def test_office_hours_are_busier_than_the_night_and_jobs_run_at_night() -> None:
    hours: dict[str, Counter[str]] = {name: Counter() for name in BY_NAME}
    for session in simulate(Scale(sessions=8_000, days=2, seed=2)):
        hour = session.lines[0].time_ms // 3_600_000
        hours[session.workflow]["night" if hour < 6 else "office" if 9 <= hour < 18 else "other"] += 1
    assert hours["search"]["office"] > 10 * hours["search"]["night"]
    assert hours["batch_job"]["night"] > 2 * hours["batch_job"]["office"]


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.5])
def test_rates_of_faults_are_exact(rate: float) -> None:
    scale = Scale(sessions=2_000, days=4, seed=1, anomaly_rate=rate)
    faulty = Counter(session.day for session in simulate(scale) if session.fault is not None)
    counts = scale.sessions_of_days()
    assert [faulty[day] for day in range(3)] == [round(count * NATURAL_RATE) for count in counts[:3]]
    assert faulty[3] == round(counts[3] * rate)


def test_even_the_smallest_days_can_be_half_faulty() -> None:
    sessions = list(simulate(Scale(sessions=20, days=2, anomaly_rate=0.5)))
    assert sum(session.fault is not None for session in sessions) == 5


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"days": 1}, "--days"), ({"sessions": 5}, "--sessions"), ({"anomaly_rate": 0.9}, "--anomaly-rate")],
)
def test_what_cannot_be_simulated_is_named(arguments: dict[str, float], named: str) -> None:
    with pytest.raises(LogbertError, match=named):
        Scale(**arguments)  # type: ignore[arg-type]
