"""Devices: which one to use, in which precision, and what it and the worker use of memory."""

from __future__ import annotations

import ctypes
import gc
import platform
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import psutil
import torch

from logbert_engine.presets.types import Device
from logbert_engine.protocol.errors import DeviceError

Precision = Literal["fp32", "bf16", "fp16"]
_MB = float(1 << 20)


@dataclass(frozen=True)
class Compute:
    """Where and how numbers are crunched."""

    device: torch.device
    precision: Precision
    name: str

    @property
    def kind(self) -> str:
        """``cpu``, ``mps`` or ``cuda``."""
        return self.device.type

    def autocast(self) -> AbstractContextManager[object]:
        """Mixed precision: matrix products in the short type, weights and sums in fp32."""
        short = torch.float16 if self.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, short, enabled=self.precision != "fp32")


def choose(
    device: Device,
    precision: Literal["auto", "fp32", "bf16", "fp16"],
    *,
    number: int = 0,
    together: int = 1,
) -> Compute:
    """Take the device that is asked for; ``auto`` takes CUDA, else MPS, else the CPU.

    Args:
        device: the kind.
        precision: auto: on CUDA bf16 where the device has it, else fp16; fp32 elsewhere.
        number: which of the CUDA devices.
        together: processes that train together on this machine, each on a device of its own.

    Raises:
        DeviceError: the device is not there, or cannot do the precision.
    """
    there = {"cpu": True, "mps": torch.backends.mps.is_available(), "cuda": torch.cuda.is_available()}
    kind = next(k for k in ("cuda", "mps", "cpu") if there[k]) if device == "auto" else device
    if not there[kind]:
        usable = ", ".join(k for k, is_there in there.items() if is_there)
        raise DeviceError(f"no {kind} device on this machine; use --device auto or one of: {usable}.")
    devices = torch.cuda.device_count() if kind == "cuda" else 1
    if kind != "cpu" and together > devices:
        raise DeviceError(
            f"{together} processes were asked for and there are {devices} {kind} devices; use --nproc {devices}."
        )
    if kind == "cpu" and together > 1:  # the processors are divided among them
        torch.set_num_threads(max(1, torch.get_num_threads() // together))
    short = kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    chosen: Precision
    if precision == "auto":  # Apple's GPUs gain nothing from short types, CPUs were not checked for quality
        chosen = ("bf16" if short else "fp16") if kind == "cuda" else "fp32"
    else:
        chosen = precision
    if chosen == "fp16" and kind == "cpu":
        raise DeviceError("precision fp16 is for GPUs; use fp32 or bf16 on the CPU.")
    if chosen == "bf16" and kind == "cuda" and not short:
        raise DeviceError("this CUDA device has no bf16; use --set training.precision=fp16 or fp32.")
    where = torch.device(kind, number) if kind == "cuda" else torch.device(kind)
    return Compute(device=where, precision=chosen, name=_name(where))


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return "Apple GPU"
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def resident_mb() -> float:
    """Resident memory of this process, MB (2^20 bytes)."""
    return float(psutil.Process().memory_info().rss) / _MB


def device_mb(compute: Compute) -> float | None:
    """Memory taken on the accelerator, MB; None on the CPU."""
    if compute.kind == "cuda":
        return float(torch.cuda.memory_reserved(compute.device)) / _MB
    if compute.kind == "mps":
        return float(torch.mps.driver_allocated_memory()) / _MB
    return None


def peak_device_mb(compute: Compute) -> float | None:
    """The most that was taken since the last call, MB; None where the device does not tell."""
    if compute.kind != "cuda":
        return None
    peak = float(torch.cuda.max_memory_reserved(compute.device)) / _MB
    torch.cuda.reset_peak_memory_stats(compute.device)
    return peak


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the device or the system had no more memory.

    CUDA has a type for it; the CPU's allocator and MPS tell it in words alone.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = ("can't allocate memory", "MPS backend out of memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(text in str(error) for text in words)


def free_memory(compute: Compute) -> None:
    """Give freed memory back, between stages: Python's garbage, the device's cache, the heap's free pages."""
    gc.collect()
    if compute.kind == "cuda":
        torch.cuda.empty_cache()
    elif compute.kind == "mps":
        torch.mps.empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # glibc keeps freed pages otherwise
            trim(0)
