"""Whether what is estimated is what happens: peak memory beforehand, seconds of a step after a measurement.

Each row is a preset with a micro-batch, a length and with or without gradient checkpointing. A first trial, in a
process of its own, is the measurement that ``estimate --measure`` takes; with a second one the estimate is compared.
``LOGBERT_BENCH_ROWS`` names presets; ``LOGBERT_BENCH_DEVICE`` the device (cpu).
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from logbert_engine.estimates.asking import Measurement, asked_machine, config_of
from logbert_engine.estimates.estimate import estimate
from logbert_engine.estimates.learned import Learned, Measured
from logbert_engine.estimates.machine import CONTEXT_MB, Machine
from logbert_engine.protocol.errors import LogbertError
from logbert_engine.protocol.messages import RunSpec

MEMORY, TIME = 0.15, 0.25
"""By which share of what is measured an estimate may be off."""


class Row(NamedTuple):
    """A combination."""

    preset: str
    micro_batch: int
    tokens: int
    checkpointing: bool = False


ROWS = (
    Row("test", 8, 256),
    Row("test", 32, 64),
    Row("test", 32, 256, True),
    Row("quick", 48, 64),
    Row("small", 4, 512),
    Row("small", 8, 128),
    Row("small", 8, 512, True),
    Row("medium", 8, 512),
    Row("medium", 16, 128),
    Row("medium", 16, 256, True),
    Row("full", 1, 512),
    Row("full", 8, 128),
    Row("full", 4, 512, True),
    Row("m4max-medium", 1, 256),
    Row("m4max-medium", 1, 1024),
    Row("m4max-medium", 2, 512, True),
    Row("m4max-large", 1, 256),
    Row("m4max-large", 1, 512, True),
)


def run() -> bool:
    """Print the table; returns whether every row lies within ``MEMORY`` and ``TIME``."""
    device = os.environ.get("LOGBERT_BENCH_DEVICE", "cpu")
    named = os.environ.get("LOGBERT_BENCH_ROWS", "").split()
    machine = asked_machine()
    if machine.problem:
        raise SystemExit(machine.problem)
    print(
        "| preset | micro-batch | tokens | checkpointing | memory: estimated | measured | off by "
        "| a step: guessed | after measuring | measured | off by |"
    )
    print(f"|{' --- |' * 11}", flush=True)
    met = True
    with tempfile.TemporaryDirectory(prefix="estimates.") as folder:
        for number, row in enumerate(ROWS):
            if not named or row.preset in named:
                met = _line(row, device, machine, Path(folder) / f"{number}.json") and met
    return met


def _line(row: Row, device: str, machine: Machine, kept: Path) -> bool:
    spec = _request(row, device)
    bare = replace(machine, learned=Learned(None))
    guess = estimate(config_of(spec), bare)
    try:
        first, second = (_measured(spec, replace(bare, learned=Learned(path))) for path in (kept, None))
    except LogbertError as error:
        print(
            f"| {row.preset} | {row.micro_batch} | {row.tokens} | {row.checkpointing} | {error} |", flush=True
        )
        return False
    after = estimate(config_of(spec), replace(bare, learned=Learned(None, (first,))))
    assert second.peak_mb is not None
    assert guess.step_s is not None
    assert after.step_s is not None
    peak_mb = second.peak_mb + (CONTEXT_MB if second.device == "cuda" else 0.0)  # which torch does not count
    memory_off = guess.memory.value / peak_mb - 1
    seconds = second.micro_s + second.update_s
    time_off = after.step_s.value / seconds - 1
    print(
        f"| {row.preset} | {row.micro_batch} | {row.tokens} | {'yes' if row.checkpointing else 'no'} "
        f"| {guess.memory.value:,.0f} MB | {peak_mb:,.0f} MB | {memory_off:+.0%} "
        f"| {guess.step_s.value:.3g} s | {after.step_s.value:.3g} s | {seconds:.3g} s | {time_off:+.0%} |",
        flush=True,
    )
    return abs(memory_off) <= MEMORY and abs(time_off) <= TIME


def _request(row: Row, device: str) -> RunSpec:
    length = "train_length" if row.preset.startswith("m4max") else "max_length"
    return RunSpec(
        data="",
        run_dir="",
        preset=row.preset,
        device=device,  # type: ignore[arg-type]
        overrides=[
            f"training.batch={row.micro_batch}",
            f"training.micro_batch={row.micro_batch}",
            "training.accumulation=1",
            "training.batch_tokens=0",
            "training.precision=auto",
            f"model.{length}={row.tokens}",
            f"model.gradient_checkpointing={str(row.checkpointing).lower()}",
        ],
    )


def _measured(spec: RunSpec, machine: Machine) -> Measured:
    return Measurement(spec, None, machine).run(lambda _done, _steps: None).learned.measured[-1]
