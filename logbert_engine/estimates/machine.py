"""The device that a run would use on a machine, and what it has to offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    matmul: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """FLOP/s of matrix products by kind of device and precision, where they were measured."""
    usable: Mapping[str, int] | None = None
    """Devices that torch can compute on, by kind; None where it was not asked."""
    problem: str = ""
    """Why torch did not answer."""


@dataclass(frozen=True)
class Place:
    """A device, or several alike."""

    kind: Kind
    name: str
    count: int
    """Processes that train together, each with a device; on a processor they share it and its memory."""
    precision: Precision
    room_mb: float
    """Memory of each that can be taken now."""
    speed: Speed | None
    """None where nothing is known of it."""


def place_of(config: RunConfig, machine: Machine) -> Place | str:
    """Where a run would train; where training would refuse it, why and how to mend that."""
    hardware = machine.hardware
    gpus = {kind: _usable(kind, machine) for kind in ("cuda", "mps")}
    kind: Kind
    if config.device == "auto":
        kind = "cuda" if gpus["cuda"] else "mps" if gpus["mps"] else "cpu"
    else:
        kind = config.device
    if kind != "cpu" and not gpus[kind]:
        return f"needs {kind}, which this machine does not have; --device auto takes what there is"
    of_kind = gpus.get(kind, [])
    precision = _precision(config, kind, of_kind)
    if precision == "fp16" and kind == "cpu":
        return "trains in fp16, which is for GPUs; --set training.precision=auto takes what the device has"
    if precision == "bf16" and kind == "cuda" and of_kind[0].bf16 is False:
        return f"trains in bf16, which {of_kind[0].name} does not have; --set training.precision=auto"
    count = config.workers.nproc
    if count == "auto":
        count = len(of_kind) if kind == "cuda" else 1
    if kind != "cpu" and count > len(of_kind):
        return (
            f"asks for {count} processes, each with a device, of which there are {len(of_kind)}; --nproc auto"
        )
    matmul = machine.matmul.get((kind, precision))
    if kind == "cpu":
        name, room, cores = hardware.processor, hardware.memory_available_mb, hardware.cores
    else:
        name, cores = of_kind[0].name, of_kind[0].cores
        room = min(_room(gpu, hardware) for gpu in of_kind)
    known_as = name if kind == "cpu" else _known_as(of_kind[0])
    return Place(
        kind=kind,
        name=name,
        count=count,
        precision=precision,
        room_mb=room,
        speed=speed_of(kind, known_as, precision, cores, matmul),
    )


def _usable(kind: str, machine: Machine) -> list[Accelerator]:
    """GPUs of a kind, without those that torch cannot compute on."""
    found = [gpu for gpu in machine.hardware.accelerators if gpu.kind == kind]
    return found if machine.usable is None else found[: machine.usable.get(kind, 0)]


def _known_as(gpu: Accelerator) -> str:
    gb = round((gpu.memory_mb or 0.0) / 1024)
    return gpu.name if gpu.unified_memory else f"{gpu.name} {gb}GB"


def _precision(config: RunConfig, kind: Kind, gpus: list[Accelerator]) -> Precision:
    wanted = config.training.precision
    if wanted != "auto":
        return wanted
    if kind != "cuda":
        return "fp32"
    return "bf16" if gpus[0].bf16 else "fp16"


def _room(gpu: Accelerator, hardware: Hardware) -> float:
    """MB that can be taken of a GPU now; of one that shares the machine's memory, no more than is available there."""
    total = gpu.memory_mb if gpu.memory_mb is not None else hardware.memory_available_mb
    if gpu.unified_memory:
        return min(total, hardware.memory_available_mb)
    return max(0.0, total - (gpu.memory_used_mb or 0.0))
