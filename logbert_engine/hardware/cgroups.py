"""Control groups (containers, SLURM, systemd) around this process, and the figures in their files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from logbert_engine.hardware.sources import Sources

_CGROUPS = Path("/sys/fs/cgroup")


def groups(sources: Sources, controller: str) -> Iterator[tuple[int, Path]]:
    """Folders that the groups around this process may have, the innermost first.

    Args:
        controller: ``memory`` or ``cpu``.

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
        elif controller in controllers.split(","):
            yield from ((1, folder) for folder in _upwards(_CGROUPS / controller, path))


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
