"""Findings about the processor, the clock, memory and GPUs, as they were probed."""

from __future__ import annotations

import time

from logbert_engine.diagnosis.finding import Finding, gigabytes, notice, well, wrong
from logbert_engine.protocol.messages import Accelerator, Hardware

LITTLE_MEMORY_MB = 2048
TOO_LITTLE_MEMORY_MB = 512
"""A process that has imported torch takes 220 MB, with CUDA twice that, before it has a model."""
_TAKEN = 0.1
"""A GPU of whose memory more is in use serves somebody else too."""


def findings(hardware: Hardware, *, translated: bool = False, now: float, written_at: float) -> list[Finding]:
    """The system, the processor and the clock.

    Args:
        hardware: as it was probed.
        translated: Python for Intel runs on an Apple chip, under Rosetta.
        now: the clock, Unix seconds.
        written_at: when these programs were written, which a clock that is right is past.
    """
    found = [well(f"{hardware.host}, {hardware.system}: {hardware.processor}"), _cores(hardware)]
    if translated:
        found.append(
            notice(
                "this Python is for Intel and runs under Rosetta, so that the Apple GPU cannot be used",
                "Install a Python for arm64, such as python.org's, and these programs anew in it.",
            )
        )
    if now < written_at:
        day = time.strftime("%Y-%m-%d", time.gmtime(now))
        found.append(
            notice(
                f"the clock says {day}, when these programs were not written yet",
                "Set the clock: the times of runs and logs are wrong.",
            )
        )
    return found


def _cores(hardware: Hardware) -> Finding:
    kinds = f" ({hardware.performance_cores} for performance, {hardware.efficiency_cores} for efficiency)"
    both = hardware.performance_cores and hardware.efficiency_cores
    counts = (
        f"{_number(hardware.cores, 'core')}{kinds if both else ''}, {_number(hardware.threads, 'thread')}"
    )
    if hardware.cpu_limit is None:
        return well(counts)
    return notice(
        f"{counts}: a cgroup gives {hardware.cpu_limit:g} processors' worth of time, fewer than the machine has",
        "Give the container or job more (docker --cpus, SLURM --cpus-per-task) if training is slow.",
    )


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def memory(hardware: Hardware) -> list[Finding]:
    """What a run can have."""
    available = hardware.memory_available_mb
    free = f"{gigabytes(available)} of {gigabytes(hardware.memory_mb)} can be had now"
    if available < TOO_LITTLE_MEMORY_MB:
        found = [wrong(free, "End other programs: torch alone takes hundreds of megabytes.")]
    elif available < LITTLE_MEMORY_MB:
        found = [notice(free, "End other programs, or train the preset `quick` or `test`.")]
    else:
        found = [well(free)]
    limit = hardware.memory_limit_mb
    if limit is not None:
        found.append(
            notice(
                f"a cgroup limits this to {gigabytes(limit)}",
                "Give the container or job more (docker --memory, SLURM --mem), or keep a run below it with "
                "--max-memory-mb.",
            )
        )
    return found


def gpus(hardware: Hardware) -> list[Finding]:
    """Each GPU, without torch."""
    if not hardware.accelerators:
        return [well("none is seen; training uses the processor")]
    return [_gpu(number, gpu) for number, gpu in enumerate(hardware.accelerators)]


def _gpu(number: int, gpu: Accelerator) -> Finding:
    used, total = gpu.memory_used_mb, gpu.memory_mb
    parts = [
        f"{number}: {gpu.name}",
        f"{gpu.cores} cores" if gpu.cores else "",
        f"{gigabytes(total)}{f' ({gpu.note})' if gpu.note else ''}" if total is not None else "",
        f"{gigabytes(used)} in use" if used is not None else "",
        f"compute capability {gpu.compute_capability}" if gpu.compute_capability else "",
        {True: "bf16", False: "fp16, no bf16", None: ""}[gpu.bf16],
        f"driver {gpu.driver} for CUDA up to {gpu.driver_cuda}" if gpu.driver and gpu.driver_cuda else "",
    ]
    what = ", ".join(part for part in parts if part)
    taken = gpu.kind == "cuda" and used is not None and total is not None and used > _TAKEN * total
    if not taken:
        return well(what)
    return notice(
        what,
        "Other programs or runs hold its memory; nvidia-smi shows which: end them, or take another with "
        "CUDA_VISIBLE_DEVICES.",
    )
