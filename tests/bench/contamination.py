"""What it costs that the sessions taken for ordinary are not: anomalies mixed into training and calibration.

The classic HDFS normals, with anomalies drawn from the labelled pools in among them and no label on any session. The
sessions drawn for the largest share are taken out of the evaluation of every row, so that rows compare.
``LOGBERT_BENCH_SEEDS`` sets the seeds (1); a seed is that of the draw and of the training.
"""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.bench import sessions
from tests.bench.classic import MOST_FILES
from tests.bench.commands import Evaluated, data, evaluate, seeds, spread, train
from tests.bench.sessions import Record

SEEDS = (1,)
SHARES = (0.0, 0.001, 0.01, 0.05)
"""Of the resulting training pool, that are anomalies."""
POOLS = ("hdfs/eval_dated", "hdfs/eval_bulk")
BUDGET, WIDER, NORMAL_WEIGHT = "0.1%", "1%", 33.6


@dataclass(frozen=True)
class Cell:
    """A share of anomalies under one seed."""

    mixed_in: int
    figures: Evaluated
    wider: Evaluated
    """At the wider budget."""
    copies: float
    """Share of the evaluated anomalies with exactly the events of one that was mixed in."""


def needed(normals: int, share: float) -> int:
    """Anomalies that make up a share of what they and the normals are together."""
    return round(normals * share / (1 - share))


def mixed(files: list[list[Record]], anomalies: list[Record], draw: random.Random) -> list[list[Record]]:
    """The files with each anomaly at a place drawn anew in a file drawn by its size; labels are gone."""
    result = [[sessions.without_label(record) for record in records] for records in files]
    sizes = [len(records) for records in files]
    for anomaly in anomalies:
        records = draw.choices(result, sizes)[0]
        records.insert(draw.randrange(len(records) + 1), sessions.without_label(anomaly))
    return result


def run() -> bool:
    """Print the table. No figure is promised, so none can be missed."""
    chosen = seeds(SEEDS)
    print(f"contamination: preset quick, classic HDFS normals, budget {BUDGET}, seeds {chosen}\n")
    print(
        "| anomalies in training | F1 | AP | precision | recall | false alarms | best simple rule, F1 "
        f"| anomalies met in training | at {WIDER}: F1 | recall | false alarms |"
    )
    print(f"|{' --- |' * 11}", flush=True)
    for share in SHARES:
        print(_line(share, [_cell(share, seed) for seed in chosen]), flush=True)
    return True


def _cell(share: float, seed: int) -> Cell:
    normals = sessions.read(data("hdfs/train"), MOST_FILES)
    pools = {name: sessions.read(data(name)) for name in POOLS}
    labelled = [record for files in pools.values() for records in files for record in records]
    size = sum(map(len, normals))
    draw = random.Random(seed)
    drawn = draw.sample([record for record in labelled if record["label"]], needed(size, max(SHARES)))
    inside, gone = drawn[: needed(size, share)], {record["session_id"] for record in drawn}
    met = {tuple(record["event_sequence"]) for record in inside}
    left = [record for record in labelled if record["label"] and record["session_id"] not in gone]
    copies = sum(tuple(record["event_sequence"]) in met for record in left) / len(left)
    with tempfile.TemporaryDirectory(prefix="contamination.") as name:
        folder = Path(name)
        training = sessions.write(folder / "train", mixed(normals, inside, draw))
        evaluated = [
            sessions.write(
                folder / pool,
                [[record for record in records if record["session_id"] not in gone] for records in files],
            )
            for pool, files in pools.items()
        ]
        train(training, folder / "run", seed, "--max-files", "0")
        figures, wider = (
            evaluate(folder / "run", evaluated, budget, NORMAL_WEIGHT) for budget in (BUDGET, WIDER)
        )
    return Cell(mixed_in=len(inside), figures=figures, wider=wider, copies=copies)


def _line(share: float, cells: list[Cell]) -> str:
    def columns(figures: list[Evaluated], *names: str) -> list[str]:
        forms = ["{:.3%}" if name == "false_alarm_rate" else "{:.3f}" for name in names]
        return [
            spread([each.model[name] for each in figures], form)
            for name, form in zip(names, forms, strict=True)
        ]

    at, wider = [cell.figures for cell in cells], [cell.wider for cell in cells]
    words = [
        f"{share:.1%} ({cells[0].mixed_in})",
        *columns(at, "f1", "average_precision", "precision", "recall", "false_alarm_rate"),
        f"{spread([each.floor['f1'] for each in at])} ({', '.join(sorted({each.rule for each in at}))})",
        spread([cell.copies for cell in cells], "{:.1%}"),
        *columns(wider, "f1", "recall", "false_alarm_rate"),
    ]
    return f"| {' | '.join(words)} |"
