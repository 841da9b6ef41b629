"""One stage: from the parent's weights over epochs to its best model, its figures, and its logs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import datetime

import msgspec
import psutil
import torch
from torch import Tensor

from logbert_engine.data.batches import EpochPlan, Pieces, assemble, plan_epoch
from logbert_engine.data.masks import training_mask
from logbert_engine.models.checkpoint import Calibration, ModelRecord, export, load_model, save_model
from logbert_engine.models.device import device_mb, resident_mb
from logbert_engine.models.encoder import MaskedModel
from logbert_engine.models.vocabulary import CLS, END, PAD
from logbert_engine.protocol.errors import CheckpointError, RunError, StorageError
from logbert_engine.protocol.events import EpochEnded, Metric, StagePlan, StageStarted
from logbert_engine.protocol.runstate import EpochResult
from logbert_engine.rundir.atomic import write_file
from logbert_engine.rundir.checksums import remove_checked, sha256_of
from logbert_engine.rundir.layout import StageLayout
from logbert_engine.training import position as exact
from logbert_engine.training.context import RunContext
from logbert_engine.training.plan import StageMetrics, stage_ended
from logbert_engine.training.position import Position
from logbert_engine.training.schedule import learning_rate
from logbert_engine.training.step import make_optimizer, optimizer_step
from logbert_engine.training.validation import validate
from logbert_engine.training.wishes import Interrupted

LoadModel = Callable[[], MaskedModel]


class StageTrainer:
    """Trains one stage to its end; an interruption leaves an exact state behind."""

    def __init__(
        self, context: RunContext, plan: StagePlan, steps_before: int, parent: str, load: LoadModel
    ) -> None:
        self._context = context
        self._plan = plan
        self._steps_before = steps_before
        self._parent = parent
        self._layout: StageLayout = context.run.stage(plan.name)
        self._pieces: Pieces = context.stage_pieces(plan)
        self._lookup = context.vocabulary.lookup(context.store.events)
        self._process = psutil.Process()
        self._origin = exact.origin(plan.name, context.config, context.store.fingerprint)
        self._model = load().to(context.compute.device)
        self._optimizer = make_optimizer(self._model, context.config.training)
        self._scaler = torch.amp.GradScaler(context.compute.kind, enabled=context.compute.precision == "fp16")
        self._position = Position(started_at=datetime.now().isoformat(timespec="seconds"))
        self._pending: list[tuple[Tensor, float, Tensor]] = []
        self._warned_memory = False

    def train(self) -> StageMetrics:
        """Train to the end of the stage.

        Raises:
            Interrupted: a pause or stop was asked for; the exact state is on disk.
            RunError: the loss is not finite; no weights were saved from it.
            StorageError: no room; the last saved state is whole.
        """
        context, plan = self._context, self._plan
        context.recorder.open_stage(plan.index, self._layout)
        try:
            resumed = self._restore()
            self._announce(resumed)
            try:
                for epoch in range(1, plan.epochs + 1):
                    if epoch > len(self._position.epochs):
                        self._epoch(epoch)
            except Interrupted:
                self._save_exact()
                raise
            return self._finish()
        finally:
            context.recorder.close_stage()

    def _restore(self) -> bool:
        if not self._layout.resume.exists():
            torch.manual_seed(self._context.config.seed + self._plan.index)
            return False
        try:
            payload = exact.read(self._layout.resume, self._origin)
        except CheckpointError as error:
            self._context.recorder.log(
                "warning", f"{self._layout.resume.name} cannot be used ({error}); the stage starts again"
            )
            torch.manual_seed(self._context.config.seed + self._plan.index)
            return False
        self._position = exact.restore(
            payload, self._model, self._optimizer, self._scaler, self._context.compute
        )
        return True

    def _announce(self, resumed: bool) -> None:
        plan, recorder = self._plan, self._context.recorder
        step = self._position.step
        total_step = self._steps_before + step
        recorder.record(StageStarted(stage=plan.index, parent=self._parent, step=step, total_step=total_step))
        where = f"goes on after step {step}" if resumed else f"starts from {self._parent}"
        recorder.log(
            "info",
            f"{plan.name}: {plan.sessions:,} sessions, {plan.unique:,} distinct, {plan.epochs} epochs, "
            f"{plan.steps:,} steps of {self._context.config.training.batch} sequences; {where}; "
            f"memory {resident_mb():,.0f} MB, CPU {psutil.cpu_percent():.0f}%",
        )
        self._process.cpu_percent()

    def _epoch(self, epoch: int) -> None:
        training, position = self._context.config.training, self._position
        epoch_plan = plan_epoch(
            self._pieces,
            batch=training.batch,
            duplicate_weight=training.duplicate_weight,
            seed=self._context.config.seed,
            stage=self._plan.index,
            epoch=epoch,
        )
        before = (epoch - 1) * len(epoch_plan)
        clock = last_save = time.monotonic()
        window_begin, window_sessions, window_events = clock, 0.0, 0
        self._model.train()
        for index in range(position.step - before, len(epoch_plan)):
            self._context.wishes.check()
            sessions, events = self._step(epoch_plan, index, epoch)
            window_sessions += sessions
            window_events += events
            ends_epoch = index + 1 == len(epoch_plan)
            if position.step % training.log_every == 0 or ends_epoch:
                now = time.monotonic()
                position.seconds += now - clock
                position.epoch_seconds += now - clock
                clock = now
                span = max(now - window_begin, 1e-9)
                self._metric(epoch, window_sessions / span, window_events / span)
                window_begin, window_sessions, window_events = now, 0.0, 0
                if now - last_save > training.save_minutes * 60:
                    self._save_exact()
                    last_save = window_begin = clock = time.monotonic()
        self._validate(epoch)

    def _step(self, epoch_plan: EpochPlan, index: int, epoch: int) -> tuple[float, int]:
        context, position, training = self._context, self._position, self._context.config.training
        rows = slice(epoch_plan.bounds[index], epoch_plan.bounds[index + 1])
        batch = assemble(context.store, self._pieces, epoch_plan.piece[rows], self._lookup, (PAD, CLS, END))
        hidden_BT = training_mask(
            batch,
            epoch_plan.visit[rows],
            context.sizes.mask_ratio,
            seed=context.config.seed,
            stage=self._plan.index,
            epoch=epoch,
        )
        rate = learning_rate(position.step + 1, self._plan.steps, training)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        weight_B = epoch_plan.weight[rows]
        done = optimizer_step(
            self._model, self._optimizer, self._scaler, batch, hidden_BT, weight_B, training, context.compute
        )
        self._pending.append((done.loss_sum, done.weight, done.grad_norm))
        position.step += 1
        sessions = float(weight_B.sum())
        position.sessions += sessions
        return sessions, int(batch.events_BT.sum())

    def _metric(self, epoch: int, sessions_per_s: float, events_per_s: float) -> None:
        context, position = self._context, self._position
        grad_norm = self._read_pending()
        loss = position.window_loss / position.window_weight
        rss, on_device = resident_mb(), device_mb(context.compute)
        position.peak_rss_mb = max(position.peak_rss_mb, rss)
        if on_device is not None:
            position.peak_device_mb = max(position.peak_device_mb or 0.0, on_device)
        rate = float(self._optimizer.param_groups[0]["lr"])
        position.steps.append(position.step)
        position.losses.append(round(loss, 6) if math.isfinite(loss) else None)
        position.rates.append(rate)
        context.recorder.metric(
            Metric(
                stage=self._plan.index,
                epoch=epoch,
                step=position.step,
                steps=self._plan.steps,
                total_step=self._steps_before + position.step,
                loss=loss,
                lr=rate,
                grad_norm=grad_norm,
                sessions_per_s=round(sessions_per_s, 1),
                events_per_s=round(events_per_s, 1),
                rss_mb=round(rss, 1),
                device_mb=None if on_device is None else round(on_device, 1),
                cpu_percent=self._process.cpu_percent(),
                stage_s=round(position.seconds, 3),
            )
        )
        if not math.isfinite(loss):
            raise RunError(self._not_finite("loss"))
        position.window_loss = position.window_weight = 0.0
        self._warn_memory(rss)

    def _not_finite(self, loss: str) -> str:
        return (
            f"the {loss} of {self._plan.name} is not finite at step {self._position.step}; the best model so far "
            "is untouched. Lower the learning rate (--set training.learning_rate=…) and restart the stage."
        )

    def _read_pending(self) -> float | None:
        """Take in the losses since the last metric; this is where the device is waited for."""
        grad_norm = None
        for loss_sum, weight, norm in self._pending:
            value = float(loss_sum)
            self._position.window_loss += value
            self._position.window_weight += weight
            self._position.epoch_loss += value
            self._position.epoch_weight += weight
            grad_norm = float(norm)
        self._pending.clear()
        return grad_norm

    def _warn_memory(self, rss: float) -> None:
        limit = self._context.config.memory.max_mb
        if limit is not None and rss > limit and not self._warned_memory:
            self._warned_memory = True
            self._context.recorder.log(
                "warning",
                f"memory {rss:,.0f} MB is above the limit of {limit:,.0f} MB (--max-memory-mb); "
                "a smaller batch (--set training.batch=…) or fewer sessions (--sample-ratio) needs less",
            )

    def _validate(self, epoch: int) -> None:
        context, position, plan = self._context, self._position, self._plan
        begin = time.monotonic()
        valid_loss, calibration = validate(context, self._model, context.valid_pieces(), context.wishes.check)
        position.seconds += time.monotonic() - begin
        if not math.isfinite(valid_loss):
            raise RunError(self._not_finite("validation loss"))
        train_loss = position.epoch_loss / position.epoch_weight
        best = position.best_valid_loss is None or valid_loss < position.best_valid_loss
        record = self._record(epoch, valid_loss, calibration)
        save_model(self._layout.epoch(epoch), self._model, record)
        if best:
            save_model(self._layout.best, self._model, record)
            position.best_epoch, position.best_valid_loss = epoch, valid_loss
        seconds = position.epoch_seconds + time.monotonic() - begin
        total_step = self._steps_before + position.step
        position.epochs.append(
            EpochResult(
                epoch=epoch,
                total_step=total_step,
                train_loss=train_loss,
                valid_loss=valid_loss,
                seconds=round(seconds, 3),
                best=best,
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
                seconds=round(seconds, 3),
                checkpoint=str(self._layout.epoch(epoch).relative_to(context.run.root)),
                best=best,
            )
        )
        mark = ", the best so far" if best else ""
        context.recorder.log(
            "info",
            f"{plan.name}: epoch {epoch}/{plan.epochs} train loss {train_loss:.4f} "
            f"valid loss {valid_loss:.4f}{mark}, {seconds:,.1f} s",
        )
        self._save_exact()  # so that a kill from here on does not lose the epoch

    def _record(self, epoch: int, valid_loss: float, calibration: Calibration) -> ModelRecord:
        return ModelRecord(
            vocabulary=self._context.vocabulary,
            calibration=calibration,
            templates=self._context.templates,
            room=self._context.room,
            stage=self._plan.index,
            ratio=self._plan.ratio,
            epoch=epoch,
            valid_loss=valid_loss,
            seed=self._context.config.seed,
        )

    def _save_exact(self) -> None:
        self._read_pending()
        try:
            exact.save(
                self._layout.resume,
                self._position,
                self._origin,
                self._model,
                self._optimizer,
                self._scaler,
                self._context.compute,
            )
        except StorageError as error:
            self._context.recorder.log("error", str(error))
            raise

    def _finish(self) -> StageMetrics:
        context, plan, position, layout = self._context, self._plan, self._position, self._layout
        best, record = load_model(layout.best)
        export(layout.exported, best, record)
        digest = sha256_of(layout.best)
        checkpoint = str(layout.best.relative_to(context.run.root))
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
            cpu_percent=self._process.cpu_percent(),
            device=context.compute.kind,
            precision=context.compute.precision,
            batch=context.config.training.batch,
            parent=self._parent,
            checkpoint=checkpoint,
            sha256=digest,
            started_at=position.started_at,
            finished_at=datetime.now().isoformat(timespec="seconds"),
            figures={"step": list(position.steps), "loss": position.losses, "lr": list(position.rates)},
        )
        write_file(layout.metrics, msgspec.json.format(msgspec.json.encode(metrics)))
        remove_checked(layout.resume)
        context.recorder.record(stage_ended(metrics))
        context.recorder.log(
            "info",
            f"{plan.name}: complete in {metrics.seconds:,.0f} s, best epoch {position.best_epoch} "
            f"with valid loss {position.best_valid_loss:.4f}, peak memory {position.peak_rss_mb:,.0f} MB",
        )
        context.recorder.sync()
        return metrics
