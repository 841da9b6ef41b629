"""Where a stage stands between two optimizer steps, and the file that holds it exactly."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import msgspec
import torch

from logbert_engine.models.checkpoint import FORMAT, UNUSABLE, cpu_state, newest_payload, write_payload
from logbert_engine.models.device import Compute
from logbert_engine.models.encoder import MaskedModel
from logbert_engine.presets.types import View
from logbert_engine.protocol.errors import CheckpointError
from logbert_engine.protocol.runstate import EpochResult
from logbert_engine.rundir.layout import StageLayout
from logbert_engine.training import random_states
from logbert_engine.training.health import HealthState
from logbert_engine.training.memory import MemoryState
from logbert_engine.training.origin import Origin, record_origin
from logbert_engine.training.team import Team

MOST_OF_TIME = 0.02
"""Share of the training time that saving exact states may take."""


class Position(msgspec.Struct, kw_only=True):
    """Everything about a stage's progress that is not a tensor."""

    step: int = 0
    """Optimizer steps done."""
    seconds: float = 0.0
    """Trained for, over all attempts that count."""
    steps_s: float = 0.0
    """Of those, seconds of optimizer steps."""
    validation_s: float = 0.0
    """Of them, those of validation."""
    windows: list[tuple[int, float]] = []
    """Steps and seconds of each window between two metrics, as long as steps are like one another: on one device,
    with one micro-batch; without the first of an attempt, in which kernels and allocators get used to the sizes."""
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
    centres: dict[View, list[float]] = {}
    """Of the hypersphere that the epoch at work draws sessions to."""
    health: HealthState = msgspec.field(default_factory=HealthState)
    memory: MemoryState | None = None


class Terms(msgspec.Struct, kw_only=True, frozen=True):
    """What a state was trained under. On other terms it can be gone on with, but no longer to the same bit."""

    device: str
    precision: str
    world_size: int
    micro_batch: int
    torch: str

    def differences(self, now: Terms) -> list[str]:
        """What is not the same, in words."""
        names = ("device", "precision", "world_size", "micro_batch", "torch")
        words = {"world_size": "processes", "micro_batch": "sessions at once", "torch": "PyTorch"}
        return [
            f"{words.get(name, name)} {getattr(now, name)} instead of {getattr(self, name)}"
            for name in names
            if getattr(self, name) != getattr(now, name)
        ]


def save_interval(wanted_s: float, took_s: float) -> float:
    """Seconds from one save to the next, so that a slow disk takes little of the training time.

    Args:
        wanted_s: as the settings have it.
        took_s: the last save.

    Returns:
        So long that saving takes at most ``MOST_OF_TIME``, but at most twice ``wanted_s``.
    """
    return min(max(wanted_s, took_s / MOST_OF_TIME), 2 * wanted_s)


class Exact:
    """A stage's exact state: what it is made of, and how it is saved and put back."""

    def __init__(
        self,
        layout: StageLayout,
        belongs: Origin,
        team: Team,
        compute: Compute,
        model: MaskedModel,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
    ) -> None:
        self._layout, self._belongs, self._team, self._compute = layout, belongs, team, compute
        self._model, self._optimizer, self._scaler = model, optimizer, scaler

    def terms(self, micro_batch: int) -> Terms:
        """What this process trains under."""
        return Terms(
            device=self._compute.kind,
            precision=self._compute.precision,
            world_size=self._team.place.world_size,
            micro_batch=micro_batch,
            torch=str(torch.__version__),
        )

    def save(
        self,
        position: Position,
        micro_batch: int,
        while_writing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Write the state; the two before stay until this one is safe, then one of them.

        All ranks must call it at the same step; rank 0 writes.

        Args:
            position: within the stage.
            micro_batch: at work.
            while_writing: entered for the writing alone, which may take long; not for what waits for other ranks.

        Raises:
            StorageError: no room, no permission.
            PeerLostError: another rank is gone.
        """
        generators = self._team.gather(random_states.capture(self._compute))
        if not self._team.place.leads:
            return
        payload = {
            "format": FORMAT,
            "kind": "resume",
            "origin": msgspec.to_builtins(self._belongs),
            "terms": msgspec.to_builtins(self.terms(micro_batch)),
            "position": msgspec.to_builtins(position),
            "model": self._model.state_dict() if self._compute.kind == "cpu" else cpu_state(self._model),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "random": [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in generators],
        }
        with while_writing():
            write_payload(self._layout.resume, payload, previous=self._layout.resume_previous)
            record_origin(self._layout, self._belongs)

    def read(self) -> tuple[dict[str, Any], list[str]]:
        """The newest state that is whole, and a sentence for each file that is not.

        Raises:
            CheckpointError: none is whole, or it is of other settings or data.
        """
        payload, path, problems = newest_payload(
            [self._layout.resume, self._layout.resume_previous], "resume"
        )
        try:
            found = msgspec.convert(payload["origin"], Origin)
        except UNUSABLE as error:
            raise CheckpointError(f"{path} was written by another version of logbert-engine") from error
        if found.data != self._belongs.data:
            raise CheckpointError("the sessions are others than when it was saved")
        if found.parent != self._belongs.parent:
            raise CheckpointError("the checkpoint that the stage started from is another one")
        if found != self._belongs:
            raise CheckpointError("it was saved with other settings")
        return payload, problems

    def restore(self, payload: dict[str, Any], micro_batch: int) -> tuple[Position, list[str]]:
        """Put a state back; the next step is the one that would have come.

        Returns:
            The position, and what differs from the terms that the state was trained under.
        """
        self._model.load_state_dict(payload["model"])
        self._optimizer.load_state_dict(payload["optimizer"])
        self._scaler.load_state_dict(payload["scaler"])
        position = msgspec.convert(payload["position"], Position)
        if "steps_s" not in payload["position"]:  # written before they were told apart
            position.steps_s = position.seconds
        before = msgspec.convert(payload["terms"], Terms)
        rank, generators = self._team.place.rank, payload["random"]
        if before.device == self._compute.kind and rank < len(generators):
            random_states.put_back(generators[rank].numpy().tobytes(), self._compute)
        else:  # its draws cannot be gone on with, only be repeatable
            random_states.seed_all(position.step * 1_000_003 + rank)
        differences = before.differences(self.terms(micro_batch))
        if differences:
            position.windows.clear()
        return position, differences
