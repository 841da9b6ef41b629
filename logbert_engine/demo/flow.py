"""Records the steps of one simulated request while a workflow runs through it."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import NamedTuple

from logbert_engine.demo.system import INSTANCES, PORTS, TEMPLATES, Template

NOTHING: Mapping[str, object] = {}


class Step(NamedTuple):
    """A log line that is going to be written."""

    template: Template
    gap_ms: int
    """Since the step before; at least 1, so that time alone orders a session's lines across files."""
    values: Mapping[str, object] = NOTHING
    """What this line says in place of the session's own values."""


def gap_of(template: Template, random: Random) -> int:
    """A time before the template's line: around its usual one, now and then much longer."""
    spread = 0.4 + 1.2 * random.random()
    if random.random() < 0.015:
        spread *= 3.0
    return max(1, round(template.gap_ms * spread))


def new_step(key: str, random: Random, **values: object) -> Step:
    """A step with a drawn gap."""
    template = TEMPLATES[key]
    return Step(template, gap_of(template, random), values or NOTHING)


class Flow:
    """A request in progress: its clock, its values and what it has logged so far."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.values: dict[str, object] = {}
        """What the lines of this session speak of; workflows add to it."""
        self._clock_ms = 0
        self._logged: list[tuple[int, int, Template, Mapping[str, object]]] = []

    def chance(self, share: float) -> bool:
        """True in the given share of cases."""
        return self.random.random() < share

    def between(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self.random.random() * (high - low + 1))

    def log(self, *keys: str) -> None:
        """Log these lines, one after the other."""
        for key in keys:
            self.say(key)

    def say(self, key: str, **values: object) -> None:
        """Log a line that has values of its own."""
        template = TEMPLATES[key]
        self._clock_ms += gap_of(template, self.random)
        self._logged.append((self._clock_ms, len(self._logged), template, values or NOTHING))

    def aside(self, key: str, within_ms: float, **values: object) -> None:
        """Log a line from another thread, at some time within the given span, while the request goes on."""
        at = self._clock_ms + 1 + int(self.random.random() * within_ms)
        self._logged.append((at, len(self._logged), TEMPLATES[key], values or NOTHING))

    def wait_for_asides(self) -> None:
        """Let the request go on only after all that other threads had to log."""
        self._clock_ms = max((at for at, *_ in self._logged), default=self._clock_ms)

    def forward_to(self, service: str) -> None:
        """Name the service, and one of its instances, that the lines to come speak of."""
        host = INSTANCES[service][self.between(0, len(INSTANCES[service]) - 1)]
        self.values.update(target=service, host=host, upstream=f"{host}:{PORTS[service]}")

    def steps(self) -> list[Step]:
        """All lines in the order of their time."""
        steps = []
        before = 0
        for at, _, template, values in sorted(self._logged, key=lambda entry: entry[:2]):
            steps.append(Step(template, max(1, at - before), values))
            before = max(at, before + 1)
        return steps
