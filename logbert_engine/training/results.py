"""The summary of a run: ``progressive_training_results.json`` for programs, ``…_summary.txt`` for people."""

from __future__ import annotations

from datetime import datetime

import msgspec

from logbert_engine.presets.types import RunConfig
from logbert_engine.protocol import wording
from logbert_engine.protocol.events import StagePlan
from logbert_engine.rundir.atomic import write_file
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.training.comparison import Comparison, comparison_table, comparisons_of
from logbert_engine.training.plan import StageMetrics, complete, read_metrics


class RunResults(msgspec.Struct, kw_only=True, frozen=True):
    """``progressive_training_results.json``."""

    preset: str
    data: str
    device: str
    seed: int
    planned_stages: int
    completed_stages: int
    best_stage: str | None
    """The complete stage of lowest validation loss."""
    best_valid_loss: float | None
    total_seconds: float
    peak_memory_mb: float | None
    written_at: str
    documented: dict[str, str]
    """What the source documents expect of the preset: theirs, not measured."""
    stages: list[StageMetrics]
    enough: str | None = None
    """The stage after which more sessions lowered the validation loss by less than ``GAIN``; None where none is."""
    comparisons: list[Comparison] = []
    """What was documented, estimated and measured: of the complete stages together, then of each."""


GAIN = 0.01
"""Share of the validation loss."""


def collect(run: RunLayout, config: RunConfig, plans: list[StagePlan]) -> RunResults:
    """Gather the figures of the complete stages."""
    stages = [read_metrics(run.stage(plan.name)) for plan in plans if complete(run.stage(plan.name))]
    valued = [stage for stage in stages if stage.best_valid_loss is not None]
    best = min(valued, key=lambda stage: stage.best_valid_loss or 0.0, default=None)
    peaks = [stage.peak_memory_mb for stage in stages if stage.peak_memory_mb is not None]
    return RunResults(
        preset=config.preset,
        data=config.data.path,
        device=stages[-1].device if stages else config.device,
        seed=config.seed,
        planned_stages=len(plans),
        completed_stages=len(stages),
        best_stage=best.name if best else None,
        best_valid_loss=best.best_valid_loss if best else None,
        total_seconds=round(sum(stage.seconds for stage in stages), 3),
        peak_memory_mb=max(peaks, default=None),
        written_at=datetime.now().isoformat(timespec="seconds"),
        documented=config.documented,
        stages=stages,
        enough=enough_of(valued),
        comparisons=comparisons_of(stages, config.documented),
    )


def enough_of(stages: list[StageMetrics]) -> str | None:
    """The first stage after which none has a validation loss lower by ``GAIN``; None where that is the last."""
    losses = [stage.best_valid_loss or 0.0 for stage in stages]
    for i in range(len(stages) - 1):
        if min(losses[i + 1 :]) > losses[i] * (1 - GAIN):
            return stages[i].name
    return None


def duration(seconds: float) -> str:
    """A length of time as people write it: ``42 s``, ``3 min 05 s``, ``1 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def stage_table(results: RunResults) -> str:
    """The stages, a line each, in columns."""
    head = (
        f"{'stage':<18}{'share':>6}{'sessions':>11}{'distinct':>10}{'steps':>8}"
        f"{'train':>9}{'valid':>9}{'time':>13}{'memory':>10}"
    )
    lines = [head, "-" * len(head)]
    for stage in results.stages:
        train = "" if stage.train_loss is None else f"{stage.train_loss:.4f}"
        valid = "" if stage.best_valid_loss is None else f"{stage.best_valid_loss:.4f}"
        memory = "" if stage.peak_memory_mb is None else f"{stage.peak_memory_mb:,.0f} MB"
        lines.append(
            f"{stage.name:<18}{stage.ratio:>6.0%}{stage.sessions:>11,}{stage.unique_sequences:>10,}"
            f"{stage.steps:>8,}{train:>9}{valid:>9}{duration(stage.seconds):>13}{memory:>10}"
        )
    return "\n".join(lines)


def summary_text(results: RunResults) -> str:
    """What ``progressive_training_summary.txt`` says."""
    lines = [
        f"preset {results.preset}, data {results.data}, device {results.device}, seed {results.seed}",
        f"{results.completed_stages} of {results.planned_stages} stages complete "
        f"in {duration(results.total_seconds)}, written {results.written_at}",
        "",
        stage_table(results),
        "",
        "train, valid: mean surprisal per event in nats; valid on the same held-out sessions in every stage",
    ]
    if results.best_stage is not None:
        lines.append(f"lowest validation loss: {results.best_valid_loss:.4f} at {results.best_stage}")
    if results.enough is not None:
        lines.append(
            f"after {results.enough} more sessions lowered the validation loss by less than {GAIN:.0%}"
        )
    lines += [
        f"{stage.name} on labelled sessions: {wording.quality_words(stage.quality)}"
        for stage in results.stages
        if stage.quality is not None
    ]
    if results.documented:
        expected = "; ".join(f"{key} {value}" for key, value in results.documented.items())
        lines.append(f"the source documents expect (theirs, not measured): {expected}")
    if results.comparisons:
        lines += ["", comparison_table(results.comparisons)]
    return "\n".join(lines) + "\n"


def write_results(run: RunLayout, config: RunConfig, plans: list[StagePlan]) -> RunResults:
    """Write both files anew."""
    results = collect(run, config, plans)
    write_file(run.results, msgspec.json.format(msgspec.json.encode(results)))
    write_file(run.summary, summary_text(results))
    return results


def read_results(run: RunLayout) -> RunResults | None:
    """The run's results so far, or None when there is no usable file of them."""
    if not run.results.is_file():
        return None
    try:
        return msgspec.json.decode(run.results.read_bytes(), type=RunResults)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
