"""Memory that a run can use: the machine's, or a cgroup's limit (containers, SLURM, systemd) below that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from logbert_engine.hardware.cgroups import groups, number, statistic
from logbert_engine.hardware.sources import MB, Sources


@dataclass(frozen=True)
class Memory:
    """Megabytes."""

    total_mb: float
    """Of the machine."""
    available_mb: float
    """What can be taken now, within the limit."""
    limit_mb: float | None
    """A cgroup's, where it is lower than ``total_mb``."""

    @property
    def usable_mb(self) -> float:
        """The lower of the machine's memory and the limit."""
        return self.limit_mb if self.limit_mb is not None else self.total_mb


@dataclass(frozen=True)
class _Group:
    """Bytes."""

    limit: int
    used: int
    """Without the file cache that the kernel gives back when memory is asked for."""


def read_memory(sources: Sources) -> Memory:
    """The machine's memory and the limits on it, now."""
    host = sources.memory()
    available, lowest = host.available, host.total
    for group in _groups(sources):
        if group.limit < host.total:  # "no limit" is a number near 2**63 in version 1
            lowest = min(lowest, group.limit)
            available = min(available, max(0, group.limit - group.used))
    return Memory(
        total_mb=host.total / MB,
        available_mb=available / MB,
        limit_mb=lowest / MB if lowest < host.total else None,
    )


def _groups(sources: Sources) -> Iterator[_Group]:
    """The limited groups around this process, the innermost first; each one's limit holds."""
    for version, folder in groups(sources, "memory"):
        if version == 2:
            limit, used, cache = "memory.max", "memory.current", "inactive_file"
        else:
            limit, used, cache = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        most, now = number(sources, folder / limit), number(sources, folder / used)
        if most is not None and now is not None:
            yield _Group(most, max(0, now - (statistic(sources, folder / "memory.stat", cache) or 0)))
