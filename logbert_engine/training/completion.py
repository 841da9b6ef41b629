"""The ends of epochs and stages: validation, model files, the export, the figures. Rank 0 writes."""

from __future__ import annotations

import math
import time
from datetime import datetime

from logbert_engine.models.checkpoint import Calibration, ModelRecord, export, load_model, save_model
from logbert_engine.models.encoder import MaskedModel
from logbert_engine.presets.types import View
from logbert_engine.protocol import wording
from logbert_engine.protocol.errors import RunError
from logbert_engine.protocol.events import EpochEnded, StagePlan
from logbert_engine.protocol.expectation import StageExpectation
from logbert_engine.protocol.runstate import EpochResult
from logbert_engine.rundir.checksums import sha256_of
from logbert_engine.rundir.layout import StageLayout
from logbert_engine.training.context import RunContext
from logbert_engine.training.origin import forget_exact_state
from logbert_engine.training.plan import StageMetrics, stage_ended, write_metrics
from logbert_engine.training.position import Position
from logbert_engine.training.quality import quality_of
from logbert_engine.training.validation import validate


def end_epoch(
    context: RunContext,
    plan: StagePlan,
    layout: StageLayout,
    model: MaskedModel,
    position: Position,
    epoch: int,
    steps_before: int,
) -> float:
    """Validate, write the epoch's model and, when it is the best so far, the best model.

    Returns:
        The validation loss.

    Raises:
        Interrupted: a pause or stop was asked for during validation; nothing has been written.
        RunError: the validation loss is not finite; nothing has been written.
        StorageError: no room.
    """
    begin = time.monotonic()
    valid_loss, calibration = validate(context, model, context.valid_pieces(), position.centres)
    validated = time.monotonic()
    if not math.isfinite(valid_loss):
        raise RunError(
            f"the validation loss of {plan.name} is not finite after epoch {epoch}; no model was saved from it and "
            "the best model so far is untouched. Give the same train command with a lower learning rate "
            "(--set training.learning_rate=…): the stage begins again."
        )
    train_loss = position.epoch_loss / position.epoch_weight
    best = position.best_valid_loss is None or valid_loss < position.best_valid_loss
    if context.leads:
        record = _record(context, plan, epoch, valid_loss, calibration, position.centres)
        with context.wishes.heart.kept():
            save_model(layout.epoch(epoch), model, record)
            if best:
                save_model(layout.best, model, record)
    if best:
        position.best_epoch, position.best_valid_loss = epoch, valid_loss
    took = time.monotonic() - begin
    position.seconds += took
    position.validation_s += validated - begin
    end_s = round(took, 3)
    seconds = round(position.epoch_seconds + took, 3)
    total_step = steps_before + position.step
    position.epochs.append(
        EpochResult(
            epoch=epoch,
            total_step=total_step,
            train_loss=train_loss,
            valid_loss=valid_loss,
            seconds=seconds,
            best=best,
            end_s=end_s,
        )
    )
    position.epoch_loss = position.epoch_weight = position.epoch_seconds = 0.0
    context.recorder.record(
        EpochEnded(
            stage=plan.index,
            epoch=epoch,
            total_step=total_step,
            train_loss=train_loss,
            valid_loss=valid_loss,
            seconds=seconds,
            end_s=end_s,
            checkpoint=str(layout.epoch(epoch).relative_to(context.run.root)),
            best=best,
        )
    )
    mark = ", the best so far" if best else ""
    context.recorder.log(
        "info",
        f"{plan.name}: epoch {epoch}/{plan.epochs} train loss {train_loss:.4f} "
        f"valid loss {valid_loss:.4f}{mark}, {seconds:,.1f} s",
    )
    return valid_loss


def _record(
    context: RunContext,
    plan: StagePlan,
    epoch: int,
    valid_loss: float,
    calibration: Calibration | None,
    centres: dict[View, list[float]],
) -> ModelRecord:
    return ModelRecord(
        vocabulary=context.vocabulary,
        views=context.sizes.views,
        rotations=context.sizes.rotations,
        centres=centres,
        calibration=calibration,
        templates=context.templates,
        room=context.room,
        stage=plan.index,
        ratio=plan.ratio,
        epoch=epoch,
        valid_loss=valid_loss,
        seed=context.config.seed,
        normals=context.normals,
    )


def end_stage(
    context: RunContext,
    plan: StagePlan,
    layout: StageLayout,
    position: Position,
    parent: str,
    cpu_percent: float,
    micro_batch: int,
    expected: StageExpectation | None,
) -> None:
    """Export the best model and write the stage's figures, which make it complete.

    Raises:
        StorageError: no room; the exact state is still there.
    """
    best, record = load_model(layout.best)
    with context.wishes.heart.kept():
        export(layout.exported, best, record)
        digest = sha256_of(layout.best)
        quality = quality_of(context, layout)
    metrics = StageMetrics(
        stage=plan.index,
        name=plan.name,
        ratio=plan.ratio,
        sessions=plan.sessions,
        unique_sequences=plan.unique,
        steps=plan.steps,
        epochs=position.epochs,
        best_epoch=position.best_epoch,
        best_valid_loss=position.best_valid_loss,
        train_loss=position.epochs[-1].train_loss,
        seconds=round(position.seconds, 3),
        sessions_per_second=round(position.sessions / max(position.seconds, 1e-9), 1),
        peak_memory_mb=round(position.peak_rss_mb, 1),
        peak_device_mb=position.peak_device_mb,
        cpu_percent=cpu_percent,
        device=context.compute.kind,
        precision=context.compute.precision,
        batch=plan.batch,
        micro_batch=micro_batch,
        parent=parent,
        checkpoint=str(layout.best.relative_to(context.run.root)),
        sha256=digest,
        started_at=position.started_at,
        finished_at=datetime.now().isoformat(timespec="seconds"),
        figures={"step": list(position.steps), "loss": list(position.losses), "lr": list(position.rates)},
        quality=quality,
        steps_seconds=round(position.steps_s, 3),
        validation_seconds=round(position.validation_s, 3),
        expected=expected,
    )
    write_metrics(layout, metrics)
    forget_exact_state(layout)
    context.recorder.record(stage_ended(metrics))
    context.recorder.log(
        "info",
        f"{plan.name}: complete in {metrics.seconds:,.0f} s, best epoch {position.best_epoch} "
        f"with valid loss {position.best_valid_loss:.4f}, peak memory {position.peak_rss_mb:,.0f} MB",
    )
    if quality is not None:
        context.recorder.log("info", f"{plan.name}, on labelled sessions: {wording.quality_words(quality)}")
    context.recorder.sync()
