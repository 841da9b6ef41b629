"""The state of a run as its journal tells it: a fold over events, the same in engine and console."""

from __future__ import annotations

from typing import Literal

import msgspec

from logbert_engine.protocol.curve import Curve
from logbert_engine.protocol.events import (
    BackedOff,
    DataReady,
    EpochEnded,
    Health,
    JournalEvent,
    Log,
    Metric,
    ModelReady,
    Progress,
    RunEnded,
    RunOpened,
    StageEnded,
    StagePlan,
    StageStarted,
)

RunPhase = Literal["new", "preparing", "training", "finished", "paused", "stopped", "failed"]
StagePhase = Literal["planned", "running", "done", "interrupted"]

KEPT_LOG_LINES = 500


class EpochResult(msgspec.Struct, kw_only=True):
    """An epoch's outcome."""

    epoch: int
    total_step: int
    train_loss: float | None
    valid_loss: float | None
    seconds: float
    best: bool


class StageState(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One stage on the timeline."""

    plan: StagePlan
    phase: StagePhase = "planned"
    step: int = 0
    epoch: int = 0
    loss: float | None = None
    best_valid_loss: float | None = None
    seconds: float = 0.0
    """Training time of the stage so far, over all attempts that count."""
    epochs: list[EpochResult] = []
    peak_rss_mb: float | None = None
    peak_device_mb: float | None = None
    checkpoint: str = ""
    sha256: str = ""


class RunState(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Everything a screen shows of a run. ``apply`` is the only way it changes."""

    seq: int = 0
    """The last event applied."""
    phase: RunPhase = "new"
    reason: str = ""
    resumes: str = ""
    attempt: int = 0
    pid: int = 0
    preset: str = ""
    device: str = ""
    device_name: str = ""
    precision: str = ""
    world_size: int = 1
    micro_batch: int = 0
    """Sessions on a device at once in the stage at work; 0 before the first."""
    backed_off: BackedOff | None = None
    """The last time that memory ran short."""
    health: Health | None = None
    """What is to be noticed about the loss of the stage at work."""
    memory_budget_mb: float | None = None
    documented: dict[str, str] = {}
    started_at: float = 0.0
    updated_at: float = 0.0
    stages: list[StageState] = []
    stage: int = 0
    """Index of the stage that runs or ran last; 0 before the first."""
    progress: Progress | None = None
    data: DataReady | None = None
    model: ModelReady | None = None
    last: Metric | None = None
    ended: RunEnded | None = None
    curve: Curve = msgspec.field(default_factory=Curve)
    logs: list[Log] = []
    """The latest lines of record, oldest first, at most ``KEPT_LOG_LINES``."""
    peak_rss_mb: float = 0.0
    peak_device_mb: float = 0.0

    @property
    def active(self) -> bool:
        """Whether a worker is at work on the run, as far as the journal knows."""
        return self.phase in ("preparing", "training")

    def current(self) -> StageState | None:
        """The stage that runs or ran last."""
        return self._stage(self.stage)

    @property
    def largest_micro_batch(self) -> int:
        """Sessions that a process would have on its device at once with the whole batch; 0 where not known."""
        stage = self.current()
        return -(-stage.plan.batch // max(1, self.world_size)) if stage is not None else 0

    @property
    def back_off(self) -> BackedOff | None:
        """The last back-off, while it holds: another device, or a stage of a batch as small, ends it."""
        last, most = self.backed_off, self.largest_micro_batch
        if last is None or last.micro_batch != self.micro_batch or last.world_size != self.world_size:
            return None
        if (last.device and last.device != self.device) or 0 < most <= self.micro_batch:
            return None
        return last

    def apply(self, event: JournalEvent) -> None:
        """Take in the next event. Events that are already in (by ``seq``) change nothing."""
        if event.seq <= self.seq:
            return
        self.seq = event.seq
        self.updated_at = event.t
        match event:
            case RunOpened():
                self._opened(event)
            case Progress():
                self.progress = event
            case DataReady():
                self.data = event
                self._replan(event.stages)
            case ModelReady():
                self.model = event
            case StageStarted():
                self._stage_started(event)
            case BackedOff():
                self.backed_off, self.micro_batch = event, event.micro_batch
            case Health():
                self.health = event if event.finding != "recovered" else None
            case Metric():
                self._metric(event)
            case EpochEnded():
                self._epoch_ended(event)
            case StageEnded():
                self._stage_ended(event)
            case Log():
                self.logs.append(event)
                if len(self.logs) > KEPT_LOG_LINES:
                    del self.logs[: len(self.logs) - KEPT_LOG_LINES]
            case RunEnded():
                self._ended(event)

    def time_left(self) -> tuple[float | None, float | None]:
        """Seconds left for (the stage, the run), from the measured time per step; None when unknown."""
        stage = self.current()
        if stage is None or self.phase != "training" or self.last is None or not stage.step:
            return None, None
        per_step = stage.seconds / stage.step
        left = max(0, stage.plan.steps - stage.step)
        later = sum(s.plan.steps for s in self.stages if s.plan.index > stage.plan.index)
        return per_step * left, per_step * (left + later)

    def _opened(self, event: RunOpened) -> None:
        if not self.attempt:
            self.started_at = event.t
        self.attempt, self.pid, self.preset = event.attempt, event.pid, event.preset
        self.device, self.device_name, self.precision = event.device, event.device_name, event.precision
        self.world_size = event.world_size
        self.memory_budget_mb, self.documented = event.memory_budget_mb, event.documented
        self.phase, self.reason, self.resumes, self.ended = "preparing", "", event.resumes, None
        self.progress = self.last = None  # figures of an attempt that is over would stand beside step 0
        self._interrupt()
        self._replan(event.stages)

    def _replan(self, plans: list[StagePlan]) -> None:
        known = {s.plan.name: s for s in self.stages}
        stages = []
        for plan in plans:
            state = known.get(plan.name) or StageState(plan=plan)
            if plan.sessions or not state.plan.sessions:
                state.plan = plan
            stages.append(state)
        self.stages = stages
        self.stage = min(self.stage, len(stages))  # where the run is to end earlier than it has come to

    def _stage_started(self, event: StageStarted) -> None:
        self.phase, self.progress = "training", None
        stage = self._stage(event.stage)
        if stage is None:
            return
        self.stage = event.stage
        self.curve.cut_after(event.total_step)
        self.micro_batch = event.micro_batch
        if self.health is not None and (self.health.stage != event.stage or self.health.step > event.step):
            self.health = None  # of steps that are trained again, or of a stage that is over
        if event.step == 0:
            self.health = None
            stage = self.stages[event.stage - 1] = StageState(plan=stage.plan)
        kept = [e for e in stage.epochs if e.total_step <= event.total_step]
        stage.phase, stage.step, stage.epochs = "running", event.step, kept
        stage.best_valid_loss = min((e.valid_loss for e in kept if e.valid_loss is not None), default=None)
        self.stages[event.stage :] = [StageState(plan=later.plan) for later in self.stages[event.stage :]]

    def _metric(self, event: Metric) -> None:
        stage = self._stage(event.stage)
        if stage is None:
            return
        self.last = event
        stage.step, stage.epoch, stage.loss = event.step, event.epoch, event.loss
        stage.seconds = event.stage_s
        self.peak_rss_mb = max(self.peak_rss_mb, event.rss_mb or 0.0)
        self.peak_device_mb = max(self.peak_device_mb, event.device_mb or 0.0)
        self.curve.add(event)

    def _epoch_ended(self, event: EpochEnded) -> None:
        stage = self._stage(event.stage)
        if stage is None:
            return
        stage.epochs.append(
            EpochResult(
                epoch=event.epoch,
                total_step=event.total_step,
                train_loss=event.train_loss,
                valid_loss=event.valid_loss,
                seconds=event.seconds,
                best=event.best,
            )
        )
        if event.best:
            stage.best_valid_loss = event.valid_loss
        self.curve.add_valid(event)

    def _stage_ended(self, event: StageEnded) -> None:
        stage = self._stage(event.stage)
        if stage is None:
            return
        stage.phase, stage.step = "done", event.steps
        stage.best_valid_loss, stage.seconds = event.best_valid_loss, event.seconds
        stage.peak_rss_mb, stage.peak_device_mb = event.peak_rss_mb, event.peak_device_mb
        stage.checkpoint, stage.sha256 = event.checkpoint, event.sha256

    def _ended(self, event: RunEnded) -> None:
        self.phase, self.reason, self.resumes, self.ended = event.state, event.reason, event.resumes, event
        self.progress = None
        self._interrupt()

    def _interrupt(self) -> None:
        for stage in self.stages:
            if stage.phase == "running":
                stage.phase = "interrupted"

    def _stage(self, index: int) -> StageState | None:
        """A stage by its number; None where the plan has no such stage (a damaged journal)."""
        return self.stages[index - 1] if 0 < index <= len(self.stages) else None
