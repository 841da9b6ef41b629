"""What this machine has: processor, memory, disk, accelerators. Found without torch, in milliseconds."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import psutil

from logbert_engine.hardware.apple import apple_gpus
from logbert_engine.hardware.cuda import GpuReading, Nvml, cuda_gpu
from logbert_engine.hardware.memory import Memory, read_memory
from logbert_engine.hardware.processor import processor_name
from logbert_engine.hardware.sources import MB, Sources
from logbert_engine.protocol.errors import StorageError
from logbert_engine.protocol.messages import Accelerator, Hardware


def probe(
    path_for_disk: Path, sources: Sources | None = None, gpus: list[GpuReading] | None = None
) -> Hardware:
    """This machine now.

    Args:
        path_for_disk: free space is told for the file system that this path is, or would be, on.
        sources: where figures come from; the system itself when not given.
        gpus: NVML's answers; asked for when not given.

    Raises:
        StorageError: the file system does not tell its free space.
    """
    asked = sources or Sources()
    memory = read_memory(asked)
    threads = usable_threads()
    return Hardware(
        host=socket.gethostname(),
        system=asked.system,
        processor=processor_name(asked),
        cores=min(psutil.cpu_count(logical=False) or threads, threads),
        threads=threads,
        memory_mb=memory.total_mb,
        memory_available_mb=memory.available_mb,
        memory_limit_mb=memory.limit_mb,
        disk_free_mb=free_disk_mb(path_for_disk),
        accelerators=accelerators(asked, memory, _ask_nvml() if gpus is None else gpus),
    )


def accelerators(sources: Sources, memory: Memory, gpus: list[GpuReading]) -> list[Accelerator]:
    """The GPUs: those that NVML answered for, then an Apple chip's."""
    return [*(cuda_gpu(reading, memory) for reading in gpus), *apple_gpus(sources, memory)]


def usable_threads() -> int:
    """Hardware threads that this process may run on (``taskset`` and SLURM lower it)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_disk_mb(path: Path) -> float:
    """Free space where the path is, or would be once it is made.

    Raises:
        StorageError: the file system does not tell.
    """
    path = path.expanduser().absolute()
    existing = next((part for part in (path, *path.parents) if part.exists()), Path("/"))
    try:
        return shutil.disk_usage(existing).free / MB
    except OSError as error:
        raise StorageError(
            f"cannot tell the free space of {existing}: {error.strerror or error}; choose another directory."
        ) from error


def _ask_nvml() -> list[GpuReading]:
    nvml = Nvml()
    try:
        return nvml.read()
    finally:
        nvml.close()
