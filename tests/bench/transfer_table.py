"""The tables of the benchmark ``transfer``: ``python -m tests.bench.transfer_table FOLDER``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from tests.bench.commands import spread

FILE = "results.jsonl"
AGAINST = {
    "pre-trained": ("scratch", "placebo"),
    "placebo": ("scratch",),
    "MiniLM": ("large scratch", "MiniLM placebo"),
    "MiniLM placebo": ("large scratch",),
}
"""Arm to those that it is compared with, first the one that learned nothing before."""
ARMS = ("scratch", "pre-trained", "placebo", "large scratch", "MiniLM", "MiniLM placebo")


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """What is trained, on how much, from what, under which seed."""

    target: str
    share: float
    arm: str
    seed: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a cell."""

    cell: Cell
    steps: list[int]
    """At the end of each epoch."""
    losses: list[float]
    """Of the validation then, nats an event."""
    f1: float | None
    average_precision: float | None
    false_alarm_rate: float | None
    floor_f1: float | None
    training_s: float
    evaluation_s: float

    def reaches(self, loss: float) -> int | None:
        """The first step at which the validation loss is as low; None where it never is."""
        return next((s for s, found in zip(self.steps, self.losses, strict=True) if found <= loss), None)


Found = dict[int, Result]
"""Seed to result."""


def read(folder: Path) -> list[Result]:
    """All results of a folder; none where there are none yet."""
    path = folder / FILE
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=Result) for line in lines]


def text(results: Iterable[Result]) -> str:
    """Both tables: what each arm reaches, and what it gains over scratch and over the placebo, seed by seed."""
    groups: dict[tuple[str, float, str], Found] = {}
    for result in results:
        cell = result.cell
        groups.setdefault((cell.target, cell.share, cell.arm), {})[cell.seed] = result
    keys = sorted(
        groups, key=lambda key: (-_order(key[0]), ARMS.index(key[2]) > 2, key[1], ARMS.index(key[2]))
    )
    lines = [
        "| logs | share of normals | begins from | seeds | lowest validation loss | steps to scratch's lowest "
        "| AP | F1 | best simple rule, F1 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for target, share, arm in keys:
        found = groups[target, share, arm]
        base = groups.get((target, share, AGAINST.get(arm, (arm,))[0]), {})
        cells = [
            *(target, f"{share:.0%}", arm, str(len(found))),
            spread([min(result.losses) for result in found.values()]),
            _steps(found, base),
            *(_values(found.values(), measure) for measure in (_ap, _f1, _floor)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "| logs | share of normals | begins from | compared with | seeds | validation loss | AP | F1 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for target, share, arm in keys:
        for other in AGAINST.get(arm, ()):
            against = groups.get((target, share, other), {})
            both = sorted(groups[target, share, arm].keys() & against.keys())
            if both:
                pairs = [(groups[target, share, arm][seed], against[seed]) for seed in both]
                gains = [_gain(pairs, measure) for measure in (_lowest, _ap, _f1)]
                words = [target, f"{share:.0%}", arm, other, str(len(both)), *gains]
                lines.append(f"| {' | '.join(words)} |")
    return "\n".join(lines)


def _order(target: str) -> int:
    return int(target == "hdfs")


def _lowest(result: Result) -> float:
    return min(result.losses)


def _ap(result: Result) -> float:
    return result.average_precision or 0.0


def _f1(result: Result) -> float:
    return result.f1 or 0.0


def _floor(result: Result) -> float:
    return result.floor_f1 or 0.0


def _values(results: Iterable[Result], measure: Callable[[Result], float]) -> str:
    return spread([measure(result) for result in results])


def _gain(pairs: list[tuple[Result, Result]], measure: Callable[[Result], float]) -> str:
    return spread([measure(one) - measure(other) for one, other in pairs], "{:+.3f}")


def _steps(found: Found, base: Found) -> str:
    """Mean steps to the lowest loss of scratch under the same seed, and how many seeds come that far."""
    both = sorted(found.keys() & base.keys())
    reached = [found[seed].reaches(min(base[seed].losses)) for seed in both]
    there = [step for step in reached if step is not None]
    if not there:
        return f"in none of {len(both)}"
    mean = spread([float(step) for step in there], "{:.0f}")
    return mean if len(there) == len(both) else f"{mean}, in {len(there)} of {len(both)}"


if __name__ == "__main__":
    print(text(read(Path(sys.argv[1]))))
