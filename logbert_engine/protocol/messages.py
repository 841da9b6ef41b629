"""What calls and notifications between a console and the engine carry."""

from __future__ import annotations

from typing import Literal

import msgspec

from logbert_engine.protocol.events import JournalEvent
from logbert_engine.protocol.runstate import RunPhase, RunState

PROTOCOL = 1
"""The version spoken here."""
OLDEST_PROTOCOL = 1
"""The oldest version still understood."""


# Greeting


class Hello(msgspec.Struct, kw_only=True, omit_defaults=True):
    """``hello``: the first call on a connection."""

    oldest: int = OLDEST_PROTOCOL
    newest: int = PROTOCOL
    client: str = ""
    """Who calls, such as ``ana@laptop``."""


class Welcome(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Answer to ``hello``."""

    protocol: int
    engine_version: str
    engine_id: str
    """Differs between two starts of the engine."""
    pid: int
    started_at: float
    default_run_dir: str
    home: str = ""


# What there is


class Accelerator(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A GPU. Figures that the driver does not tell are None."""

    kind: Literal["cuda", "mps"]
    name: str
    memory_mb: float | None = None
    memory_used_mb: float | None = None
    utilization_percent: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    unified_memory: bool = False
    note: str = ""
    cores: int = 0
    """Of an Apple GPU; 0 elsewhere."""
    compute_capability: str = ""
    """Of an NVIDIA GPU, such as ``7.0``."""
    bf16: bool | None = None
    """Whether it computes in bf16 itself; None where only torch can tell."""
    driver: str = ""
    driver_cuda: str = ""
    """The newest CUDA that the driver runs, such as ``12.4``."""


class Hardware(msgspec.Struct, kw_only=True, omit_defaults=True):
    """``hardware``: this machine as the engine sees it."""

    host: str
    system: str
    processor: str
    cores: int
    """Physical ones that may be used: no more than ``threads``."""
    threads: int
    """Processors that a process may run on, and no more than a cgroup gives it time for."""
    performance_cores: int = 0
    """Of ``cores`` the fast ones; 0, and no efficiency cores, where the chip has one kind."""
    efficiency_cores: int = 0
    cpu_limit: float | None = None
    """Processors' worth of time that a cgroup gives, where that is less than the machine's."""
    memory_mb: float
    memory_available_mb: float
    memory_limit_mb: float | None = None
    """A cgroup's limit, where it is lower than the memory of the machine."""
    disk_free_mb: float
    accelerators: list[Accelerator] = []


class Resources(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Notification ``resources``, once a second to subscribers: the machine now. Not part of the journal."""

    cpu_percent: float
    memory_mb: float
    memory_used_mb: float
    worker_rss_mb: float | None = None
    worker_cpu_percent: float | None = None
    accelerators: list[Accelerator] = []


class PresetInfo(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A row of the picker."""

    name: str
    title: str
    summary: str
    hardware: str
    family: Literal["encoder", "decoder"]
    architecture: str
    pretrained: str = ""
    hidden: int = 0
    layers: int = 0
    heads: int = 0
    max_length: int
    parameters: int | None = None
    """Computed from the sizes; None when it depends on the data (event vocabulary) or a download."""
    sample_ratio: float
    max_files: int
    """0: all."""
    epochs: int
    """Per stage when progressive."""
    stage_steps: int = 0
    """Optimizer steps that a stage is to have, about, in at most so many epochs; 0: epochs alone count."""
    batch: int
    batch_by_ratio: list[tuple[float, int]] = []
    """Batches that follow the stages: a share of the data, and the batch from that share on. Empty: ``batch``."""
    nproc: int | Literal["auto"] = 1
    """Processes that train together; ``auto``: one for each CUDA device."""
    progressive: bool
    start_ratio: float
    step_size: float
    max_ratio: float
    memory_budget_mb: float | None = None
    price: str = ""
    documented: dict[str, str] = {}
    """What the source documents expect: theirs, not measured."""
    trainable: bool = True
    """False where this version lists the preset and cannot train it yet."""


class DataSummary(msgspec.Struct, kw_only=True, omit_defaults=True):
    """``inspect_data``: what a quick look at a path found."""

    path: str
    files: int
    bytes: int
    first_file: str = ""
    last_file: str = ""
    first_day: str = ""
    last_day: str = ""
    peeked_sessions: int = 0
    """Sessions read from the first file for the figures below."""
    peeked_all: bool = False
    """Whether that was all of the first file."""
    distinct_events: int = 0
    peeked_distinct: int = 0
    """Distinct sequences among the sessions read, and among the first half of them."""
    peeked_distinct_half: int = 0
    median_length: int = 0
    mean_length: float = 0.0
    distinct_mean_length: float = 0.0
    """Of the distinct sequences."""
    distinct_lengths: list[int] = []
    """Quantiles of their lengths, ascending."""
    longest: int = 0
    services: dict[str, int] = {}
    labelled: int = 0
    rejected: int = 0
    templates: int = 0
    """Event templates found in ``vocabulary.csv`` beside the data."""
    estimated_sessions: int = 0
    """From the share of bytes read."""


# Runs


class RunSpec(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What to train: the same fields from the command line and from the picker. None: the preset's value."""

    data: str
    run_dir: str
    preset: str = "transfer"
    progressive: bool | None = None
    pretrained: str | None = None
    start_ratio: float | None = None
    step_size: float | None = None
    max_ratio: float | None = None
    epochs_per_stage: int | None = None
    sample_ratio: float | None = None
    max_files: int | None = None
    """0: all files."""
    max_memory_mb: float | None = None
    nproc: int | Literal["auto"] | None = None
    """Processes that train together, one a device."""
    device: Literal["auto", "cpu", "mps", "cuda"] | None = None
    seed: int | None = None
    evaluate: str | None = None
    """Labelled sessions that each stage is evaluated on, for the record alone."""
    overrides: list[str] = []
    """``path.to.key=value``, applied last."""


class RunRef(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A run is identified by its directory."""

    run_dir: str


class RunInfo(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A row of the list of runs."""

    run_dir: str
    phase: RunPhase
    preset: str = ""
    stage: int = 0
    stages: int = 0
    started_at: float = 0.0
    updated_at: float = 0.0
    best_valid_loss: float | None = None
    reason: str = ""


class Subscribe(msgspec.Struct, kw_only=True, omit_defaults=True):
    """``subscribe``: follow a run. With 0 a snapshot comes first; else the events after ``since_seq``."""

    run_dir: str
    since_seq: int = 0


class Subscribed(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Answer to ``subscribe``. Events after ``seq`` follow as notifications ``events``."""

    run_dir: str
    seq: int
    snapshot: RunState | None = None
    """Everything up to ``seq``; None when the missed events are sent instead."""
    inferences: list[InferenceProgress] = []
    """What is being scored with a checkpoint of the run. How it goes on follows as notifications ``inference``."""


class Events(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Notification ``events``: the next journal records of a run, in order, batched."""

    run_dir: str
    events: list[JournalEvent]


class Gap(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Notification ``gap``: this client was too slow and missed events; subscribe again for a snapshot."""

    run_dir: str
    after_seq: int


class Done(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A request was carried out; ``message`` says what happens now, in words."""

    message: str = ""


class LogFile(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A log of a run, named relative to its directory."""

    name: str
    size: int
    stage: int | None = None


class LogFiles(msgspec.Struct, kw_only=True, omit_defaults=True):
    """``list_logs``."""

    files: list[LogFile]


class ReadLog(msgspec.Struct, kw_only=True, omit_defaults=True):
    """``read_log``: bytes of a log from ``start``; a negative start counts from the end."""

    run_dir: str
    name: str
    start: int
    most: int = 256 * 1024


class LogChunk(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Text of whole lines (the last may be unfinished when ``end`` equals ``size``)."""

    start: int
    end: int
    """Where the next read begins."""
    size: int
    text: str


# Inference


class InferSpec(msgspec.Struct, kw_only=True, omit_defaults=True):
    """``start_inference``: score sessions with a checkpoint."""

    checkpoint: str
    inputs: list[str]
    output: str
    threshold: float | None = None
    alert_budget: float | None = None
    """A share, 0.005 for 0.5%."""
    adapt: bool = False
    """Adapt to the sessions first, as ``infer --adapt`` does."""
    device: Literal["auto", "cpu", "mps", "cuda"] = "auto"


class InferenceRef(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An inference that runs or ran in this engine."""

    id: int
    output: str


class InferenceProgress(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Notification ``inference``, to the client that asked and to those that follow the run: how far it is."""

    id: int
    phase: str
    done: int
    total: int
    state: Literal["running", "finished", "failed"] = "running"
    message: str = ""
    output: str = ""
    run_dir: str = ""
    """The run that the checkpoint lies in; empty where it lies in none."""


class CheckpointInfo(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A checkpoint that inference can use."""

    path: str
    label: str
    stage: int | None = None
    valid_loss: float | None = None
    written_at: float = 0.0


class ResultsFile(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A results file found in a run directory."""

    path: str
    written_at: float
    size: int


class InferenceOptions(msgspec.Struct, kw_only=True, omit_defaults=True):
    """``inference_options``: what a run offers to infer with, and what was inferred before."""

    checkpoints: list[CheckpointInfo]
    results: list[ResultsFile]
    data: str = ""
    """What to propose as input: evaluation sessions beside the training data, else those themselves."""
