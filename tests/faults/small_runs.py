"""Small runs of the real processes that are the same each time, to hold a disturbed one against an undisturbed."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import pytest

from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from tests.faults.harness import engine, environment, losses

BATCH = 8
PER_STAGE = (10, 18)
"""Optimizer steps of the two stages; each has two epochs."""
STEPS = sum(PER_STAGE)
AGREES = 1e-6
"""Between losses of different micro-batches, nats."""
_SETTINGS = {
    "training.batch": BATCH,
    "training.log_every": 1,
    "model.hidden": 32,
    "model.ffn": 64,
}
Kind = TypeVar("Kind")


def varied_sessions(folder: Path, sessions: int = 120) -> Path:
    """A daily file of sessions of different lengths, the same each time; returns the directory."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(5)
    records = [
        {
            "session_id": i,
            "event_sequence": [1, *(rng.randrange(2, 9) for _ in range(rng.randrange(4, 12))), 9],
        }
        for i in range(sessions)
    ]
    (folder / "preprocessed_logs_2025-01-01.json").write_text(json.dumps(records))
    return folder


def small_words(data: Path, run: RunLayout, *more: str, **settings: object) -> list[str | Path]:
    """``train`` in two stages of ``PER_STAGE`` steps, a metric each, without dropout; ``settings`` for ``--set``
    have two underscores for the dot."""
    words: list[str | Path] = ["train", "--data", data, "--run-dir", run.root, "--preset", "demo"]
    words += ["--max-ratio", "0.67", "--epochs-per-stage", "2", "--device", "cpu"]
    changed = {name.replace("__", "."): value for name, value in settings.items()}
    for name, value in (_SETTINGS | changed).items():
        words += ["--set", f"{name}={value}"]
    return [*words, *more]


def to_its_end(
    words: list[str | Path], env: Mapping[str, str] | None = None, timeout: float = 280.0
) -> subprocess.CompletedProcess[str]:
    """Carry out ``train`` and wait until the run is over."""
    return engine(*words, "--foreground", env=environment() if env is None else env, timeout=timeout)


def told(run: RunLayout, kind: type[Kind]) -> list[Kind]:
    """The events of a kind in a run's journal, in order."""
    return [event for event in read_journal(run.journal) if isinstance(event, kind)]


def same_up_to(run: RunLayout, other: RunLayout, step: int) -> None:
    """Assert that each loss is the other's: to the bit up to a step since stage 1, within ``AGREES`` behind it."""
    ours, theirs = losses(run), losses(other)
    assert ours.keys() == theirs.keys()
    assert {s: loss for s, loss in ours.items() if s <= step} == {
        s: loss for s, loss in theirs.items() if s <= step
    }
    for s, loss in ours.items():
        assert loss == pytest.approx(theirs[s], rel=0, abs=AGREES), f"step {s}"
