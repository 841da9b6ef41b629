"""NVIDIA GPUs through NVML, the driver's own library: no torch, no context on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pynvml

from logbert_engine.hardware.memory import Memory
from logbert_engine.hardware.sources import MB
from logbert_engine.protocol.messages import Accelerator

_ABSURD = 4
"""A GPU's memory above so many times the machine's is taken for a wrong figure."""


@dataclass(frozen=True)
class GpuReading:
    """What NVML answered for one GPU; None where it refused (NOT_SUPPORTED on chips with unified memory)."""

    name: str
    total: int | None = None
    """Bytes."""
    used: int | None = None
    """Bytes."""
    utilization_percent: float | None = None
    temperature_c: float | None = None
    power_mw: float | None = None


class Nvml:
    """NVML, opened once. Without a driver there are simply no GPUs."""

    def __init__(self) -> None:
        self._handles: list[Any] = []
        self._open = False
        try:
            pynvml.nvmlInit()
            self._open = True
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        except pynvml.NVMLError:
            self.close()  # no library, no driver, no permission: nothing that torch could use either

    def read(self) -> list[GpuReading]:
        """One reading a GPU, in the driver's order."""
        return [_read(handle) for handle in self._handles]

    def close(self) -> None:
        """Let go of the driver; calling it twice does no harm."""
        self._handles = []
        if self._open:
            self._open = False
            _ask(pynvml.nvmlShutdown)


def _ask(question: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return question(*arguments)
    except pynvml.NVMLError:
        return None  # NVML answers question by question; what it does not tell stays unknown


def _read(handle: Any) -> GpuReading:
    name = _ask(pynvml.nvmlDeviceGetName, handle)
    memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    rates = _ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
    return GpuReading(
        name=name.decode(errors="replace") if isinstance(name, bytes) else name or "NVIDIA GPU",
        total=None if memory is None else memory.total,
        used=None if memory is None else memory.used,
        utilization_percent=None if rates is None else float(rates.gpu),
        temperature_c=_ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        power_mw=_ask(pynvml.nvmlDeviceGetPowerUsage, handle),
    )


def cuda_gpu(reading: GpuReading, memory: Memory) -> Accelerator:
    """A reading as it is shown. Where its memory cannot be believed, the host's available one stands in."""
    wrong = _disbelief(reading, memory)
    total, used = (None, None) if wrong else (reading.total, reading.used)
    if total is not None and used is not None and not 0 <= used <= total:
        used = None
    return Accelerator(
        kind="cuda",
        name=reading.name,
        memory_mb=memory.available_mb if total is None else total / MB,
        memory_used_mb=None if used is None else used / MB,
        utilization_percent=reading.utilization_percent,
        temperature_c=reading.temperature_c,
        power_w=None if reading.power_mw is None else reading.power_mw / 1000,
        unified_memory=bool(wrong),
        note=f"{wrong}; the machine's available memory is shown instead" if wrong else "",
    )


def _disbelief(reading: GpuReading, memory: Memory) -> str:
    if reading.total is None:
        return "the driver does not tell this GPU's memory"
    if reading.total <= 0:
        return "the driver gives this GPU's memory as zero"
    if reading.total / MB > _ABSURD * memory.total_mb:
        return (
            f"the driver gives this GPU's memory as {reading.total / MB:,.0f} MB, more than {_ABSURD} times "
            "the machine's"
        )
    return ""
