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
_FIRST_WITH_BF16 = (8, 0)
"""Ampere; Volta and Turing have fp16 alone."""


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
    capability: tuple[int, int] | None = None
    """What the chip can do, (7, 0) for a V100."""
    driver: str = ""
    driver_cuda: int | None = None
    """The newest CUDA that the driver runs: 12040 for 12.4."""


class Nvml:
    """NVML, opened once. Without a driver there are simply no GPUs."""

    def __init__(self) -> None:
        self._handles: list[Any] = []
        self._open = False
        self._driver = ""
        self._driver_cuda: int | None = None
        try:
            pynvml.nvmlInit()
            self._open = True
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
            self._driver = _text(_ask(pynvml.nvmlSystemGetDriverVersion))
            self._driver_cuda = _ask(pynvml.nvmlSystemGetCudaDriverVersion_v2)
        except pynvml.NVMLError:
            self.close()  # no library, no driver, no permission: nothing that torch could use either

    def read(self) -> list[GpuReading]:
        """One reading a GPU, in the driver's order."""
        return [_read(handle, self._driver, self._driver_cuda) for handle in self._handles]

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


def _text(answer: Any) -> str:
    return answer.decode(errors="replace") if isinstance(answer, bytes) else answer or ""


def _read(handle: Any, driver: str, driver_cuda: int | None) -> GpuReading:
    memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    rates = _ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
    capability = _ask(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    return GpuReading(
        name=_text(_ask(pynvml.nvmlDeviceGetName, handle)) or "NVIDIA GPU",
        total=None if memory is None else memory.total,
        used=None if memory is None else memory.used,
        utilization_percent=None if rates is None else float(rates.gpu),
        temperature_c=_ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        power_mw=_ask(pynvml.nvmlDeviceGetPowerUsage, handle),
        capability=None if capability is None else (capability[0], capability[1]),
        driver=driver,
        driver_cuda=driver_cuda,
    )


def cuda_gpu(reading: GpuReading, memory: Memory) -> Accelerator:
    """A reading as it is shown. Where its memory cannot be believed, the host's available one stands in."""
    wrong = _disbelief(reading, memory)
    total, used = (None, None) if wrong else (reading.total, reading.used)
    if total is not None and used is not None and not 0 <= used <= total:
        used = None
    capability, newest = reading.capability, reading.driver_cuda
    return Accelerator(
        kind="cuda",
        name=reading.name,
        memory_mb=memory.available_mb if total is None else total / MB,
        memory_used_mb=None if used is None else used / MB,
        utilization_percent=reading.utilization_percent,
        temperature_c=reading.temperature_c,
        power_w=None if reading.power_mw is None else reading.power_mw / 1000,
        unified_memory=bool(wrong),
        compute_capability="" if capability is None else f"{capability[0]}.{capability[1]}",
        bf16=None if capability is None else capability >= _FIRST_WITH_BF16,
        driver=reading.driver,
        driver_cuda="" if newest is None else f"{newest // 1000}.{newest % 1000 // 10}",
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
