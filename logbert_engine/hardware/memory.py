"""Memory that a run can use: the machine's, or a cgroup's limit (containers, SLURM, systemd) below that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from logbert_engine.hardware.sources import MB, Sources

_CGROUPS = Path("/sys/fs/cgroup")


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
    if sources.system != "Linux":
        return
    own = sources.read_text(Path("/proc/self/cgroup")) or ""
    for line in own.splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "":
            root, limit, used, cache = _CGROUPS, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, limit, used = _CGROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache = "total_inactive_file"
        else:
            continue
        for folder in _upwards(root, path):
            most, now = _number(sources, folder / limit), _number(sources, folder / used)
            if most is not None and now is not None:
                yield _Group(most, max(0, now - _statistic(sources, folder / "memory.stat", cache)))


def _upwards(root: Path, path: str) -> Iterator[Path]:
    """From a group up to the root.

    Inside a container the path may be the host's: it is then not found here, and the root is our own group.
    """
    inner = PurePosixPath(path.lstrip("/"))
    for part in (inner, *inner.parents):
        if ".." not in part.parts:
            yield root / part


def _number(sources: Sources, path: Path) -> int | None:
    text = (sources.read_text(path) or "").strip()
    return int(text) if text.isdecimal() else None  # "max" is no limit


def _statistic(sources: Sources, path: Path, name: str) -> int:
    for line in (sources.read_text(path) or "").splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdecimal():
            return int(value)
    return 0
