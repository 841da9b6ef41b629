"""Training rate of the paper's size on HDFS, beside transformers' Trainer in the same run."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from logbert_engine.protocol.events import Metric
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.rundir.journal import read_journal
from logbert_engine.supervision.launch import supervisor_command
from logbert_engine.training.prepare import prepare
from tests.bench import classic

ROUNDS, STEPS, WARM_UP_METRICS = 3, 60, 1
AT_LEAST = 2.0


def _peer() -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.trainer_peer", str(STEPS)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _ours(folder: Path, *, duplicate_weight: int) -> dict[str, float]:
    """The real worker on a stage of one epoch; its own metrics, without the first."""
    settings = {
        "model.hidden": classic.WIDTH,
        "model.layers": classic.LAYERS,
        "model.heads": classic.HEADS,
        "model.ffn": classic.FFN,
        "model.dropout": classic.DROPOUT,
        "training.batch": classic.BATCH,
        "training.learning_rate": 1e-3,
        "training.duplicate_weight": duplicate_weight,
        "stages.epochs": 1,
    }
    run = prepare(
        RunSpec(
            data=str(classic.sessions_folder()),
            run_dir=str(folder),
            preset="test",
            sample_ratio=1.0,
            max_files=classic.MOST_FILES,
            progressive=False,
            device="cpu",
            overrides=[f"{key}={value}" for key, value in settings.items()],
        )
    )
    subprocess.run(supervisor_command(run), check=True, stdin=subprocess.DEVNULL)
    metrics = [event for event in read_journal(run.journal) if isinstance(event, Metric)][WARM_UP_METRICS:]
    return {
        "sessions_per_s": statistics.median(m.sessions_per_s or 0.0 for m in metrics),
        "events_per_s": statistics.median(m.events_per_s or 0.0 for m in metrics),
    }


def run() -> bool:
    """Print the table; whether the rate is at least twice the peer's."""
    os.environ.setdefault("LOGBERT_CACHE_DIR", tempfile.mkdtemp(prefix="bench-"))
    os.environ.setdefault("LOGBERT_STATE_DIR", tempfile.mkdtemp(prefix="bench-"))
    rows: dict[str, list[dict[str, float]]] = {
        "transformers Trainer": [],
        "ours": [],
        "ours, each session visited": [],
    }
    for _ in range(ROUNDS):  # in turn, so that a noisy neighbour meets all of them
        with tempfile.TemporaryDirectory() as folder:
            rows["transformers Trainer"].append(_peer())
            rows["ours"].append(_ours(Path(folder) / "a", duplicate_weight=4))
            rows["ours, each session visited"].append(_ours(Path(folder) / "b", duplicate_weight=1))
    print(
        f"training, {classic.WIDTH} wide, {classic.LAYERS} layers, {classic.HEADS} heads, FFN {classic.FFN}, "
        f"batch {classic.BATCH}, dropout {classic.DROPOUT}, HDFS classic; median of {ROUNDS} rounds"
    )
    print(f"{'':<28}{'sessions/s':>12}{'ratio':>8}{'events/s':>12}{'ratio':>8}")
    medians = {
        name: {key: statistics.median(r[key] for r in found) for key in ("sessions_per_s", "events_per_s")}
        for name, found in rows.items()
    }
    base = medians["transformers Trainer"]
    for name, found in medians.items():
        sessions, events = found["sessions_per_s"], found["events_per_s"]
        print(
            f"{name:<28}{sessions:>12,.0f}{sessions / base['sessions_per_s']:>8.2f}"
            f"{events:>12,.0f}{events / base['events_per_s']:>8.2f}"
        )
    ratio = medians["ours"]["sessions_per_s"] / base["sessions_per_s"]
    print(f"training rate against the Trainer: {ratio:.2f} (at least {AT_LEAST})")
    return ratio >= AT_LEAST
