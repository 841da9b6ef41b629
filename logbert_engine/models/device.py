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


def choose(device: Device, precision: Literal["auto", "fp32", "bf16", "fp16"]) -> Compute:
    """Take the device that is asked for; ``auto`` takes CUDA, else MPS, else the CPU.

    Raises:
        DeviceError: the device is not there, or cannot do the precision.
    """
    there = {"cpu": True, "mps": torch.backends.mps.is_available(), "cuda": torch.cuda.is_available()}
    kind = next(k for k in ("cuda", "mps", "cpu") if there[k]) if device == "auto" else device
    if not there[kind]:
        usable = ", ".join(k for k, is_there in there.items() if is_there)
        raise DeviceError(f"no {kind} device on this machine; use --device auto or one of: {usable}.")
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
    return Compute(device=torch.device(kind), precision=chosen, name=_name(kind))


def _name(kind: str) -> str:
    if kind == "cuda":
        return torch.cuda.get_device_name()
    if kind == "mps":
        return "Apple GPU"
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def resident_mb() -> float:
    """Resident memory of this process, MB (2^20 bytes)."""
    return float(psutil.Process().memory_info().rss) / _MB


def device_mb(compute: Compute) -> float | None:
    """Memory taken on the accelerator, MB; None on the CPU."""
    if compute.kind == "cuda":
        return float(torch.cuda.memory_reserved()) / _MB
    if compute.kind == "mps":
        return float(torch.mps.driver_allocated_memory()) / _MB
    return None


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


def random_state(compute: Compute) -> dict[str, torch.Tensor]:
    """The generators' states; dropout is all that draws from them."""
    state = {"cpu": torch.get_rng_state()}
    if compute.kind == "cuda":
        state["cuda"] = torch.cuda.get_rng_state()
    elif compute.kind == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(compute: Compute, state: dict[str, torch.Tensor]) -> None:
    """Put the generators back where ``random_state`` found them."""
    torch.set_rng_state(state["cpu"])
    if compute.kind == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])
    elif compute.kind == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"])
