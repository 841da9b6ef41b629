"""Whether the share of later ordinary sessions that alarms lies inside the interval that ``infer`` states.

The preset ``quick`` at a budget of 0.5%. ``LOGBERT_BENCH_SEEDS`` sets the seeds (1 2 3), ``LOGBERT_BENCH_FOLDER`` the
folder of runs, which is that of the benchmark ``quality``.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from tests.bench.classic import MOST_FILES
from tests.bench.commands import data, evaluation, figures, seeds
from tests.bench.quality import SEEDS, Row, run_of

BUDGET = "0.5%"
ROWS = (
    Row("hdfs-classic", "hdfs/train", ("hdfs/eval_dated",), BUDGET, {}, MOST_FILES),
    Row("hdfs-all", "hdfs/train", ("hdfs/eval_dated",), BUDGET, {}),
    Row("bgl-w20", "bgl_w20/train", ("bgl_w20/eval",), BUDGET, {}),
)


def run() -> bool:
    """Print the table; returns whether every share lies inside its interval."""
    with tempfile.TemporaryDirectory(prefix="budget.") as fresh:
        folder = Path(os.environ.get("LOGBERT_BENCH_FOLDER") or fresh)
        print("| data | seed | budget | expected | 95% interval | held out | found | inside |")
        print(f"|{' --- |' * 8}", flush=True)
        inside = [_line(folder, row, seed) for row in ROWS for seed in seeds(SEEDS)]
    return all(inside)


def _line(folder: Path, row: Row, seed: int) -> bool:
    printed = evaluation(run_of(folder, row, seed), [data(name) for name in row.evaluate], row.budget, 1.0)
    found = figures(printed).model["false_alarm_rate"]
    expected = json.loads(printed)["expected"]
    inside = bool(expected["low"] <= found <= expected["high"])
    print(
        f"| {row.name} | {seed} | {row.budget} | {expected['share']:.2%} | {expected['low']:.2%} to "
        f"{expected['high']:.2%} | {expected['held_out']:,} | {found:.2%} | {'yes' if inside else 'no'} |",
        flush=True,
    )
    return inside
