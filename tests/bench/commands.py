"""What the benchmarks of detection share: the commands as a user gives them, and the figures they print."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bench.classic import sessions_folder


@dataclass(frozen=True)
class Evaluated:
    """What ``evaluate --json`` found on all sessions."""

    model: dict[str, float]
    """Measure to value."""
    floor: dict[str, float]
    """The same of the best simple rule."""
    rule: str
    rows: dict[str, dict[str, float]]
    """The same of every detector."""


def data(name: str) -> Path:
    """A folder of the shared data."""
    return sessions_folder().parents[1] / name


def seeds(usual: tuple[int, ...]) -> list[int]:
    """Those of ``LOGBERT_BENCH_SEEDS``, else the usual ones."""
    return [int(seed) for seed in os.environ.get("LOGBERT_BENCH_SEEDS", "").split()] or list(usual)


def engine(*words: str | Path) -> str:
    """Run a command of ``logbert-engine``; returns what it printed.

    Raises:
        SystemExit: it failed; with what it said.
    """
    done = subprocess.run(
        [sys.executable, "-m", "logbert_engine", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"logbert-engine {' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


def train(sessions: Path, run_dir: Path, seed: int, *more: str) -> None:
    """Train the preset ``quick`` to its end."""
    place: list[str | Path] = ["--data", sessions, "--run-dir", run_dir]
    engine("train", *place, "--preset", "quick", "--seed", str(seed), "--foreground", *more)


def evaluate(
    run_dir: Path, inputs: list[Path], budget: str, normal_weight: float = 1.0, *more: str
) -> Evaluated:
    """Compare a run's alarms with the labels of sessions that it never met."""
    return figures(evaluation(run_dir, inputs, budget, normal_weight, *more))


def evaluation(run_dir: Path, inputs: list[Path], budget: str, normal_weight: float, *more: str) -> str:
    """What ``evaluate --json`` prints."""
    weight = ["--normal-weight", str(normal_weight)] if normal_weight != 1 else []
    place: list[str | Path] = ["--checkpoint", run_dir, "--alert-budget", budget, "--json"]
    return engine("evaluate", *place, *weight, *more, "--input", *inputs)


def figures(printed: str) -> Evaluated:
    """The figures of what ``evaluate --json`` printed."""
    comparison = json.loads(printed)
    everything = next(part for part in comparison["slices"] if part["name"] == "all")
    rows = {row["detector"]: row["figures"] for row in everything["rows"]}
    rule = comparison["best_floor"]
    return Evaluated(model=rows[comparison["model"]], floor=rows[rule], rule=rule, rows=rows)


def spread(values: list[float], form: str = "{:.3f}") -> str:
    """The mean, and of several values the lowest and the highest."""
    mean = form.format(statistics.fmean(values))
    if len(values) == 1:
        return mean
    return f"{mean} ({form.format(min(values))} to {form.format(max(values))})"
