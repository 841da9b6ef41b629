"""What torch says of this machine's devices, as a worker was told, and as it is kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Literal

import msgspec

from logbert_engine.protocol.errors import StorageError
from logbert_engine.protocol.locations import cache_dir
from logbert_engine.protocol.messages import Accelerator, Hardware
from logbert_engine.rundir.atomic import write_file


class TorchDevice(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A device, tried out."""

    kind: Literal["cpu", "cuda", "mps"]
    number: int = 0
    """Among the devices of its kind, in torch's order."""
    name: str = ""
    problem: str = ""
    """What torch said when it was asked to compute there; empty where it did."""
    capability: str = ""
    """Of an NVIDIA GPU, such as ``7.0``."""
    bf16: bool = False
    """Whether it computes in bf16, without emulation on an NVIDIA GPU."""
    recommended_mb: float | None = None
    """Of an Apple GPU: the memory that macOS recommends to use."""
    flops: dict[str, float] = {}
    """Operations a second in the product of two matrices, by precision; a short one only where it is faster."""


class TorchAnswer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a worker found out with torch."""

    torch: str
    """Its version."""
    cuda: str = ""
    """The CUDA that it was built for; empty in a build without."""
    capabilities: list[str] = []
    """NVIDIA's, for which it has code: ``sm_80``."""
    mps_built: bool = False
    machine: str = ""
    """What Python itself was built for; on an Apple chip ``x86_64`` where it runs under Rosetta."""
    threads: int = 1
    said: str = ""
    """Its warning where it finds no CUDA device though it was built for them."""
    devices: list[TorchDevice] = []

    def of_kind(self, kind: str) -> list[TorchDevice]:
        """The devices that torch knows by that kind."""
        return [device for device in self.devices if device.kind == kind]


class MachineKey(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer holds for; another machine, driver or torch asks anew."""

    host: str
    processor: str
    threads: int
    gpus: list[tuple[str, str]]
    """Names and drivers."""
    visible: str
    torch: str


class _Kept(msgspec.Struct, kw_only=True):
    key: MachineKey
    answer: TorchAnswer


def torch_version() -> str:
    """Of the torch that is installed, which is not imported for it; empty where there is none."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return ""


def key_of(hardware: Hardware) -> MachineKey:
    """What an answer about a machine is kept under."""
    return machine_key(hardware.host, hardware.processor, hardware.threads, hardware.accelerators)


def machine_key(host: str, processor: str, threads: int, gpus: Iterable[Accelerator]) -> MachineKey:
    """The same from its parts."""
    return MachineKey(
        host=host,
        processor=processor,
        threads=threads,
        gpus=[(gpu.name, gpu.driver) for gpu in gpus],
        visible=os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        torch=torch_version(),
    )


def remembered(key: MachineKey) -> TorchAnswer | None:
    """The answer that is kept for a machine; None where none is, where it is damaged, or of another torch."""
    try:
        kept = msgspec.json.decode(_path(key.host).read_bytes(), type=_Kept)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return kept.answer if kept.key == key else None


def with_best_rates(answer: TorchAnswer, before: TorchAnswer | None) -> TorchAnswer:
    """An answer with the higher of its rates and earlier ones of the same machine, which may be busy now."""
    for device in answer.devices:
        for old in before.of_kind(device.kind) if before is not None else []:
            if old.number == device.number and not device.problem:
                both = device.flops.keys() | old.flops.keys()
                best = {name: max(rates.flops.get(name, 0.0) for rates in (device, old)) for name in both}
                full = best.get("fp32", 0.0)
                device.flops = {name: best[name] for name in sorted(both, reverse=True) if best[name] >= full}
    return answer


def keep(key: MachineKey, answer: TorchAnswer) -> None:
    """Keep an answer, if it can be written; what is not kept is asked again."""
    with suppress(OSError, StorageError):
        write_file(_path(key.host), msgspec.json.encode(_Kept(key=key, answer=answer)))


def _path(host: str) -> Path:
    """A file a host: hosts may share a home."""
    return cache_dir() / f"torch-{hashlib.sha256(host.encode(errors='replace')).hexdigest()[:16]}.json"
