"""What this machine has: processor, memory, disk, accelerators. Found without torch, in milliseconds."""

from __future__ import annotations

from pathlib import Path

from logbert_engine.hardware.apple import apple_gpus, remembered_gpu
from logbert_engine.hardware.cores import read_cores
from logbert_engine.hardware.cuda import GpuReading, Nvml, cuda_gpu
from logbert_engine.hardware.disk import free_disk_mb
from logbert_engine.hardware.memory import Memory, read_memory
from logbert_engine.hardware.processor import processor_name
from logbert_engine.hardware.sources import Sources
from logbert_engine.hardware.torch_answer import TorchDevice
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
    cores = read_cores(asked)
    return Hardware(
        host=asked.host(),
        system=asked.system,
        processor=processor_name(asked),
        cores=cores.physical,
        threads=cores.threads,
        performance_cores=cores.performance,
        efficiency_cores=cores.efficiency,
        cpu_limit=cores.limit,
        memory_mb=memory.total_mb,
        memory_available_mb=memory.available_mb,
        memory_limit_mb=memory.limit_mb,
        disk_free_mb=free_disk_mb(path_for_disk, asked),
        accelerators=accelerators(
            asked, memory, _ask_nvml() if gpus is None else gpus, remembered_gpu(asked)
        ),
    )


def accelerators(
    sources: Sources, memory: Memory, gpus: list[GpuReading], apple: TorchDevice | None = None
) -> list[Accelerator]:
    """The GPUs: those that NVML answered for, then an Apple chip's, as torch told it where it was asked."""
    return [*(cuda_gpu(reading, memory) for reading in gpus), *apple_gpus(sources, memory, apple)]


def _ask_nvml() -> list[GpuReading]:
    nvml = Nvml()
    try:
        return nvml.read()
    finally:
        nvml.close()
