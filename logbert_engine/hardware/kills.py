"""Whether the kernel killed a process for want of memory. A process that died of SIGKILL cannot say so itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from logbert_engine.hardware.cgroups import groups, number, statistic
from logbert_engine.hardware.sources import Sources

Cause = Literal["cgroup", "machine"]
"""Whose memory ran out: a limit on the group that the process was in, or the machine's own."""

_VMSTAT = Path("/proc/vmstat")
_CHARGE = 1 << 20
"""Bytes below a limit at which a charge can fail: the kernel charges some pages at a time."""


@dataclass(frozen=True)
class KillCounters:
    """What the kernel had counted at one instant. Each is None where this system does not count it."""

    group: int | None
    """Processes of this process's own memory group killed for want of memory, whosever memory it was."""
    limits_met: int
    """Times that this group or one around it met its limit."""
    at_limit: bool
    """Whether one of them (version 1) ever used all that it may: some kernels, 6.18 among them, do not count
    how often that happened."""
    machine: int | None
    """Processes killed for want of memory on the whole machine, in containers too."""

    @classmethod
    def now(cls, sources: Sources | None = None) -> KillCounters:
        """Read the counters. Take one before a process starts, and another after its death."""
        sources = sources or Sources()
        group: int | None = None
        limits_met, at_limit = 0, False
        for version, folder in groups(sources, "memory"):
            counts = folder / ("memory.events" if version == 2 else "memory.oom_control")
            if group is None:  # only the innermost: those around it count their other members' deaths too
                group = statistic(sources, counts, "oom_kill")
            if version == 2:
                limits_met += statistic(sources, counts, "oom") or 0
                continue
            for prefix in ("memory", "memory.memsw"):
                limits_met += number(sources, folder / f"{prefix}.failcnt") or 0
                limit = number(sources, folder / f"{prefix}.limit_in_bytes")
                most = number(sources, folder / f"{prefix}.max_usage_in_bytes")
                at_limit |= limit is not None and most is not None and most > limit - _CHARGE
        machine = statistic(sources, _VMSTAT, "oom_kill") if sources.system == "Linux" else None
        return cls(group=group, limits_met=limits_met, at_limit=at_limit, machine=machine)

    def since(self, before: KillCounters) -> Cause | None:
        """Whether the kernel killed a process of this group since an earlier look, and why.

        The kernel counts before it kills, so a look after the death of a process never comes too early. Where
        the group's kills are not counted (no cgroups), any kill on the machine answers: then ask only about a
        process that died of SIGKILL.

        Returns:
            ``cgroup`` when a limit on the group or around it was met as well; ``machine`` otherwise, which
            includes a limit that is not visible from inside a container. None when nothing was killed, and
            on macOS, which does not tell.
        """
        if self.group is not None and before.group is not None:
            if self.group <= before.group:
                return None
            limited = self.at_limit or self.limits_met > before.limits_met
            return "cgroup" if limited else "machine"
        if self.machine is not None and before.machine is not None and self.machine > before.machine:
            return "machine"
        return None
