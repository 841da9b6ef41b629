"""What a run will take on a machine, as engine and console exchange it."""

from __future__ import annotations

from typing import Literal

import msgspec

from logbert_engine.protocol.expectation import Figure as Figure
from logbert_engine.protocol.expectation import Origin as Origin
from logbert_engine.protocol.messages import DataSummary, RunSpec

Fit = Literal["fits", "adjusted", "too large", "no device"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a run fits a machine."""

    fit: Fit
    micro_batch: int = 0
    """Sessions on a device at once with which it fits, or with which it comes closest."""
    checkpointing: bool = False
    """Whether it needs gradient checkpointing for that."""
    lacking_mb: float = 0.0
    """Memory by which it does not fit."""
    words: str
    """In one sentence, with what to do."""
    settings: list[str] = []
    """``path.to.key=value`` that make it fit, where the preset's own do not."""


class StageEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """A stage to come."""

    ratio: float
    sessions: float
    steps: float
    seconds: Figure | None = None
    end_s: float = 0.0
    """Seconds of an epoch's end: validation, and writing its model where that was measured."""


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True):
    """The same run on the machine that a preset was written for."""

    machine: str
    seconds: Figure | None = None
    cost: Figure | None = None
    """US dollars; None where there is no price by the hour."""
    price: str = ""
    steps_per_s: Figure | None = None
    fits: bool = True
    words: str = ""
    """About claims of the documents that cannot hold there."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a run will take here."""

    preset: str
    parameters: int
    parameter_parts: dict[str, int]
    device: str
    """``cpu``, ``mps`` or ``cuda``."""
    device_name: str
    devices: int = 1
    precision: str
    micro_batch: int
    batch: int
    tokens: int
    """Of a sequence, in the mean."""
    longest: int
    """Of the longest sequence that the model will see at once."""
    tokens_per_step: float
    flop_per_token: float
    flop_per_step: float
    memory: Figure
    """MB (2^20 bytes) at the peak, of each device."""
    memory_parts: dict[str, float]
    fitted: Figure | None = None
    """The same with what the verdict says makes it fit; None where it fits as it is, or not at all."""
    room_mb: float
    """What the device has to offer now."""
    budget_mb: float | None = None
    """The preset's."""
    step_s: Figure | None = None
    stages: list[StageEstimate] = []
    seconds: Figure | None = None
    """Of the whole run; None without data, or without a device."""
    verdict: Verdict
    elsewhere: Elsewhere | None = None
    documented: dict[str, str] = {}
    assumed: list[str] = []
    """What was taken for granted, in words."""


class EstimateQuery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``estimate``: some presets, with the settings of one request and what is known of its data."""

    spec: RunSpec
    presets: list[str] = []
    """Empty: the one of the request."""
    data: DataSummary | None = None


class Estimates(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to ``estimate``."""

    estimates: list[Estimate]
    problems: dict[str, str] = {}
    """Preset to why there is no estimate for it."""
    advice: list[str] = []
    """Which preset to take, in the three situations that the documents tell apart."""


class MeasureQuery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``measure``: take some real steps of a request on this machine; ``estimate`` then knows them."""

    spec: RunSpec
    data: DataSummary | None = None


class MeasureRef(msgspec.Struct, frozen=True, kw_only=True):
    """A measurement under way."""

    id: int


class Measuring(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Notification ``measuring``: how far it is, or how it ended."""

    id: int
    preset: str
    step: int = 0
    steps: int = 0
    state: Literal["running", "finished", "failed"] = "running"
    message: str = ""
    """Why it failed."""
