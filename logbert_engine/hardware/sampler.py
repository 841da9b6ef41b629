"""The machine's load, once a second: processor, memory, GPUs and what a worker and its children take."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

from logbert_engine.hardware.apple import remembered_gpu
from logbert_engine.hardware.cuda import GpuReading, Nvml
from logbert_engine.hardware.memory import read_memory
from logbert_engine.hardware.probe import accelerators
from logbert_engine.hardware.sources import MB, Sources
from logbert_engine.protocol.messages import Resources


@dataclass(frozen=True)
class _Used:
    """A process's use of the processor."""

    started: float
    """Unix seconds; moves a little when the clock is set."""
    seconds: float
    rss: int

    def since(self, before: _Used | None) -> float:
        """Seconds used since an earlier look at the process with the same pid."""
        if before is None or abs(before.started - self.started) > 2.0:
            return self.seconds  # began after that look, so all of its time is new
        return self.seconds - before.seconds


class Sampler:
    """Keeps what was seen last, so that each sample tells the load since the one before.

    Call ``sample`` off the event loop (it reads /proc, a few milliseconds), from one thread at a time.
    psutil's own percentages remember the last call of each thread, which a pool of threads makes useless.
    """

    def __init__(
        self, sources: Sources | None = None, gpus: Callable[[], list[GpuReading]] | None = None
    ) -> None:
        self._sources = sources or Sources()
        self._nvml = Nvml() if gpus is None else None
        self._gpus = gpus if gpus is not None else self._nvml.read if self._nvml is not None else list
        self._apple = remembered_gpu(self._sources)
        self._times = psutil.cpu_times()
        self._worker: dict[int, _Used] = {}
        self._worker_pid: int | None = None
        self._at = time.monotonic()

    def sample(self, worker_pid: int | None) -> Resources:
        """The load now.

        Args:
            worker_pid: the worker whose processes are summed; None when no run is active.

        Returns:
            ``cpu_percent`` is of all processors, 0–100, since the last sample. ``memory_mb`` is the cgroup's
            limit where one is lower than the machine's memory. ``worker_rss_mb`` counts memory shared between
            the worker's processes once for each. ``worker_cpu_percent`` is 100 for one processor kept busy;
            None in the first sample of a worker. Both are None when the worker is gone.
        """
        memory = read_memory(self._sources)
        now, times = time.monotonic(), psutil.cpu_times()
        processes = {} if worker_pid is None else _processes(worker_pid)
        worker_percent = self._worker_percent(worker_pid, processes, now - self._at)
        resources = Resources(
            cpu_percent=busy_percent(self._times, times),
            memory_mb=memory.usable_mb,
            memory_used_mb=max(0.0, memory.usable_mb - memory.available_mb),
            worker_rss_mb=sum(used.rss for used in processes.values()) / MB if processes else None,
            worker_cpu_percent=worker_percent,
            accelerators=accelerators(self._sources, memory, self._gpus(), self._apple),
        )
        self._times, self._at = times, now
        self._worker, self._worker_pid = processes, worker_pid
        return resources

    def close(self) -> None:
        """Let go of the driver."""
        if self._nvml is not None:
            self._nvml.close()

    def _worker_percent(self, pid: int | None, processes: dict[int, _Used], seconds: float) -> float | None:
        if pid != self._worker_pid or not self._worker or not processes or seconds <= 0:
            return None
        spent = sum(used.since(self._worker.get(number)) for number, used in processes.items())
        return max(0.0, 100 * spent / seconds)


def busy_percent(before: Any, after: Any) -> float:
    """Share of the processors' time that was not idle between two ``psutil.cpu_times()``, 0–100."""

    def counted(times: Any) -> tuple[float, float]:
        # guest time is already part of user and nice
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return total, times.idle + getattr(times, "iowait", 0.0)

    (total, idle), (total_before, idle_before) = counted(after), counted(before)
    if total <= total_before:
        return 0.0
    return min(100.0, max(0.0, 100 * (1 - (idle - idle_before) / (total - total_before))))


def _processes(worker: int) -> dict[int, _Used]:
    """The worker, its descendants, and what else is in the process group that it leads.

    Ranks of torchrun are descendants in sessions of their own; helpers whose parent died stay in the group.
    """
    found: dict[int, psutil.Process] = {}
    try:
        root = psutil.Process(worker)
        found = {worker: root} | {child.pid: child for child in root.children(recursive=True)}
    except psutil.Error:
        pass  # gone, perhaps with its group still there
    for pid in psutil.pids():
        if pid not in found and _group(pid) == worker:
            try:
                found[pid] = psutil.Process(pid)
            except psutil.Error:
                continue
    used: dict[int, _Used] = {}
    for pid, process in found.items():
        try:
            with process.oneshot():
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                times = process.cpu_times()
                used[pid] = _Used(process.create_time(), times.user + times.system, process.memory_info().rss)
        except psutil.Error:
            continue  # ended meanwhile
    return used


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except (ProcessLookupError, PermissionError):
        return -1
