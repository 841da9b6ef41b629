"""One stage: from the parent's weights over epochs to its best model, its figures, and its logs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import psutil
import torch

from logbert_engine.data.batches import EpochPlan
from logbert_engine.models.device import free_memory, resident_mb
from logbert_engine.models.encoder import MaskedModel
from logbert_engine.models.recompute import recompute_layers
from logbert_engine.protocol.errors import CheckpointError, StorageError
from logbert_engine.protocol.events import BackedOff, Health, Level, StagePlan, StageStarted
from logbert_engine.rundir.layout import StageLayout
from logbert_engine.training.completion import end_epoch, end_stage
from logbert_engine.training.context import RunContext
from logbert_engine.training.expecting import Expecting
from logbert_engine.training.feeding import Feed
from logbert_engine.training.figures import Figures
from logbert_engine.training.guessing import guessing, occurrences
from logbert_engine.training.health import Finding, HealthWatch
from logbert_engine.training.hypersphere import Sphere, centres_of, sphere_of
from logbert_engine.training.memory import MemoryGuard
from logbert_engine.training.origin import has_exact_state, origin
from logbert_engine.training.position import Exact, Position, save_interval
from logbert_engine.training.random_states import seed_all
from logbert_engine.training.schedule import learning_rate
from logbert_engine.training.shortage import OutOfMemory, Shortage, lacking, shortage_of
from logbert_engine.training.step import Updater, accumulate, batch_weight, gradients, make_optimizer
from logbert_engine.training.team import PeerLostError
from logbert_engine.training.wishes import Interrupted


@dataclass(frozen=True)
class Parent:
    """What a stage starts from."""

    name: str
    """For people: a checkpoint within the run directory, a pre-trained model, or ``new``."""
    digest: str
    """sha256 of the checkpoint; the name where it is none of ours."""
    valid_loss: float | None
    """Of a stage; None where it is none of ours."""
    load: Callable[[], MaskedModel]


class StageTrainer:
    """Trains one stage to its end; an interruption leaves an exact state behind. Runs alike on every rank."""

    def __init__(
        self,
        context: RunContext,
        plan: StagePlan,
        steps_before: int,
        parent: Parent,
        expecting: Expecting | None = None,
    ) -> None:
        training, compute = context.config.training, context.compute
        self._context, self._plan, self._steps_before, self._parent = context, plan, steps_before, parent
        self._team, self._training, self._expecting = context.team, training, expecting
        self._layout: StageLayout = context.run.stage(plan.name)
        self._micro_batch = context.micro_batch(plan)
        with lacking(f"while the model of {plan.name} was loaded", compute):
            self._model = parent.load().to(compute.device)
        if context.sizes.gradient_checkpointing:
            recompute_layers(self._model)
        self._optimizer = make_optimizer(self._model, training)
        self._scaler = torch.amp.GradScaler(compute.kind, enabled=compute.precision == "fp16")
        self._updater = Updater(self._model, self._optimizer, self._scaler, training.clip)
        belongs = origin(plan.name, context.config, context.store.content, parent.digest)
        self._exact = Exact(
            self._layout, belongs, self._team, compute, self._model, self._optimizer, self._scaler
        )
        self._position = Position(started_at=datetime.now().isoformat(timespec="seconds"))
        self._figures = Figures(context, plan, steps_before)
        self._saved_at, self._save_every_s = time.monotonic(), training.save_minutes * 60

    def train(self) -> None:
        """Train to the end of the stage.

        Raises:
            Interrupted: a pause or stop was asked for; the exact state is on disk.
            OutOfMemory: the exact state is on disk where there was memory enough to save it.
            RunError: the loss is not finite; the weights are as before that step and nothing was saved from it.
            StorageError: no room; the last saved state is whole.
            PeerLostError: another rank is gone.
        """
        context, plan = self._context, self._plan
        context.recorder.open_stage(plan.index, self._layout)
        try:
            resumed = self._restore()
            self._announce(resumed)
            pieces = context.stage_pieces(plan)
            counts_E = occurrences(context.store, pieces)
            guess = guessing(counts_E, context.vocabulary)
            self._feed = Feed(context, plan, pieces, counts_E)
            self._health = HealthWatch(
                parent_valid=self._parent.valid_loss,
                blind=guess.blind,
                frequencies=guess.frequencies,
                state=self._position.health,
            )
            self._guard = self._new_guard()
            try:
                for epoch in range(1, plan.epochs + 1):
                    if epoch > len(self._position.epochs):
                        self._epoch(epoch)
            except Interrupted:
                self._save_exact()
                raise
            if context.leads:
                self._complete()
            self._team.wait()
        finally:
            context.recorder.close_stage()

    def _complete(self) -> None:
        context, plan, expecting = self._context, self._plan, self._expecting
        with lacking(f"while {plan.name} was completed", context.compute):
            end_stage(
                context,
                plan,
                self._layout,
                self._position,
                self._parent.name,
                self._figures.cpu_percent(),
                self._micro_batch,
                expecting.of(plan) if expecting is not None else None,
            )
        if expecting is not None:
            expecting.learn(plan, self._position, self._micro_batch)

    def _restore(self) -> bool:
        context, layout = self._context, self._layout
        seed_all(context.config.seed * 1_000_003 + self._plan.index * 1009 + self._team.place.rank)
        if not has_exact_state(layout):
            return False
        try:
            payload, problems = self._exact.read()
        except CheckpointError as error:
            context.recorder.log(
                "warning", f"{layout.resume.name} cannot be used ({error}); the stage starts again"
            )
            return False
        for problem in problems:
            context.recorder.log("warning", problem)
        self._position, differences = self._exact.restore(payload, self._micro_batch)
        if differences:
            context.recorder.log(
                "warning",
                f"goes on with {', '.join(differences)}: from here on the figures are not bit for bit those of an "
                "uninterrupted run",
            )
        return True

    def _announce(self, resumed: bool) -> None:
        plan, recorder = self._plan, self._context.recorder
        step = self._position.step
        recorder.record(
            StageStarted(
                stage=plan.index,
                parent=self._parent.name,
                step=step,
                total_step=self._steps_before + step,
                micro_batch=self._micro_batch,
            )
        )
        where = f"goes on after step {step}" if resumed else f"starts from {self._parent.name}"
        at_once = f" ({self._micro_batch} at once)" if self._micro_batch < plan.batch else ""
        recorder.log(
            "info",
            f"{plan.name}: {plan.sessions:,} sessions, {plan.unique:,} distinct, {plan.epochs} epochs, "
            f"{plan.steps:,} steps of {plan.batch} sequences{at_once}; {where}; "
            f"memory {resident_mb():,.0f} MB, CPU {psutil.cpu_percent():.0f}%",
        )

    def _epoch(self, epoch: int) -> None:
        training, position, plan = self._training, self._position, self._plan
        epoch_plan = self._feed.plan(epoch)
        before = (epoch - 1) * len(epoch_plan)
        self._figures.start_clock(position)
        self._sphere = self._new_sphere(at_beginning=position.step == before)
        self._model.train()
        for index in range(position.step - before, len(epoch_plan)):
            asked, due = self._step(epoch_plan, index, epoch)
            if position.step % training.log_every == 0 or index + 1 == len(epoch_plan):
                self._metric(epoch)
            if asked:
                raise self._context.wishes.interruption(asked)
            if due:
                self._save_exact()
        self._figures.stop_clock(position)
        loss = self._end_epoch(epoch)
        self._figures.start_clock(position)
        self._notice(self._health.epoch(epoch, plan.epochs, loss))
        self._save_exact()  # so that a kill from here on does not lose the epoch

    def _new_sphere(self, *, at_beginning: bool) -> Sphere | None:
        """The hypersphere of an epoch; where it is gone on with in its middle, that of its beginning."""
        context, position, weight = self._context, self._position, self._training.hypersphere
        if not weight:
            return None
        if at_beginning:
            with lacking(f"while the centre of {self._plan.name} was computed", context.compute):
                position.centres = centres_of(context, self._model, self._plan)
        return sphere_of(weight, position.centres, context.compute.device)

    def _step(self, epoch_plan: EpochPlan, index: int, epoch: int) -> tuple[int, int]:
        """One optimizer step; returns what all ranks agreed on: a wish's code, and whether a save is due."""
        context, position = self._context, self._position
        batch, hidden_BT, weight_B = self._feed.batch(epoch_plan, index, epoch)
        rate = learning_rate(position.step + 1, self._plan.steps, self._training)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        place = self._team.place
        mine = np.arange(place.rank, len(weight_B), place.world_size)
        lack: Shortage | None = None
        loss_sum = torch.zeros((), device=context.compute.device)
        try:
            loss_sum = accumulate(
                self._model,
                self._scaler,
                batch,
                hidden_BT,
                weight_B,
                mine,
                self._micro_batch,
                context.compute,
                self._sphere,
            )
        except (RuntimeError, MemoryError) as error:
            lack = shortage_of(error, context.compute)
        due = place.leads and time.monotonic() - self._saved_at > self._save_every_s
        asked, short, due_to_all = self._team.agree(context.wishes.code(), lack is not None, due)
        if short:
            self._run_short(lack)
        try:
            self._team.add_up([*gradients(self._model), loss_sum] if not place.alone else [])
            done = self._updater.update(loss_sum, batch_weight(hidden_BT, weight_B))
        except (RuntimeError, MemoryError) as error:
            lack = shortage_of(error, context.compute)
            raise self._out_of_memory(lack) from error  # the weights may be changed in part: not saved
        position.step += 1
        self._figures.take(position, done, float(weight_B.sum()), int(batch.events.sum()))
        return asked, due_to_all

    def _end_epoch(self, epoch: int) -> float:
        """The validation loss. Memory that training took may lack here, which another attempt begins without."""
        context, plan = self._context, self._plan
        lack: Shortage | None = None
        try:
            return end_epoch(
                context, plan, self._layout, self._model, self._position, epoch, self._steps_before
            )
        except (RuntimeError, MemoryError) as error:
            lack = shortage_of(error, context.compute)
        if self._team.place.alone:  # the others are not at a place where they could save with us
            self._make_room_and_save()
        raise self._out_of_memory(lack, f"in validation after epoch {epoch}")

    def _metric(self, epoch: int) -> None:
        position = self._position
        rate = float(self._optimizer.param_groups[0]["lr"])
        loss = self._figures.metric(position, epoch, rate)
        self._notice(self._health.metric(position.step, self._plan.steps, loss))
        self._guard_memory()

    def _notice(self, finding: Finding | None) -> None:
        if finding is None:
            return
        level: Level = "info" if finding.kind == "recovered" else "warning"
        self._context.recorder.log(level, finding.message)
        self._context.recorder.record(
            Health(
                stage=self._plan.index,
                step=self._position.step,
                finding=finding.kind,
                message=finding.message,
            )
        )

    def _new_guard(self) -> MemoryGuard | None:
        budget = self._context.config.memory.max_mb
        if budget is None:
            return None
        guard = MemoryGuard(budget, self._micro_batch, state=self._position.memory)
        guard.lowered(self._micro_batch)
        self._position.memory = guard.state
        return guard

    def _guard_memory(self) -> None:
        if self._guard is None:
            return
        on_cpu = self._context.compute.kind == "cpu"
        used = self._figures.used_mb
        # Ranks on the CPU share its memory; elsewhere each has a device of its own.
        used = self._team.total(used) if on_cpu else float(self._team.agree(int(used))[0])
        before = self._micro_batch
        advice = self._guard.look(used)
        if advice is None:
            return
        self._context.recorder.log("warning", advice.message)
        if advice.kind == "halve":
            self._micro_batch = advice.micro_batch
            self._figures.other_steps(self._position)
            free_memory(self._context.compute)
            self._context.recorder.record(
                BackedOff(
                    stage=self._plan.index,
                    step=self._position.step,
                    micro_batch=advice.micro_batch,
                    before=before,
                    cause="budget",
                    message=advice.message,
                    device=self._context.compute.kind,
                    world_size=self._team.place.world_size,
                )
            )

    def _run_short(self, lack: Shortage | None) -> None:
        """Memory ran out on a rank before the update: save the state as it was, and end on all of them."""
        self._make_room_and_save()
        if lack is None:
            raise PeerLostError("another rank ran out of memory")
        raise self._out_of_memory(lack)

    def _make_room_and_save(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        free_memory(self._context.compute)
        try:
            self._save_exact(beating=False)  # by a thread, for which there may be no room
        except OutOfMemory:
            self._context.recorder.log(
                "warning", "no memory is left to save the state; an earlier one is used"
            )

    def _out_of_memory(self, lack: Shortage, where: str = "") -> OutOfMemory:
        place, step = self._team.place, self._position.step
        who = "" if place.alone else f"on rank {place.rank} "
        where = f"{who}{where or f'at step {step + 1}'} of {self._plan.name}"
        return OutOfMemory(lack.sentence(where), stage=self._plan.index, step=step, in_step=True)

    def _save_exact(self, *, beating: bool = True) -> None:
        position = self._position
        self._figures.read(position)
        self._figures.stop_clock(position)
        begin = time.monotonic()
        self._context.recorder.sync()  # the journal must not lag behind the state that a crash goes back to
        try:
            beats = self._context.wishes.heart.kept if beating else nullcontext
            self._exact.save(position, self._micro_batch, beats)
        except (RuntimeError, MemoryError) as error:
            lack = shortage_of(error, self._context.compute)
            raise self._out_of_memory(lack, "while the state was saved") from error
        except StorageError as error:
            self._context.recorder.log("error", str(error))
            raise
        self._team.wait()
        self._saved_at = time.monotonic()
        self._save_every_s = save_interval(self._training.save_minutes * 60, self._saved_at - begin)
        self._figures.start_clock(position)
