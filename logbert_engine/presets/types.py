"""What a preset and a run hold: types, ranges and meanings are declared here and nowhere else."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]
Ratio = Annotated[float, Meta(gt=0, le=1)]
Share = Annotated[float, Meta(ge=0, lt=1)]
PositiveFloat = Annotated[float, Meta(gt=0)]
NotNegativeFloat = Annotated[float, Meta(ge=0)]

Seed = Annotated[int, Meta(ge=0, le=2**32 - 1)]
"""The most that NumPy's generators take; those derived from it, a million times as large, fit in 64 bits."""

Device = Literal["auto", "cpu", "mps", "cuda"]

View = Literal["order", "next", "bag"]
"""How a model reads a session: hidden events from both sides, each event from those before it, or hidden events
from how often each event occurs, without their order."""


class Encoder(
    msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, tag_field="family", tag="encoder"
):
    """A masked-event BERT. With ``pretrained`` the sizes come from there and the ones here are not used."""

    architecture: Literal["bert", "distilbert"] = "bert"
    pretrained: str | None = None
    """A hub id such as ``bert-base-uncased``, a folder, or an export of ours."""
    hidden: Positive = 256
    layers: Positive = 4
    heads: Positive = 4
    ffn: NotNegative = 0
    """Width of the feed-forward part; 0 stands for 4 × hidden."""
    max_length: Annotated[int, Meta(ge=4)] = 512
    """Longest input in tokens, the two end markers included; longer sessions are windowed."""
    dropout: Share = 0.1
    mask_ratio: tuple[Ratio, Ratio] = (0.15, 0.75)
    """Share of events masked in training, drawn uniformly for each session between the two."""
    views: Annotated[tuple[View, ...], Meta(min_length=1, max_length=3)] = ("order",)
    """How sessions are read, in training by turns: order hides events and shows what stands on both sides of
    them, next shows what came before each, bag shows the other events sorted, without their order."""
    rotations: Annotated[int, Meta(ge=1, le=64)] = 1
    """How often a session is scored, each time with its events divided otherwise among the masks that hide them in
    turn; surprisals are averaged. The view ``next`` hides nothing and is read once."""
    reserved_events: NotNegative = 56
    """Embedding rows kept free for events that appear later."""
    gradient_checkpointing: bool = False
    """Layers keep their input alone and are computed again in the backward pass: less memory, a third more time."""


class Decoder(
    msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, tag_field="family", tag="decoder"
):
    """A LLaMA-like decoder: RoPE, RMSNorm, grouped-query attention, SwiGLU."""

    vocabulary: Positive = 32000
    hidden: Positive = 1024
    layers: Positive = 24
    heads: Positive = 16
    kv_heads: Positive = 4
    ffn: Positive = 4096
    max_length: Positive = 2048
    train_length: Positive | None = None
    """Length of training inputs where it is shorter than ``max_length``."""
    rope_theta: PositiveFloat = 10000.0
    dropout: Share = 0.1
    gradient_checkpointing: bool = False


class Data(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Which sessions are used."""

    path: str = ""
    """A session file or a directory of them; given by the run, not by the preset."""
    sample_ratio: Ratio = 0.1
    """Share of the sessions that the run uses at all; stages divide this share."""
    max_files: NotNegative = 20
    """Files used, earliest first; 0 stands for all."""
    valid_share: Annotated[float, Meta(gt=0, le=0.5)] = 0.1
    """Share of the sessions that is kept from training for validation and calibration."""
    hold_out: Literal["latest", "spread"] = "latest"
    """Which: the latest, or blocks spread evenly over time."""
    valid_most: Positive = 20000
    """Most sessions of the validation sample."""
    max_rejected: Annotated[float, Meta(ge=0, le=1)] = 0.01
    """Share of unusable records above which the run stops."""
    templates: str | None = None
    """A CSV with columns event_id, template; found beside the data as ``vocabulary.csv`` when not given."""


class Training(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """How a stage is trained."""

    batch: Positive = 8
    """Sessions an optimizer step sees (distinct sequences, weighted by how often they occur)."""
    batch_by_ratio: tuple[tuple[Ratio, Positive], ...] = ()
    """Batches that follow the stages: pairs of a share and the batch from that share on; empty: ``batch``."""
    batch_tokens: NotNegative = 0
    """Tokens an optimizer step sees, about: of long sessions it takes fewer than ``batch``. 0: ``batch`` counts."""
    micro_batch: NotNegative = 0
    """Sessions on a device at once; 0 stands for ``batch``. It is halved where memory runs short."""
    learning_rate: PositiveFloat = 1e-3
    final_share: Share = 0.05
    """The cosine ends at this share of the learning rate."""
    warmup_steps: NotNegative = 100
    """At most a tenth of a stage's steps."""
    weight_decay: NotNegativeFloat = 0.01
    betas: tuple[Share, Share] = (0.9, 0.98)
    eps: PositiveFloat = 1e-8
    clip: PositiveFloat = 1.0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: on CUDA bf16 where the device has it, else fp16; fp32 elsewhere."""
    duplicate_weight: Positive = 4
    """An identical sequence that occurs n times is visited ceil(n / this) times an epoch, weighted."""
    rare_as_unknown: NotNegativeFloat = 0.0
    """A rare event is now and then shown as an unknown one, with probability this / (this + how often it occurs),
    so that the model learns what stands around events that it does not know. 0: never."""
    hypersphere: NotNegativeFloat = 0.0
    """Weight in the loss of how far a session's first token lies from the centre of all, which then is evidence too.
    0: none; 0.1 in the paper. In the view ``next``, where the first token sees nothing else, there is none."""
    stage_steps: NotNegative = 0
    """Optimizer steps that a stage is to have, about: few sessions are gone through more than once an epoch, and many
    get fewer epochs. 0: epochs alone count, as they do with ``--epochs-per-stage``."""
    log_every: Positive = 10
    """Optimizer steps between two metrics."""
    save_minutes: PositiveFloat = 5.0
    """Minutes between two exact states in mid-stage."""
    accumulation: Positive = 1
    """Decoder presets: micro-batches a step, as the documents give them."""
    steps: NotNegative = 0
    """Decoder presets: steps of the whole training; encoder runs count epochs."""


class Stages(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The progression. Without ``progressive`` there is one stage, at ``max_ratio``."""

    progressive: bool = True
    start_ratio: Ratio = 0.1
    step_size: Ratio = 0.1
    max_ratio: Ratio = 1.0
    epochs: Positive = 2
    """Epochs of each stage."""


class Memory(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The memory budget."""

    max_mb: PositiveFloat | None = None
    """Memory that training may take; from 80% of it on it warns, then halves the micro-batch."""


class Workers(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The processes that train."""

    nproc: Positive | Literal["auto"] = 1
    """Processes that train together, one a device; auto: one for each CUDA device."""
    hang_minutes: PositiveFloat = 10.0
    """Minutes without a sign of life after which they are taken for hung and started again."""


class Hardware(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The machine that a preset was written for."""

    label: str
    memory_gb: PositiveFloat | None = None
    devices: tuple[Literal["cpu", "mps", "cuda"], ...] = ("cpu", "mps", "cuda")
    price_per_hour: NotNegativeFloat | None = None
    price: str = ""
    gpu: str = ""
    """Its GPU, by a name that contains its model's; the time and cost there are computed from what is known of it."""
    gpus: Positive = 1
    gpu_cores: NotNegative = 0
    """Of an Apple GPU."""
    gpu_memory_gb: PositiveFloat | None = None
    """Memory of each that can be used."""


class DocumentedRate(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """How fast the source documents count on training, which the estimate is laid beside."""

    steps_per_s: tuple[PositiveFloat, PositiveFloat]
    tokens: Positive
    """Of a step."""


class Preset(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One file of ``presets/``."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: str
    summary: str
    order: int = 100
    """Place in the picker."""
    hardware: Hardware
    model: Encoder | Decoder
    data: Data = Data()
    training: Training = Training()
    stages: Stages = Stages()
    memory: Memory = Memory()
    workers: Workers = Workers()
    device: Device = "auto"
    seed: Seed = 1337
    documented: dict[str, str] = {}
    """What the source documents expect, in their words; never used for anything but to be shown as theirs."""
    documented_rate: DocumentedRate | None = None


class RunConfig(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """``run.yaml``: all that is needed to repeat a run."""

    preset: str
    engine_version: str
    model: Encoder | Decoder
    data: Data
    training: Training
    stages: Stages
    memory: Memory
    workers: Workers = Workers()
    device: Device
    seed: Seed
    hardware: Hardware
    documented: dict[str, str] = {}
    documented_rate: DocumentedRate | None = None
    evaluate: str | None = None
    """Labelled sessions that each stage's best model is evaluated on, for the record alone."""
