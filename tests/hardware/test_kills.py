"""Whether the kernel killed a process for want of memory: a real kill in a real group, then recorded counters."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from logbert_engine.hardware.cgroups import groups
from logbert_engine.hardware.kills import KillCounters
from logbert_engine.hardware.sources import Sources

ROOT = Path(__file__).parents[2]
LIMIT_MB = 96

WATCHER = """
import os, signal, subprocess, sys
from pathlib import Path
Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
from logbert_engine.hardware.kills import KillCounters
before = KillCounters.now()
if sys.argv[2] != "own":  # the victim is in another group than this process
    join = f"open({sys.argv[2] + '/cgroup.procs'!r}, 'w').write(str(__import__('os').getpid()));"
else:
    join = ""
if sys.argv[3] == "memory":
    victim = subprocess.Popen([sys.executable, "-c", join + "a = [bytearray(1 << 20) for _ in range(1 << 20)]"])
else:
    victim = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    victim.kill()
assert victim.wait(60) == -signal.SIGKILL
print(KillCounters.now().since(before))
"""


def make_group(folder: Path, version: int, limit_mb: int | None) -> None:
    try:
        if version == 2:
            (folder.parent / "cgroup.subtree_control").write_text("+memory")
        folder.mkdir()
        if limit_mb is not None:
            limit = folder / ("memory.max" if version == 2 else "memory.limit_in_bytes")
            limit.write_text(str(limit_mb << 20))
            for name in ("memory.swap.max", "memory.memsw.limit_in_bytes"):
                if (folder / name).exists():  # so that the limit is met, not swapped away
                    (folder / name).write_text("0" if version == 2 else str(limit_mb << 20))
    except OSError as error:
        pytest.skip(f"needs the right to make memory groups: {error}")


def remove_group(folder: Path) -> None:
    deadline = time.monotonic() + 10
    for inner in [f for f in folder.iterdir() if f.is_dir()]:
        remove_group(inner)
    while folder.exists():  # a process that has ended leaves its group a moment later
        with suppress(OSError):
            folder.rmdir()
        assert time.monotonic() < deadline, f"cannot remove {folder}"


@pytest.fixture
def limited() -> Iterator[tuple[Path, int]]:
    """A memory group of our own with a limit, and its version; its processes end with the test."""
    for version, above in groups(Sources(), "memory"):
        if (above / "cgroup.procs").exists() and (version == 1 or (above / "cgroup.controllers").exists()):
            folder = above / f"logbert-test-{uuid.uuid4().hex[:8]}"
            make_group(folder, version, LIMIT_MB)
            yield folder, version
            remove_group(folder)
            return
    pytest.skip("needs control groups of memory")


def verdict(group: Path, kill: str, victims_group: str = "own") -> str:
    command = [sys.executable, "-c", WATCHER, str(group), victims_group, kill]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, cwd=ROOT)
    return done.stdout.strip()


def test_a_process_killed_at_its_groups_limit_is_told(limited: tuple[Path, int]) -> None:
    assert verdict(limited[0], "memory") == "cgroup"


def test_a_process_killed_at_the_limit_of_the_group_around_it_is_told(limited: tuple[Path, int]) -> None:
    folder, version = limited
    inner = folder / "inner"
    make_group(inner, version, None)
    assert verdict(inner, "memory") == "cgroup"


def test_a_process_killed_by_hand_was_not_killed_for_memory(limited: tuple[Path, int]) -> None:
    assert verdict(limited[0], "hand") == "None"


def test_a_process_of_another_group_killed_for_memory_is_not_ours(limited: tuple[Path, int]) -> None:
    folder, version = limited
    ours, others = folder / "ours", folder / "others"
    for inner in (ours, others):
        make_group(inner, version, None)
    assert verdict(ours, "memory", victims_group=str(others)) == "None"


def machine(files: dict[str, str], system: str = "Linux") -> Sources:
    return Sources(system=system, read_text=lambda path: files.get(str(path)))


def events(oom: int, oom_kill: int) -> str:
    return f"low 0\nhigh 0\nmax 3\noom {oom}\noom_kill {oom_kill}\noom_group_kill 0\n"


def vmstat(kills: int) -> str:
    return f"nr_free_pages 5\npgfault 7\noom_kill {kills}\ndrop_pagecache 0\n"


VERSION_2 = {"/proc/self/cgroup": "0::/job/step\n"}
STEP, JOB = "/sys/fs/cgroup/job/step/memory.events", "/sys/fs/cgroup/job/memory.events"
VMSTAT = "/proc/vmstat"


@pytest.mark.parametrize(
    ("after", "cause"),
    [
        ({STEP: events(0, 0), JOB: events(0, 0), VMSTAT: vmstat(4)}, None),
        ({STEP: events(1, 1), JOB: events(1, 1), VMSTAT: vmstat(5)}, "cgroup"),
        ({STEP: events(0, 1), JOB: events(1, 1), VMSTAT: vmstat(5)}, "cgroup"),
        ({STEP: events(0, 1), JOB: events(0, 1), VMSTAT: vmstat(5)}, "machine"),
        ({STEP: events(0, 0), JOB: events(1, 1), VMSTAT: vmstat(5)}, None),
        ({STEP: events(1, 0), JOB: events(1, 0), VMSTAT: vmstat(4)}, None),
        ({STEP: events(0, 0), JOB: events(0, 0), VMSTAT: vmstat(5)}, None),
    ],
    ids=[
        "nothing happened",
        "at the own limit",
        "at the limit around it",
        "the machine's memory ran out",
        "another step of the job was killed",
        "the limit was met and nothing had to be killed",
        "a process elsewhere was killed",
    ],
)
def test_version_2(after: dict[str, str], cause: str | None) -> None:
    before = VERSION_2 | {STEP: events(0, 0), JOB: events(0, 0), VMSTAT: vmstat(4)}
    assert KillCounters.now(machine(VERSION_2 | after)).since(KillCounters.now(machine(before))) == cause


def test_version_1_in_a_container_reads_the_group_at_the_root() -> None:
    def files(kills: int, failures: int, most: int = 0) -> dict[str, str]:
        return {
            "/proc/self/cgroup": "5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n0::/\n",
            "/sys/fs/cgroup/memory/memory.oom_control": (
                f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n"
            ),
            "/sys/fs/cgroup/memory/memory.failcnt": f"{failures}\n",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2 << 30}\n",
            "/sys/fs/cgroup/memory/memory.max_usage_in_bytes": f"{most}\n",
            VMSTAT: vmstat(9),
        }

    before = KillCounters.now(machine(files(2, 100)))
    assert KillCounters.now(machine(files(3, 160))).since(before) == "cgroup"
    assert KillCounters.now(machine(files(3, 100))).since(before) == "machine"
    assert KillCounters.now(machine(files(3, 100, 2 << 30))).since(before) == "cgroup"
    assert KillCounters.now(machine(files(2, 160))).since(before) is None


@pytest.mark.parametrize("groups", ["", "garbage\n", "0::/\n", "4:memory:/old\n"])
def test_where_groups_count_nothing_the_machines_count_answers(groups: str) -> None:
    # the root of version 2 has no events; kernels before 4.13 count no kills of version 1
    files = {"/proc/self/cgroup": groups, "/sys/fs/cgroup/memory/memory.oom_control": "under_oom 0\n"}
    before = KillCounters.now(machine(files | {VMSTAT: vmstat(1)}))
    assert KillCounters.now(machine(files | {VMSTAT: vmstat(2)})).since(before) == "machine"
    assert KillCounters.now(machine(files | {VMSTAT: vmstat(1)})).since(before) is None


def test_a_kernel_that_counts_nothing_tells_nothing() -> None:
    nothing = KillCounters.now(machine({}))
    assert nothing == KillCounters(group=None, limits_met=0, at_limit=False, machine=None)
    assert KillCounters.now(machine({VMSTAT: vmstat(2)})).since(nothing) is None


def test_macos_does_not_tell() -> None:
    files = VERSION_2 | {STEP: events(1, 1), VMSTAT: vmstat(5)}
    found = KillCounters.now(machine(files, "Darwin"))
    assert found.since(KillCounters(group=0, limits_met=0, at_limit=False, machine=0)) is None


def test_this_machine_answers() -> None:
    found = KillCounters.now()
    assert found.since(found) is None
    if Sources().system == "Linux":
        assert found.machine is not None or found.group is not None
