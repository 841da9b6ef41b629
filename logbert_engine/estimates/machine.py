"""The device that a run would use on a machine, and what it has to offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from logbert_engine.estimates.learned import Learned
from logbert_engine.estimates.rates import Speed, speed_of
from logbert_engine.presets.types import RunConfig
from logbert_engine.protocol.messages import Accelerator, Hardware

Kind = Literal["cpu", "mps", "cuda"]
Precision = Literal["fp32", "bf16", "fp16"]

EMPTY_MB = 385.0
"""Of a process that has loaded torch and transformers, where it was not measured."""
CONTEXT_MB = 500.0
"""That CUDA takes of a GPU for itself."""


@dataclass(frozen=True)
class Machine:
    """What an estimate needs to know of a machine."""

    hardware: Hardware
    learned: Learned
    matmul: Mapping[tuple[str, str], float]
    """FLOP/s of matrix products by kind of device and precision, where they were measured."""


@dataclass(frozen=True)
class Place:
    """A device, or several alike."""

    kind: Kind
    name: str
    count: int
    """That train together."""
    precision: Precision
    room_mb: float
    """Memory of each that can be taken now."""
    speed: Speed | None
    """None where nothing is known of it."""


def place_of(config: RunConfig, machine: Machine) -> Place | None:
    """Where a run would train; None where the device that it asks for is not there."""
    hardware = machine.hardware
    gpus = {kind: [gpu for gpu in hardware.accelerators if gpu.kind == kind] for kind in ("cuda", "mps")}
    kind: Kind
    if config.device == "auto":
        kind = "cuda" if gpus["cuda"] else "mps" if gpus["mps"] else "cpu"
    else:
        kind = config.device
    if kind != "cpu" and not gpus[kind]:
        return None
    precision = _precision(config, kind, gpus.get(kind, []))
    matmul = machine.matmul.get((kind, precision))
    if kind == "cpu":
        return Place(
            kind=kind,
            name=hardware.processor,
            count=1,
            precision=precision,
            room_mb=hardware.memory_available_mb,
            speed=speed_of(kind, hardware.processor, precision, hardware.cores, matmul),
        )
    of_kind = gpus[kind]
    wanted = len(of_kind) if config.workers.nproc == "auto" else config.workers.nproc
    return Place(
        kind=kind,
        name=of_kind[0].name,
        count=min(wanted, len(of_kind)),
        precision=precision,
        room_mb=min(_room(gpu, hardware) for gpu in of_kind),
        speed=speed_of(kind, _known_as(of_kind[0]), precision, of_kind[0].cores, matmul),
    )


def _known_as(gpu: Accelerator) -> str:
    gb = round((gpu.memory_mb or 0.0) / 1024)
    return gpu.name if gpu.unified_memory else f"{gpu.name} {gb}GB"


def _precision(config: RunConfig, kind: Kind, gpus: list[Accelerator]) -> Precision:
    wanted = config.training.precision
    if wanted != "auto":
        return wanted if kind != "cpu" or wanted != "fp16" else "fp32"
    if kind != "cuda":
        return "fp32"
    return "bf16" if gpus[0].bf16 else "fp16"


def _room(gpu: Accelerator, hardware: Hardware) -> float:
    """MB that can be taken of a GPU now; of one that shares the machine's memory, no more than is available there."""
    total = gpu.memory_mb if gpu.memory_mb is not None else hardware.memory_available_mb
    if gpu.unified_memory:
        return min(total, hardware.memory_available_mb)
    return max(0.0, total - (gpu.memory_used_mb or 0.0))
