"""Cores that this process may use: those that it is bound to, and no more than a cgroup gives it time for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from logbert_engine.hardware.cgroups import groups, number
from logbert_engine.hardware.processor import apple_cores
from logbert_engine.hardware.sources import Sources

_CPUS = Path("/sys/devices/system/cpu")
_HYBRID = Path("/sys/devices")
_FAST = 0.8
"""Arm kernels give each core a capacity, the fastest 1024; from this share of the highest on it is one for
performance. Cores of one kind differ by their clocks, a few percent; the kinds by a quarter and more."""


@dataclass(frozen=True)
class Cores:
    """What a process here can compute on."""

    physical: int
    threads: int
    performance: int
    """Physical cores of the fast kind; 0 where all are of one kind."""
    efficiency: int
    limit: float | None
    """Processors' worth of time that a cgroup gives, where that is less than the threads."""


def read_cores(sources: Sources) -> Cores:
    """The cores, the kinds of them, and the limits on them, now."""
    allowed = sources.cpus()
    bound = max(1, len(allowed))
    quota = _quota(sources)
    limit = quota if quota is not None and quota < bound else None
    threads = bound if limit is None else max(1, math.ceil(limit))
    physical = min(sources.physical_cores() or threads, threads)
    fast, slow = _kinds(sources, allowed)
    performance = min(fast, physical)
    return Cores(
        physical=physical,
        threads=threads,
        performance=performance,
        efficiency=min(slow, physical - performance),
        limit=limit,
    )


def _quota(sources: Sources) -> float | None:
    """The lowest quota of the groups around this process, in processors."""
    found = []
    for version, folder in groups(sources, "cpu"):
        if version == 2:
            quota, period = (*(sources.read_text(folder / "cpu.max") or "").split(), "", "")[:2]
            if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
                found.append(int(quota) / int(period))
            continue
        most = number(sources, folder / "cpu.cfs_quota_us")  # -1, which is no number here: no limit
        each = number(sources, folder / "cpu.cfs_period_us")
        if most and each:
            found.append(most / each)
    return min(found, default=None)


def _kinds(sources: Sources, allowed: frozenset[int]) -> tuple[int, int]:
    """Cores for performance and for efficiency among the processors that may be used; zeros where all are alike."""
    if sources.system == "Darwin":
        return apple_cores(sources)
    fast, slow = (
        _listed(sources.read_text(_HYBRID / kind / "cpus") or "") & allowed
        for kind in ("cpu_core", "cpu_atom")
    )
    if not (fast or slow):
        fast, slow = _by_capacity(sources, allowed)
    if not (fast and slow):
        return 0, 0
    return _physical(sources, fast), _physical(sources, slow)


def _by_capacity(sources: Sources, allowed: frozenset[int]) -> tuple[frozenset[int], frozenset[int]]:
    told = {cpu: number(sources, _CPUS / f"cpu{cpu}" / "cpu_capacity") for cpu in allowed}
    known = {cpu: capacity for cpu, capacity in told.items() if capacity is not None}
    least = _FAST * max(known.values(), default=0)
    fast = frozenset(cpu for cpu, capacity in known.items() if capacity >= least)
    return fast, frozenset(known) - fast


def _physical(sources: Sources, cpus: frozenset[int]) -> int:
    """Cores that the processors belong to: two threads of one core name the same siblings."""
    siblings = (sources.read_text(_CPUS / f"cpu{cpu}" / "topology/thread_siblings_list") for cpu in cpus)
    return len({found.strip() if found else cpu for cpu, found in zip(cpus, siblings, strict=True)})


def _listed(text: str) -> frozenset[int]:
    """Processors of a list such as ``0-15,20``."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)
