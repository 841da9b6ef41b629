"""How well the preset ``quick`` finds the anomalies of labelled public logs, beside the simple rules.

Every row trains, calibrates and evaluates by the commands alone, as a user does; only ``evaluate`` uses labels.
``LOGBERT_BENCH_SEEDS`` sets the seeds (1 2 3), ``LOGBERT_BENCH_ROWS`` names some rows.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.classic import MOST_FILES
from tests.bench.commands import Evaluated, data, evaluate, seeds, spread, train

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
)
MEASURES = {"f1": "F1", "average_precision": "AP", "auroc": "AUROC", "false_alarm_rate": "false alarms"}


@dataclass
class Found:
    """Of one row, a value a seed."""

    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in MEASURES})
    floor: list[float] = field(default_factory=list)
    rule: str = ""
    minutes: list[float] = field(default_factory=list)

    def take(self, figures: Evaluated, minutes: float) -> None:
        """Add a seed's figures."""
        for name, values in self.values.items():
            values.append(figures.model[name])
        self.rule = figures.rule
        self.floor.append(figures.floor["f1"])
        self.minutes.append(minutes)

    def meets(self, wanted: dict[str, float]) -> bool:
        """Whether the means reach what is wanted."""
        return all(statistics.fmean(self.values[name]) >= least for name, least in wanted.items())


def run() -> bool:
    """Print the table; returns whether every row met its figures."""
    names = os.environ.get("LOGBERT_BENCH_ROWS", "").split()
    chosen = seeds(SEEDS)
    rows = [row for row in ROWS if not names or row.name in names]
    folder = Path(tempfile.mkdtemp(prefix="quality."))
    trained: dict[tuple[str, int, int], float] = {}
    print(f"quality: preset quick, seeds {', '.join(map(str, chosen))}; mean (lowest to highest)\n")
    print("| data | budget | F1 | AP | AUROC | false alarms | best simple rule | minutes | met |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    met = True
    try:
        for row in rows:
            found = Found()
            for seed in chosen:
                key = (row.train, row.max_files, seed)
                run_dir = folder / f"{row.train.replace('/', '-')}-{row.max_files}-{seed}"
                if key not in trained:
                    begin = time.monotonic()
                    train(data(row.train), run_dir, seed, "--max-files", str(row.max_files))
                    trained[key] = (time.monotonic() - begin) / 60
                inputs = [data(name) for name in row.evaluate]
                found.take(evaluate(run_dir, inputs, row.budget, row.normal_weight), trained[key])
            good = found.meets(row.wanted)
            met = met and good
            print(_line(row, found, good), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return met


def _line(row: Row, found: Found, good: bool) -> str:
    cells = [
        spread(values, "{:.3%}" if name == "false_alarm_rate" else "{:.3f}") + _wanted(row, name)
        for name, values in found.values.items()
    ]
    floor = f"{statistics.fmean(found.floor):.3f} ({found.rule})"
    minutes = f"{statistics.fmean(found.minutes):.1f}"
    return f"| {' | '.join([row.name, row.budget, *cells, floor, minutes, 'yes' if good else 'no'])} |"


def _wanted(row: Row, name: str) -> str:
    return f", wanted {row.wanted[name]:g}" if name in row.wanted else ""
