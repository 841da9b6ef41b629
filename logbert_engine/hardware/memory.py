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


def memory_groups(sources: Sources) -> Iterator[tuple[int, Path]]:
    """Folders that the memory groups around this process may have, the innermost first.

    Returns:
        The version of the group (1 or 2) and its folder, which need not be there: see ``_upwards``.
    """
    if sources.system != "Linux":
        return
    own = sources.read_text(Path("/proc/self/cgroup")) or ""
    for line in own.splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "":
            yield from ((2, folder) for folder in _upwards(_CGROUPS, path))
        elif "memory" in controllers.split(","):
            yield from ((1, folder) for folder in _upwards(_CGROUPS / "memory", path))


def _groups(sources: Sources) -> Iterator[_Group]:
    """The limited groups around this process, the innermost first; each one's limit holds."""
    for version, folder in memory_groups(sources):
        if version == 2:
            limit, used, cache = "memory.max", "memory.current", "inactive_file"
        else:
            limit, used, cache = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        most, now = number(sources, folder / limit), number(sources, folder / used)
        if most is not None and now is not None:
            yield _Group(most, max(0, now - (statistic(sources, folder / "memory.stat", cache) or 0)))


def _upwards(root: Path, path: str) -> Iterator[Path]:
    """From a group up to the root.

    Inside a container the path may be the host's: it is then not found here, and the root is our own group.
    """
    inner = PurePosixPath(path.lstrip("/"))
    for part in (inner, *inner.parents):
        if ".." not in part.parts:
            yield root / part


def number(sources: Sources, path: Path) -> int | None:
    """The number that a file holds; None where it is not there or says ``max``, which is no limit."""
    text = (sources.read_text(path) or "").strip()
    return int(text) if text.isdecimal() else None


def statistic(sources: Sources, path: Path, name: str) -> int | None:
    """A number of a file of lines ``name number``; None where the file or the name is not there."""
    for line in (sources.read_text(path) or "").splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdecimal():
            return int(value)
    return None
