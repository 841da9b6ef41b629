"""Where a stage stands between two optimizer steps, and the file that holds it exactly."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import torch

from logbert_engine.models.checkpoint import FORMAT, cpu_state, read_payload, write_payload
from logbert_engine.models.device import Compute, random_state, set_random_state
from logbert_engine.models.encoder import MaskedModel
from logbert_engine.presets.types import RunConfig
from logbert_engine.protocol.errors import CheckpointError
from logbert_engine.protocol.runstate import EpochResult


class Position(msgspec.Struct, kw_only=True):
    """Everything about a stage's progress that is not a tensor."""

    step: int = 0
    """Optimizer steps done."""
    seconds: float = 0.0
    """Trained for, over all attempts that count."""
    window_loss: float = 0.0
    """Weighted surprisal since the last metric, and its weight."""
    window_weight: float = 0.0
    epoch_loss: float = 0.0
    """The same since the epoch's beginning."""
    epoch_weight: float = 0.0
    epoch_seconds: float = 0.0
    sessions: float = 0.0
    """Sessions that the stage's steps stood for."""
    epochs: list[EpochResult] = []
    best_epoch: int = 0
    best_valid_loss: float | None = None
    peak_rss_mb: float = 0.0
    peak_device_mb: float | None = None
    started_at: str = ""
    steps: list[int] = []
    """Columns of the stage's curve so far."""
    losses: list[float | None] = []
    rates: list[float] = []


class Origin(msgspec.Struct, kw_only=True, frozen=True):
    """What an exact state belongs to; it is of use only where all of it is the same."""

    stage: str
    config: str
    """sha256 of what determines the training."""
    data: str
    """Fingerprint of the session files."""


def origin(stage: str, config: RunConfig, fingerprint: str) -> Origin:
    """The origin of a stage's states. Where the run may go on to (``max_ratio``) does not matter."""
    stages = (config.stages.epochs, config.stages.start_ratio)
    decisive = msgspec.json.encode([config.model, config.data, config.training, stages, config.seed])
    return Origin(stage=stage, config=hashlib.sha256(decisive).hexdigest(), data=fingerprint)


def save(
    path: Path,
    position: Position,
    belongs: Origin,
    model: MaskedModel,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    compute: Compute,
) -> None:
    """Write the exact state; the one before stays until this one is safe."""
    payload = {
        "format": FORMAT,
        "kind": "resume",
        "origin": msgspec.to_builtins(belongs),
        "position": msgspec.to_builtins(position),
        "model": cpu_state(model),
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
        "random": random_state(compute),
        "device": compute.kind,
    }
    write_payload(path, payload)


def read(path: Path, belongs: Origin) -> dict[str, Any]:
    """The state in a file.

    Raises:
        CheckpointError: missing, damaged, or of other settings or data.
    """
    payload = read_payload(path, "resume")
    found = msgspec.convert(payload["origin"], Origin)
    if found.data != belongs.data:
        raise CheckpointError("the session files have changed since it was saved")
    if found != belongs:
        raise CheckpointError("it was saved with other settings")
    return payload


def restore(
    payload: dict[str, Any],
    model: MaskedModel,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    compute: Compute,
) -> Position:
    """Put a state back; the next step is the one that would have come."""
    model.load_state_dict(payload["model"])
    optimizer.load_state_dict(payload["optimizer"])
    scaler.load_state_dict(payload["scaler"])
    if payload["device"] == compute.kind:
        set_random_state(compute, payload["random"])
    else:  # another kind of device: its draws cannot be gone on with, only be repeatable
        torch.manual_seed(payload["position"]["step"])
    return msgspec.convert(payload["position"], Position)
