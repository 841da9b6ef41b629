"""The GPU of an Apple chip, which shares the machine's memory."""

from __future__ import annotations

import re

from logbert_engine.hardware.memory import Memory
from logbert_engine.hardware.processor import sysctl
from logbert_engine.hardware.sources import MB, Sources
from logbert_engine.protocol.messages import Accelerator

_STATISTICS = ("/usr/sbin/ioreg", "-r", "-d", "1", "-w", "0", "-c", "IOAccelerator")
_UTILIZATION = re.compile(r'"Device Utilization %"\s*=\s*(\d+)')
_IN_USE = re.compile(r'"In use system memory"\s*=\s*(\d+)')
NOTE = "shares the machine's memory, of which macOS keeps a part from the GPU"


def apple_gpus(sources: Sources, memory: Memory) -> list[Accelerator]:
    """The GPU that PyTorch calls ``mps``; none on other machines.

    ``memory_mb`` is the limit set by ``iogpu.wired_limit_mb`` where there is one, else all memory: macOS
    tells its own limit only to programs that open the GPU.
    """
    if sources.system != "Darwin" or sources.machine != "arm64":
        return []
    name = sysctl(sources, "machdep.cpu.brand_string") or "Apple GPU"
    limit = sysctl(sources, "iogpu.wired_limit_mb")
    limited = limit.isdecimal() and int(limit) > 0
    statistics = sources.run(_STATISTICS) or ""
    utilization, in_use = _UTILIZATION.search(statistics), _IN_USE.search(statistics)
    return [
        Accelerator(
            kind="mps",
            name=name,
            memory_mb=float(limit) if limited else memory.total_mb,
            memory_used_mb=int(in_use[1]) / MB if in_use else None,
            utilization_percent=float(utilization[1]) if utilization else None,
            unified_memory=True,
            note=NOTE,
        )
    ]
