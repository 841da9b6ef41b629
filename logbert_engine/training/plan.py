"""The plan of a run: its stages, which of them are complete, and where a resume picks up."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from logbert_engine.presets.stages import plan_stages
from logbert_engine.presets.types import RunConfig, Stages
from logbert_engine.protocol.errors import RunError
from logbert_engine.protocol.events import Quality, StageEnded, StagePlan
from logbert_engine.protocol.expectation import StageExpectation
from logbert_engine.protocol.runstate import EpochResult
from logbert_engine.rundir.checksums import recorded, replacing_checked
from logbert_engine.rundir.layout import RunLayout, StageLayout
from logbert_engine.training.origin import has_exact_state, read_origin, settings_digest


class StageMetrics(msgspec.Struct, kw_only=True, frozen=True):
    """``training_metrics.json``: written when a stage is complete."""

    stage: int
    name: str
    ratio: float
    sessions: int
    unique_sequences: int
    steps: int
    epochs: list[EpochResult]
    best_epoch: int
    best_valid_loss: float | None
    train_loss: float | None
    seconds: float
    sessions_per_second: float | None
    peak_memory_mb: float | None
    peak_device_mb: float | None
    cpu_percent: float | None
    device: str
    precision: str
    batch: int
    parent: str
    checkpoint: str
    sha256: str
    started_at: str
    finished_at: str
    figures: dict[str, list[float | int | None]]
    """Columns of the stage's curve: step, loss, lr."""
    quality: Quality | None = None
    """On the labelled sessions that the run names, where it does."""
    micro_batch: int = 0
    """Sessions on a device at once, at the end of the stage; 0 where that was not written down."""
    steps_seconds: float | None = None
    """Of ``seconds``, those of optimizer steps."""
    validation_seconds: float | None = None
    """Of ``seconds``, those of validation; the rest is that of writing models."""
    expected: StageExpectation | None = None
    """What the stage was expected to take."""


def stage_ended(metrics: StageMetrics) -> StageEnded:
    """The journal's record of a complete stage."""
    return StageEnded(
        stage=metrics.stage,
        sessions=metrics.sessions,
        steps=metrics.steps,
        best_epoch=metrics.best_epoch,
        train_loss=metrics.train_loss,
        best_valid_loss=metrics.best_valid_loss,
        seconds=metrics.seconds,
        peak_rss_mb=metrics.peak_memory_mb,
        peak_device_mb=metrics.peak_device_mb,
        checkpoint=metrics.checkpoint,
        sha256=metrics.sha256,
        quality=metrics.quality,
    )


def complete(stage: StageLayout) -> bool:
    """Whether a stage has been trained to its end. Its figures are written last, after the best model."""
    return stage.metrics.is_file() and stage.best.is_file()


def metrics_content(metrics: StageMetrics) -> bytes:
    """The content of ``training_metrics.json``."""
    return msgspec.json.format(msgspec.json.encode(metrics))


def write_metrics(stage: StageLayout, metrics: StageMetrics) -> None:
    """Write a stage's figures, which makes it complete; their sha256 lies with those of its checkpoints.

    Raises:
        StorageError: no room, no permission.
    """
    with replacing_checked(stage.metrics, folder=stage.checkpoints) as file:
        file.write(metrics_content(metrics))


def read_metrics(stage: StageLayout) -> StageMetrics:
    """The figures of a complete stage.

    Raises:
        RunError: the file is damaged, or not that of the stage and its best model.
    """
    again = f"remove it, and a resume trains {stage.name} again"
    try:
        content, known = stage.metrics.read_bytes(), recorded(stage.metrics, stage.checkpoints)
        model = recorded(stage.best)
    except OSError as error:
        raise RunError(f"cannot read the figures of {stage.root}: {error.strerror or error}.") from error
    metrics = metrics_in(content)
    if metrics is None or (known and hashlib.sha256(content).hexdigest() not in known):
        raise RunError(f"{stage.metrics} is damaged; {again}.")
    if metrics.name != stage.name:
        raise RunError(f"{stage.metrics} is that of {metrics.name}; {again}.")
    if model and metrics.sha256 not in model:
        raise RunError(f"{stage.metrics} is not that of {stage.best}, whose sha256 is another one; {again}.")
    return metrics


def metrics_in(content: bytes) -> StageMetrics | None:
    """The figures that a ``training_metrics.json`` holds; None where it is damaged beyond reading."""
    try:
        return msgspec.json.decode(content, type=StageMetrics)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


@dataclass(frozen=True)
class ResumePoint:
    """Where the next attempt of a run begins."""

    done: list[StageLayout]
    """Complete stages, in order."""
    next: StagePlan | None
    """The stage to train; None when all are complete."""
    in_mid_stage: bool
    """Whether an exact state of ``next`` is there that it can go on from."""
    unused: str = ""
    """Why the exact state that is there cannot be gone on from; empty where it can, or there is none."""

    def in_words(self) -> str:
        """For people."""
        if self.next is None:
            return "all stages are complete"
        if self.in_mid_stage:
            return f"{self.next.name}, from its last saved state"
        start = f"the best model of {self.done[-1].name}" if self.done else "its beginning"
        why = f" ({self.unused})" if self.unused else ""
        return f"{self.next.name}, from {start}{why}"


def resume_point(run: RunLayout, stages: Stages, settings: str = "") -> ResumePoint:
    """Read from the run directory where the next attempt begins.

    Args:
        run: the run directory.
        stages: of its configuration.
        settings: the digest of its settings (``origin.settings_digest``), which an exact state has to be of;
            an empty one is not compared.
    """
    done: list[StageLayout] = []
    for plan in plan_stages(stages):
        stage = run.stage(plan.name)
        if not complete(stage):
            exact, unused = has_exact_state(stage), ""
            of = read_origin(stage) if exact and settings else None
            if of is not None and of.config != settings:
                exact, unused = False, "its saved state is of other settings"
            return ResumePoint(done=done, next=plan, in_mid_stage=exact, unused=unused)
        done.append(stage)
    return ResumePoint(done=done, next=None, in_mid_stage=False)


def resume_words(run: RunLayout) -> str:
    """Where a resume of the run in a directory would pick up, in words."""
    from logbert_engine.presets.runfile import read_config

    config: RunConfig = read_config(run)
    return resume_point(run, config.stages, settings_digest(config)).in_words()


def parent_of(run: RunLayout, plan: StagePlan) -> StageLayout | None:
    """The complete stage that a stage starts from: the last one of a lower number."""
    earlier = [s for s in run.stages() if s.index < plan.index and complete(s)]
    return earlier[-1] if earlier else None
