"""How well the preset ``quick`` finds the anomalies of labelled public logs, beside the simple rules.

Every row trains, calibrates and evaluates by the commands alone, as a user does; only ``evaluate`` uses labels.
``LOGBERT_BENCH_SEEDS`` sets the seeds (1 2 3), ``LOGBERT_BENCH_ROWS`` names some rows, ``LOGBERT_BENCH_FOLDER`` a
folder where runs and figures stay: another call goes on with what is there.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import statistics
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.classic import MOST_FILES
from tests.bench.commands import Evaluated, data, evaluation, figures, seeds, spread, train

SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Row:
    """A data set, and what is wanted of it."""

    name: str
    train: str
    """Folder below the shared data."""
    evaluate: tuple[str, ...]
    budget: str
    wanted: dict[str, float]
    """Measure to the least mean over the seeds."""
    max_files: int = 0
    normal_weight: float = 1.0
    answers: int = 0
    """Of a simulated operator. Rows with answers are of logs that changed: the model adapts before it judges."""
    wanted_after: float = 0.0
    """F1 after them."""


ROWS = (
    Row(
        "hdfs-classic",
        "hdfs/train",
        ("hdfs/eval_dated", "hdfs/eval_bulk"),
        "0.1%",
        {"f1": 0.975, "average_precision": 0.99},
        MOST_FILES,
        33.6,
    ),
    Row("hdfs-dated", "hdfs/train", ("hdfs/eval_dated",), "0.1%", {"f1": 0.965}, MOST_FILES),
    Row("hdfs-all", "hdfs/train", ("hdfs/eval_dated", "hdfs/eval_bulk"), "0.05%", {"f1": 0.985}, 0, 33.6),
    Row("bgl-node", "bgl_node/train", ("bgl_node/eval",), "0.1%", {"f1": 0.99}),
    Row("bgl-w20", "bgl_w20/train", ("bgl_w20/eval",), "0.1%", {"f1": 0.975}),
    Row("adfa", "adfa/train", ("adfa/eval",), "5%", {"f1": 0.52, "average_precision": 0.55, "auroc": 0.85}),
    Row("hadoop", "hadoop/train", ("hadoop/eval",), "5%", {"f1": 0.65}),
    Row(
        "bgl-node-drift",
        "bgl_node/train_early",
        ("bgl_node/eval",),
        "0.1%",
        {"f1": 0.5},
        answers=20,
        wanted_after=0.9,
    ),
    Row("bgl-w20-drift", "early", ("later",), "0.1%", {"f1": 0.45}, answers=50, wanted_after=0.75),
)
EARLY_SHARE = 0.4
"""Of bgl_w20, in the order of time: its normal sessions are trained on, all of the rest is evaluated."""
MEASURES = {"f1": "F1", "average_precision": "AP", "auroc": "AUROC", "false_alarm_rate": "false alarms"}


@dataclass
class Found:
    """Of one row, a value a seed."""

    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in MEASURES})
    floor: list[float] = field(default_factory=list)
    rule: str = ""
    minutes: list[float] = field(default_factory=list)
    frozen: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)

    def take(self, figures: Evaluated, minutes: float, answers: int) -> None:
        """Add a seed's figures."""
        for name, values in self.values.items():
            values.append(figures.model[name])
        self.rule = figures.rule
        self.floor.append(figures.floor["f1"])
        self.minutes.append(minutes)
        if answers:
            self.frozen.append(figures.rows["all evidence"]["f1"])
            self.after.append(figures.rows[f"after {answers} answers"]["f1"])

    def meets(self, row: Row) -> bool:
        """Whether the means reach what is wanted."""
        met = all(statistics.fmean(self.values[name]) >= least for name, least in row.wanted.items())
        return met and (not row.answers or statistics.fmean(self.after) >= row.wanted_after)


def run() -> bool:
    """Print the table; returns whether every row met its figures."""
    names = os.environ.get("LOGBERT_BENCH_ROWS", "").split()
    chosen = seeds(SEEDS)
    rows = [row for row in ROWS if not names or row.name in names]
    kept = os.environ.get("LOGBERT_BENCH_FOLDER")
    folder = Path(kept or tempfile.mkdtemp(prefix="quality."))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"quality: preset quick, seeds {', '.join(map(str, chosen))}; mean (lowest to highest)\n")
    print("| data | budget | F1 | AP | AUROC | false alarms | best simple rule | minutes | met |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    met = True
    try:
        if any(row.train == "early" for row in rows) and not (folder / "later").exists():
            _split_over_time(folder)
        for row in rows:
            found = Found()
            for seed in chosen:
                run_dir = run_of(folder, row, seed)
                printed = folder / f"{row.name}-{seed}.json"
                if not printed.exists():
                    inputs = [_data(name, folder) for name in row.evaluate]
                    more = ["--adapt", "--operator", str(row.answers)] if row.answers else []
                    printed.write_text(evaluation(run_dir, inputs, row.budget, row.normal_weight, *more))
                found.take(figures(printed.read_text()), _minutes(run_dir), row.answers)
            good = found.meets(row)
            met = met and good
            print(_line(row, found, good), flush=True)
    finally:
        if kept is None:
            shutil.rmtree(folder, ignore_errors=True)
    return met


def run_of(folder: Path, row: Row, seed: int) -> Path:
    """The run of a row, trained to its end."""
    run_dir = folder / f"{row.train.replace('/', '-')}-{row.max_files}-{seed}"
    train(_data(row.train, folder), run_dir, seed, "--max-files", str(row.max_files))
    return run_dir


def _minutes(run_dir: Path) -> float:
    """Of training."""
    results = json.loads((run_dir / "progressive_training_results.json").read_text())
    return float(results["total_seconds"]) / 60


def _split_over_time(folder: Path) -> None:
    """Write bgl_w20 in the order of time as two folders: normal sessions of the first part, and all of the rest."""
    shared = data("bgl_w20")
    sessions: list[dict[str, Any]] = []
    for pool in ("train", "train_abnormal", "eval"):
        for file in sorted((shared / pool).glob("*.json.gz")):
            sessions += json.loads(gzip.decompress(file.read_bytes()))
    sessions.sort(key=lambda session: str(session["session_id"]))
    early = round(len(sessions) * EARLY_SHARE)
    parts = {"early": [s for s in sessions[:early] if not s["label"]], "later": sessions[early:]}
    for name, part in parts.items():
        file = folder / name / "preprocessed_logs_2005-10-01.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(part))


def _data(name: str, folder: Path) -> Path:
    return folder / name if name in ("early", "later") else data(name)


def _line(row: Row, found: Found, good: bool) -> str:
    cells = [
        spread(values, "{:.3%}" if name == "false_alarm_rate" else "{:.3f}") + _wanted(row, name)
        for name, values in found.values.items()
    ]
    floor = f"{statistics.fmean(found.floor):.3f} ({found.rule})"
    minutes = f"{statistics.fmean(found.minutes):.1f}"
    if row.answers:
        cells[0] += (
            f"; not adapted {spread(found.frozen)}; after {row.answers} answers "
            f"{spread(found.after)}, wanted {row.wanted_after:g}"
        )
    return f"| {' | '.join([row.name, row.budget, *cells, floor, minutes, 'yes' if good else 'no'])} |"


def _wanted(row: Row, name: str) -> str:
    return f", wanted {row.wanted[name]:g}" if name in row.wanted else ""
