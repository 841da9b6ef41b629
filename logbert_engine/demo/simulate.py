"""Time, load and chance: from a seed to the sessions of some days, in the order in which they began."""

from __future__ import annotations

import datetime
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import NamedTuple

from logbert_engine.demo.faults import EVERYWHERE, FAULTS, Fault, Steps
from logbert_engine.demo.flow import Flow
from logbert_engine.demo.system import INSTANCES, PORTS, SERVICES, THREADS, Template
from logbert_engine.demo.workflows import WORKFLOWS, Workflow
from logbert_engine.protocol.errors import LogbertError

FIRST_DAY = datetime.date(2025, 11, 3)
"""A Monday; fixed, so that the same arguments give the same files."""

NATURAL_RATE = 0.002
"""Share of faulty sessions on the training days: nobody's logs are clean."""

MOST_SESSIONS = 10_000_000
WEEKEND_LOAD = 0.55
HOUR_MS = 3_600_000
LAST_ARRIVAL_MS = 24 * HOUR_MS - 900_000
"""No session begins in the last quarter of an hour, so that a day's lines stay in the day's files."""

_BURST_GOES_ON = 0.45
_TRIES = 500


@dataclass(frozen=True)
class Scale:
    """What to simulate."""

    sessions: int = 20_000
    days: int = 4
    seed: int = 7
    anomaly_rate: float = 0.01
    """Share of faulty sessions on the evaluation days."""

    def __post_init__(self) -> None:
        if not 2 <= self.days <= 366:
            raise LogbertError(
                f"--days must be from 2 (one to train, one to evaluate) to 366, not {self.days}."
            )
        if self.sessions < 10 * self.days:
            raise LogbertError(
                f"--sessions must be at least 10 a day ({10 * self.days} for {self.days} days), "
                f"not {self.sessions}."
            )
        if self.sessions > MOST_SESSIONS:
            raise LogbertError(
                f"--sessions must be at most {MOST_SESSIONS:,}, which take some 25 GB, not {self.sessions:,}."
            )
        if not 0.0 <= self.anomaly_rate <= 0.5:
            raise LogbertError(f"--anomaly-rate is a share from 0 to 0.5, not {self.anomaly_rate}.")

    @property
    def training_days(self) -> int:
        """All but the last quarter, at least one day, which are for evaluation."""
        return self.days - max(1, self.days // 4)

    def date(self, day: int) -> datetime.date:
        """The date of a day, counted from 0."""
        return FIRST_DAY + datetime.timedelta(days=day)

    def sessions_of_days(self) -> list[int]:
        """How many sessions each day has; weekends are quieter. Their sum is ``sessions``."""
        loads = [1.0 if self.date(day).weekday() < 5 else WEEKEND_LOAD for day in range(self.days)]
        ends = [round(self.sessions * part / sum(loads)) for part in accumulate(loads)]
        return [end - start for start, end in zip([0, *ends], ends, strict=False)]


class Line(NamedTuple):
    """A line of a raw log."""

    time_ms: int
    """Since the day's midnight."""
    template: Template
    thread: str
    message: str


class FaultNote(NamedTuple):
    """The truth about a faulty session."""

    kind: str
    position: int
    words: str


@dataclass(frozen=True, slots=True)
class SimulatedSession:
    """A request or job from its first to its last line."""

    session_id: str
    trace_id: str
    day: int
    workflow: str
    service: str
    lines: list[Line]
    fault: FaultNote | None


class _Planned(NamedTuple):
    arrival_ms: int
    workflow: Workflow


_HOURLY = [
    list(accumulate(workflow.weight * workflow.load[hour] for workflow in WORKFLOWS)) for hour in range(24)
]
"""By hour: summed weights of the workflows."""
_DAILY = list(accumulate(weights[-1] for weights in _HOURLY))
"""Summed load of the hours up to each one's end."""


def _arrival(random: Random) -> int:
    """A time of the day, ms, drawn by the load."""
    while True:
        target = random.random() * _DAILY[-1]
        hour = bisect(_DAILY, target)
        before = _DAILY[hour] - _HOURLY[hour][-1]
        at = int((hour + (target - before) / _HOURLY[hour][-1]) * HOUR_MS)
        if at < LAST_ARRIVAL_MS:
            return at


def _plan(random: Random, count: int) -> list[_Planned]:
    """Arrivals of a day, in bursts (a page sends several requests at once), with their workflows."""
    arrivals: list[int] = []
    while len(arrivals) < count:
        at = _arrival(random)
        arrivals.append(at)
        while len(arrivals) < count and random.random() < _BURST_GOES_ON:
            at += 5 + int(random.random() * 300)
            arrivals.append(at)
    arrivals.sort()
    planned = []
    for at in arrivals:
        weights = _HOURLY[at // HOUR_MS]
        planned.append(_Planned(at, WORKFLOWS[bisect(weights, random.random() * weights[-1])]))
    return planned


def _strike(
    planned: Sequence[_Planned], count: int, kinds: Sequence[Fault], random: Random
) -> dict[int, Fault]:
    """Which of a day's sessions get which fault: every kind about as often as the others."""
    struck: dict[int, Fault] = {}
    order = list(kinds)
    random.shuffle(order)
    for turn, fault in enumerate(order):
        wanted = count // len(order) + (turn < count % len(order))
        open_to = [
            place
            for place, plan in enumerate(planned)
            if place not in struck and (not fault.workflows or plan.workflow.name in fault.workflows)
        ]
        wanted = min(wanted, len(open_to))
        if fault.incident:
            start = int(random.random() * (len(open_to) - wanted + 1))
            chosen = open_to[start : start + wanted]
        else:
            chosen = random.sample(open_to, wanted)
        struck.update(dict.fromkeys(chosen, fault))
    left = [place for place in range(len(planned)) if place not in struck]
    struck.update(dict.fromkeys(random.sample(left, count - len(struck)), EVERYWHERE))
    return struck


_PEOPLE = 400
_LANGUAGES = ("java", "kotlin", "python", "typescript", "go")
_CONFIG_KEYS = ("timeouts.research", "routes.code", "limits.requests", "features.search")


def _values(random: Random) -> dict[str, object]:
    """What a session's lines speak of, unless the workflow says otherwise."""

    def below(count: int) -> int:
        return int(random.random() * count)

    research = INSTANCES["research"][below(3)]
    return {
        "user": f"u{1000 + below(_PEOPLE)}",
        "other": f"u{1000 + below(_PEOPLE)}",
        "ip": f"10.{below(4)}.{below(256)}.{1 + below(254)}",
        "origin": "https://app.example.com",
        "scope": ("read", "write")[below(2)],
        "hash": f"{below(2**28):07x}",
        "query": f"q{below(3000)}",
        "page": 1 + below(5),
        "rank_profile": ("recent", "relevant")[below(2)],
        "document": f"doc-{below(90_000)}.pdf",
        "language": _LANGUAGES[below(5)],
        "repository": f"repo-{below(120)}",
        "branch": ("main", "develop", f"feature-{below(80)}")[below(3)],
        "model": "coder-large",
        "rule": f"rule-{below(12)}",
        "build": f"{below(900) + 100}",
        "permission": ("deploy", "write", "administer")[below(3)],
        "role": ("viewer", "editor", "owner")[below(3)],
        "config_key": _CONFIG_KEYS[below(4)],
        "client": "gateway",
        "target": "research",
        "host": research,
        "upstream": f"{research}:{PORTS['research']}",
        "app": "research",
    }


def _lines(steps: Steps, values: dict[str, object], start_ms: int, random: Random) -> list[Line]:
    threads = {}
    for service in SERVICES:
        prefix, count = THREADS[service]
        threads[service] = f"{prefix}{1 + int(random.random() * count)}"
    lines = []
    at = start_ms
    for number, step in enumerate(steps):
        at += step.gap_ms if number else 0
        values["ms"] = step.gap_ms
        values["total"] = at - start_ms
        values["n"] = 1 + int(random.random() * 400)
        values["few"] = 1 + int(random.random() * 9)
        template = step.template
        message = template.render({**values, **step.values} if step.values else values)
        lines.append(Line(at, template, threads[template.service], message))
    return lines


def _session(scale: Scale, day: int, number: int, plan: _Planned, fault: Fault | None) -> SimulatedSession:
    """A pure function of the seed, the day and the session's number in the day."""
    random = Random(f"{scale.seed}/{day}/{number}")
    trace_id = f"{random.getrandbits(64):016x}"
    run = (day >= scale.training_days and plan.workflow.run_later) or plan.workflow.run
    for _ in range(_TRIES):
        flow = Flow(random)
        flow.values.update(_values(random))
        run(flow)
        steps = flow.steps()
        if fault is None:
            note = None
            break
        injected = fault.inject(steps, random)
        if injected is not None:
            steps = injected.steps
            note = FaultNote(fault.kind, injected.position, injected.words)
            break
    else:
        raise AssertionError(f"{plan.workflow.name} never takes a branch that {fault} can hit")
    return SimulatedSession(
        session_id=f"{scale.date(day):%Y%m%d}-{number:06d}",
        trace_id=trace_id,
        day=day,
        workflow=plan.workflow.name,
        service=plan.workflow.service,
        lines=_lines(steps, flow.values, plan.arrival_ms, random),
        fault=note,
    )


def simulate(scale: Scale) -> Iterator[SimulatedSession]:
    """All sessions, day by day, in the order of their first lines.

    Each session comes from a random stream of its own, so the same scale always gives the same sessions.
    """
    ordinary = [fault for fault in FAULTS if not fault.novel]
    for day, count in enumerate(scale.sessions_of_days()):
        random = Random(f"{scale.seed}/{day}")
        planned = _plan(random, count)
        training = day < scale.training_days
        rate = NATURAL_RATE if training else scale.anomaly_rate
        struck = _strike(planned, round(count * rate), ordinary if training else FAULTS, random)
        for number, plan in enumerate(planned):
            yield _session(scale, day, number, plan, struck.get(number))
