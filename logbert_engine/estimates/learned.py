"""What real steps took on this machine, kept for the next estimate."""

from __future__ import annotations

import fcntl
import hashlib
import math
import statistics
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from logbert_engine.presets.shape import Shape
from logbert_engine.protocol.errors import StorageError
from logbert_engine.protocol.locations import state_dir
from logbert_engine.protocol.messages import Hardware
from logbert_engine.rundir.atomic import write_file

_MOST = 200
_LIKE = 0.1
"""Lengths that differ by this share are taken for the same."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A measurement."""

    model: str
    """As ``model_key``."""
    device: str
    precision: str
    micro_batch: Annotated[int, Meta(ge=1)]
    tokens: Annotated[int, Meta(ge=1)]
    """Of a sequence, in the mean."""
    micro_s: Annotated[float, Meta(gt=0)]
    """Seconds of a micro-batch."""
    update_s: Annotated[float, Meta(ge=0)]
    """Seconds of an update; 0 where it is part of ``micro_s``."""
    expected_s: float
    """What was computed for ``micro_s`` + ``update_s`` from the device's rate alone."""
    rate: float = 0.0
    """That rate, FLOP/s of matrix products."""
    rows: int = 0
    """Of the embedding."""
    spread: float
    """Interquartile range as a share of the median; of a stage how far off its mean may be."""
    longest: int = 0
    """Tokens of the longest sequences, which the peak is of."""
    peak_mb: float | None = None
    empty_mb: float | None = None
    """Memory of a process that has loaded its libraries and nothing else."""
    accumulates: bool = False
    at: str = ""
    """When, in ISO 8601."""
    source: str = "trial"
    """``trial``, or ``stage`` of a run."""
    devices: int = 1
    """That trained together."""
    check_s: float | None = None
    """Seconds of validation, for each token that it goes through."""
    write_s: float | None = None
    """Seconds of writing the model after an epoch."""


class _File(msgspec.Struct, kw_only=True):
    measured: list[Measured]


def model_key(shape: Shape) -> str:
    """What makes models as fast as one another: their shape, whatever events they know."""
    return (
        f"{shape.architecture} {shape.hidden}/{shape.layers}/{shape.heads}/{shape.kv_heads}/{shape.ffn}"
        f" dropout {shape.dropout:g}{' masks' if shape.masks_each else ''}"
        f"{' checkpointing' if shape.checkpointing else ''}"
    )


@dataclass(frozen=True)
class Learned:
    """What is known of a machine."""

    path: Path | None
    measured: tuple[Measured, ...] = ()

    def exact(
        self, shape: Shape, device: str, precision: str, micro_batch: int, tokens: int, devices: int = 1
    ) -> Measured | None:
        """The latest measurement of a model at about these sizes; None where there is none."""
        found = [
            m
            for m in self._of(shape, device, precision, devices)
            if m.micro_batch == micro_batch and abs(m.tokens - tokens) <= _LIKE * tokens
        ]
        return found[-1] if found else None

    def near(
        self,
        shape: Shape,
        device: str,
        precision: str,
        work: float,
        of: Callable[[Measured], float],
        devices: int = 1,
    ) -> Measured | None:
        """The measurement of a model at the sizes most like some others.

        Args:
            shape: of the model.
            device: its kind.
            precision: of training.
            work: seconds that were computed for the sizes asked about.
            of: the same of a measurement.
            devices: that train together.
        """
        found = self._of(shape, device, precision, devices)
        return min(found, key=lambda m: abs(math.log(of(m) / work)), default=None)

    def ratio(self, device: str, precision: str, rate: float) -> float | None:
        """How many times longer models took than was computed, in the geometric mean; None where none was.

        Args:
            device: its kind.
            precision: of training.
            rate: that is computed with now; what was compared with another tells nothing.
        """
        latest = {
            m.model: m
            for m in self.measured
            if (m.device, m.precision, m.devices) == (device, precision, 1)
            and abs(m.rate - rate) <= _LIKE * rate
        }
        logs = [
            math.log((m.micro_s + m.update_s) / m.expected_s) for m in latest.values() if m.expected_s > 0
        ]
        return math.exp(statistics.fmean(logs)) if logs else None

    def empty_mb(self, device: str) -> float | None:
        """Memory of a process that has a device and no model; None where it was not measured."""
        found = [m.empty_mb for m in self.measured if m.device == device and m.empty_mb is not None]
        return found[-1] if found else None

    def ends(self, shape: Shape, device: str, precision: str) -> Measured | None:
        """The latest measurement that tells of an epoch's end; None where there is none."""
        found = [
            m
            for m in self.measured
            if (m.model, m.device, m.precision) == (model_key(shape), device, precision)
            and m.check_s is not None
        ]
        return found[-1] if found else None

    def _of(self, shape: Shape, device: str, precision: str, devices: int) -> list[Measured]:
        wanted = (model_key(shape), device, precision, devices)
        return [m for m in self.measured if (m.model, m.device, m.precision, m.devices) == wanted]

    def with_(self, measured: Measured) -> Learned:
        """With one more, written down beside what others have written there since, where that can be done."""
        if self.path is None:
            return Learned(None, _joined(self.measured, measured))
        with suppress(OSError, StorageError), _alone(self.path):  # what cannot be kept is measured again
            kept = Learned(self.path, _joined(_kept(self.path), measured))
            write_file(self.path, msgspec.json.encode(_File(measured=list(kept.measured))))
            return kept
        return Learned(self.path, _joined(self.measured, measured))


def _joined(kept: Iterable[Measured], measured: Measured) -> tuple[Measured, ...]:
    return (*(m for m in kept if _sizes(m) != _sizes(measured)), measured)[-_MOST:]


def _sizes(m: Measured) -> tuple[object, ...]:
    """What a later measurement replaces an earlier one by."""
    return m.model, m.device, m.precision, m.devices, m.micro_batch, m.tokens, m.longest, m.accumulates


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While no other process changes the file."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _kept(path: Path) -> tuple[Measured, ...]:
    """What a file holds; nothing where it is not there, or damaged."""
    try:
        return tuple(msgspec.json.decode(path.read_bytes(), type=_File).measured)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()


def learned_on(hardware: Hardware) -> Learned:
    """What is kept of a machine."""
    path = _path(hardware)
    return Learned(path, _kept(path))


def _path(hardware: Hardware) -> Path:
    names: Iterable[str] = (gpu.name for gpu in hardware.accelerators)
    key = "\n".join((hardware.host, hardware.processor, str(hardware.threads), *names))
    return state_dir() / f"measured-{hashlib.sha256(key.encode(errors='replace')).hexdigest()[:16]}.json"
