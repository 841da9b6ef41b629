"""The state of a run as its journal tells it: a fold over events, the same in engine and console."""

from __future__ import annotations

from typing import Literal

import msgspec

from logbert_engine.protocol.curve import Curve
from logbert_engine.protocol.events import (
    BackedOff,
    DataReady,
    EpochEnded,
    Expected,
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
from logbert_engine.protocol.expectation import Figure, StageExpectation, highest, peak_mb, together

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
    end_s: float | None = None
    """Of ``seconds``, those of validation and of writing the model; None where they were not told apart."""


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
    steps_s: float | None = None
    """Of those, seconds of optimizer steps; None where they were not told apart."""
    epochs: list[EpochResult] = []
    peak_rss_mb: float | None = None
    peak_device_mb: float | None = None
    checkpoint: str = ""
    sha256: str = ""
    expected: StageExpectation | None = None
    """As it was when the attempt that trains, or trained, the stage had read the data."""

    @property
    def step_s(self) -> float | None:
        """Seconds of a step, measured; None before any."""
        spent = self.seconds if self.steps_s is None else self.steps_s
        return spent / self.step if self.step and spent > 0 else None

    @property
    def _expected_step_s(self) -> float | None:
        figure = self.expected.step_s if self.expected is not None else None
        return figure.value if figure is not None and figure.value > 0 else None

    def slower_than(self, other: StageState) -> float:
        """How many times longer its steps take than those of another stage, as far as was expected of both."""
        mine, others = self._expected_step_s, other._expected_step_s
        return mine / others if mine is not None and others is not None else 1.0

    def end_s(self, like: StageState) -> float:
        """Seconds of an epoch's end: as those of a stage were, else as expected and as far off as its steps are."""
        told = [epoch.end_s for epoch in like.epochs if epoch.end_s is not None]
        if told:
            return sum(told) / len(told)
        if self.expected is None or like.steps_s is None:
            return 0.0  # where they are not told apart, they are part of a step's time
        expected, took = like._expected_step_s, like.step_s
        return self.expected.end_s * (took / expected if expected and took else 1.0)


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

    @property
    def peak_mb(self) -> float:
        """Highest memory where it trains: what the budget and what was expected are held against; 0 before any."""
        return peak_mb(self.device, self.peak_rss_mb, self.peak_device_mb or None)

    @property
    def seconds(self) -> float:
        """Training time of all stages so far; time in which nobody trained is not in it."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def expected_left(self) -> Figure | None:
        """Training time of the stages that are not complete, each whole; None unless it is known of each."""
        return _time_of([stage for stage in self.stages if stage.phase != "done"])

    @property
    def expected_memory(self) -> Figure | None:
        """MB at the peak of the stages that an expectation is known of."""
        return highest(stage.expected.memory for stage in self.stages if stage.expected is not None)

    @property
    def expected_seconds(self) -> Figure | None:
        """Training time of all stages; None unless it is known of each."""
        return _time_of(self.stages)

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
            case Expected():
                self._expected(event)
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
        """Seconds left for (the stage, the run), from the measured rate; None when unknown.

        Steps of later stages, which may have other batches, are taken to be as much longer as was expected.
        """
        stage, like = self.current(), self._measured()
        per_step = like.step_s if like is not None else None
        if stage is None or like is None or per_step is None or self.phase != "training":
            return None, None

        def of(some: StageState, steps: int, epochs: int) -> float:
            return max(0, steps) * per_step * some.slower_than(like) + max(0, epochs) * some.end_s(like)

        left = of(stage, stage.plan.steps - stage.step, stage.plan.epochs - len(stage.epochs))
        later = sum(of(some, some.plan.steps, some.plan.epochs) for some in self.stages[self.stage :])
        return left, left + later

    def _measured(self) -> StageState | None:
        """The latest stage that this attempt has measured steps of; None before any."""
        last = self.last
        return self._stage(last.stage) if last is not None and last.stage <= self.stage else None

    def _expected(self, event: Expected) -> None:
        for expected in event.stages:
            stage = self._stage(expected.stage)
            if stage is not None:
                stage.expected = expected

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
            stage = self.stages[event.stage - 1] = StageState(plan=stage.plan, expected=stage.expected)
        kept = [e for e in stage.epochs if e.total_step <= event.total_step]
        stage.phase, stage.step, stage.epochs = "running", event.step, kept
        stage.best_valid_loss = min((e.valid_loss for e in kept if e.valid_loss is not None), default=None)
        self.stages[event.stage :] = [
            StageState(plan=later.plan, expected=later.expected) for later in self.stages[event.stage :]
        ]

    def _metric(self, event: Metric) -> None:
        stage = self._stage(event.stage)
        if stage is None:
            return
        self.last = event
        stage.step, stage.epoch, stage.loss = event.step, event.epoch, event.loss
        stage.seconds, stage.steps_s = event.stage_s, event.steps_s
        self.peak_rss_mb = max(self.peak_rss_mb, event.rss_mb or 0.0, event.peak_rss_mb or 0.0)
        self.peak_device_mb = max(self.peak_device_mb, event.device_mb or 0.0, event.peak_device_mb or 0.0)
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
                end_s=event.end_s,
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


def _time_of(stages: list[StageState]) -> Figure | None:
    times = [stage.expected.seconds for stage in stages if stage.expected is not None]
    found = [time for time in times if time is not None]
    return together(found) if len(found) == len(stages) else None
