"""The records of a run's journal, which are also the events that a console receives.

Every record carries ``seq`` (1, 2, 3 … without a gap within a run directory) and ``t`` (Unix seconds, for
display only: order follows ``seq`` and durations come from the monotonic clock).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from logbert_engine.protocol.expectation import StageExpectation

Level = Literal["debug", "info", "warning", "error"]
EndState = Literal["finished", "paused", "stopped", "failed"]


def _tag(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag=_tag):
    """What every journal record has."""

    seq: int = 0
    t: float = 0.0


class StagePlan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One stage of a progressive run, as planned."""

    index: int
    """Counts from 1."""
    name: str
    """The folder, such as ``stage_1_10pct``."""
    ratio: float
    """Share of the training sessions, 0 to 1."""
    epochs: int
    passes: int = 1
    """Times that an epoch goes through the sessions."""
    sessions: int = 0
    """Sessions in the stage's sample; 0 until the data has been read."""
    unique: int = 0
    """Distinct sequences among them."""
    steps: int = 0
    """Optimizer steps of the whole stage; 0 until the data has been read."""
    batch: int = 0
    """Sessions an optimizer step sees; 0 until the data has been read."""
    tokens: float = 0.0
    """Of a sequence as the model sees it, in the mean over the stage's visits; 0 until the data has been read."""
    longest: int = 0
    """Of the longest."""


class RunOpened(Event, frozen=True, kw_only=True):
    """A worker took up the run. The first attempt has number 1."""

    attempt: int
    pid: int
    """The supervisor, which holds the run directory; a signal to it reaches all of the run's processes."""
    host: str
    preset: str
    device: str
    """``cpu``, ``mps`` or ``cuda``."""
    device_name: str = ""
    precision: str = ""
    """``fp32``, ``bf16`` or ``fp16``."""
    world_size: int = 1
    """Processes that train together, one a device."""
    stages: list[StagePlan]
    resumes: str = ""
    """In words, where this attempt picks up; empty for a new run."""
    memory_budget_mb: float | None = None
    documented: dict[str, str] = {}
    """What the source documents expect of the preset; theirs, not measured."""


class Progress(Event, frozen=True, kw_only=True):
    """Work that comes before training and takes a while: reading data, loading a model."""

    phase: str
    done: float
    total: float
    unit: str = ""


class DataReady(Event, frozen=True, kw_only=True):
    """The session files have been read and divided; stages now have their sizes."""

    files: int
    sessions: int
    unique: int
    """Distinct sequences."""
    events: int
    """Distinct event ids."""
    train: int
    """Sessions that stages draw from."""
    valid: int
    """Sessions of the fixed validation sample, later in time than the training ones."""
    rejected: int = 0
    first_day: str = ""
    last_day: str = ""
    stages: list[StagePlan]


class Expected(Event, frozen=True, kw_only=True):
    """What the stages that are not complete will take on this machine, now that their sessions are known."""

    stages: list[StageExpectation]


class ModelReady(Event, frozen=True, kw_only=True):
    """The model stands on its device."""

    parameters: int
    architecture: str
    source: str
    """``new``, or the checkpoint or pre-trained model that it was loaded from."""


class StageStarted(Event, frozen=True, kw_only=True):
    """Training of a stage begins, or goes on at ``step``."""

    stage: int
    parent: str = ""
    """The checkpoint that the stage starts from, relative to the run directory."""
    step: int = 0
    """Steps of this stage that are already done (resumed in mid-stage)."""
    total_step: int = 0
    """The same, counted since stage 1."""
    micro_batch: int = 0
    """Sessions on a device at once."""


class BackedOff(Event, frozen=True, kw_only=True):
    """Memory runs short: from here on fewer sessions are on a device at once. The batch stays as it is."""

    stage: int
    step: int
    """Optimizer steps done in this stage."""
    micro_batch: int
    """Sessions on a device at once, from now on."""
    before: int
    """Until now."""
    cause: Literal["budget", "out_of_memory", "killed"]
    """Close to the budget, refused by the device or the system, or killed by the kernel for it."""
    message: str
    device: str = ""
    world_size: int = 1


class Health(Event, frozen=True, kw_only=True):
    """Something about the loss is to be noticed, or has passed."""

    stage: int
    step: int
    finding: Literal["rising", "stalling", "recovered"]
    message: str


class Metric(Event, frozen=True, kw_only=True):
    """Figures over the steps since the last ``Metric``; the loss is their mean."""

    stage: int
    epoch: int
    step: int
    """Optimizer steps done in this stage."""
    steps: int
    """Optimizer steps of the whole stage."""
    total_step: int
    """Optimizer steps done since stage 1, the abscissa of curves."""
    loss: float | None
    """Mean surprisal of masked events, nats."""
    lr: float
    grad_norm: float | None = None
    sessions_per_s: float | None = None
    events_per_s: float | None = None
    rss_mb: float | None = None
    device_mb: float | None = None
    cpu_percent: float | None = None
    stage_s: float = 0.0
    """Seconds that this stage has been trained for, over all attempts that count; monotonic."""
    steps_s: float | None = None
    """Of those, seconds of optimizer steps; validation and writing models are the rest."""
    peak_rss_mb: float | None = None
    """Highest in this stage so far, validation included."""
    peak_device_mb: float | None = None


class EpochEnded(Event, frozen=True, kw_only=True):
    """An epoch was validated and its checkpoint is safe on disk."""

    stage: int
    epoch: int
    total_step: int
    train_loss: float | None
    valid_loss: float | None
    """Mean surprisal per event on the fixed validation sample, nats."""
    seconds: float
    end_s: float | None = None
    """Of those, seconds of validation and of writing the model."""
    checkpoint: str
    best: bool


class Quality(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a stage's best model finds among labelled sessions, at the default budget of alarms."""

    sessions: int
    anomalies: int
    f1: float | None = None
    average_precision: float | None = None
    false_alarm_rate: float | None = None
    intervals: dict[str, tuple[float, float]] = {}
    """Measure to the ends of its 95% interval."""
    floor: str = ""
    """The simple rule of highest F1 on the same sessions."""
    floor_f1: float | None = None


class StageEnded(Event, frozen=True, kw_only=True):
    """A stage is complete: its best model is on disk and checksummed."""

    stage: int
    sessions: int
    steps: int
    best_epoch: int
    train_loss: float | None
    best_valid_loss: float | None
    seconds: float
    peak_rss_mb: float | None = None
    peak_device_mb: float | None = None
    checkpoint: str
    sha256: str
    quality: Quality | None = None
    """Where the run names labelled sessions."""


class Log(Event, frozen=True, kw_only=True):
    """A line of record: what a person would want to read later."""

    level: Level
    message: str
    stage: int | None = None
    source: str = "worker"


class RunEnded(Event, frozen=True, kw_only=True):
    """The attempt is over. Written by the worker, or by the engine for a worker that could not."""

    state: EndState
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    resumes: str = ""
    """In words, where a resume would pick up."""


JournalEvent = (
    RunOpened
    | Progress
    | DataReady
    | Expected
    | ModelReady
    | StageStarted
    | BackedOff
    | Health
    | Metric
    | EpochEnded
    | StageEnded
    | Log
    | RunEnded
)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[JournalEvent] = msgspec.json.Decoder(JournalEvent)


def encode_event(event: JournalEvent) -> bytes:
    """One journal line, without its newline. NaN becomes null."""
    return _encoder.encode(event)


def decode_event(line: bytes) -> JournalEvent:
    """The event of one journal line.

    Raises:
        msgspec.DecodeError: not JSON, or not a known record.
        RecursionError, UnicodeDecodeError: from hostile bytes.
    """
    return _decoder.decode(line)
