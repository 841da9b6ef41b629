"""The GPU of an Apple chip, which shares the machine's memory."""

from __future__ import annotations

import re

from logbert_engine.hardware.cores import read_cores
from logbert_engine.hardware.memory import Memory
from logbert_engine.hardware.processor import processor_name, sysctl
from logbert_engine.hardware.sources import MB, Sources
from logbert_engine.hardware.torch_answer import TorchDevice, machine_key, remembered
from logbert_engine.protocol.messages import Accelerator

_STATISTICS = ("/usr/sbin/ioreg", "-r", "-d", "1", "-w", "0", "-c", "IOAccelerator")
_UTILIZATION = re.compile(r'"Device Utilization %"\s*=\s*(\d+)')
_IN_USE = re.compile(r'"In use system memory"\s*=\s*(\d+)')
_CORES = re.compile(r'"gpu-core-count"\s*=\s*(\d+)')
_GB = 1024

SHARED = "shares the machine's memory; "
SET = SHARED + "iogpu.wired_limit_mb sets how much of it"
TOLD = SHARED + "of which macOS recommends to use so much"
THUMB = SHARED + "how much of it macOS recommends is a rule of thumb here"


def apple_gpus(sources: Sources, memory: Memory, told: TorchDevice | None = None) -> list[Accelerator]:
    """The GPU that PyTorch calls ``mps``; none on other machines.

    ``memory_mb`` is the limit set by ``iogpu.wired_limit_mb`` where there is one, else what macOS recommends, which
    it tells only programs that open the GPU, as torch does.

    Args:
        sources: where the rest comes from.
        memory: the machine's.
        told: what torch found out; None where it was not asked, for a rule of thumb.
    """
    if not is_apple_chip(sources):
        return []
    limit = sysctl(sources, "iogpu.wired_limit_mb")
    limited = limit.isdecimal() and int(limit) > 0
    working_set, note = rule_of_thumb_mb(memory.total_mb), THUMB
    if limited:
        working_set, note = float(limit), SET
    elif told is not None and told.recommended_mb is not None:
        working_set, note = told.recommended_mb, TOLD
    statistics = sources.run(_STATISTICS) or ""
    cores = _CORES.search(statistics)
    utilization, in_use = _UTILIZATION.search(statistics), _IN_USE.search(statistics)
    return [
        Accelerator(
            kind="mps",
            name=_name(sources),
            memory_mb=working_set,
            memory_used_mb=int(in_use[1]) / MB if in_use else None,
            utilization_percent=float(utilization[1]) if utilization else None,
            unified_memory=True,
            note=note,
            bf16=told.bf16 if told is not None else None,
            cores=int(cores[1]) if cores else 0,
        )
    ]


def rule_of_thumb_mb(total_mb: float) -> float:
    """What macOS recommends to use of a Mac's memory, about: two thirds, from 36 GB on three quarters.

    Seen in logs of Metal's ``recommendedMaxWorkingSetSize``: 21.3 GB of 32, 27 of 36, 48 of 64, 72 of 96. Of 128 GB
    macOS 26 recommends more, 107.5.
    """
    return total_mb * (3 / 4 if total_mb >= 36 * _GB else 2 / 3)


def remembered_gpu(sources: Sources) -> TorchDevice | None:
    """What torch found out of an Apple chip's GPU, where it was asked before: a kept answer needs no torch."""
    if not is_apple_chip(sources):
        return None
    gpu = Accelerator(kind="mps", name=_name(sources))
    key = machine_key(sources.host(), processor_name(sources), read_cores(sources).threads, [gpu])
    answer = remembered(key)
    return next(iter(answer.of_kind("mps")), None) if answer else None


def is_apple_chip(sources: Sources) -> bool:
    """Whether this is a Mac with a GPU that PyTorch can use."""
    return sources.system == "Darwin" and sources.machine == "arm64"


def _name(sources: Sources) -> str:
    return sysctl(sources, "machdep.cpu.brand_string") or "Apple GPU"
