"""The memory a run can use, from recorded answers of real kernels."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from logbert_engine.hardware.memory import read_memory
from logbert_engine.hardware.sources import MB, HostMemory, Sources

GB = 1 << 30
UNLIMITED = "9223372036854771712\n"


def machine(files: dict[str, str], system: str = "Linux") -> Sources:
    return Sources(
        system=system,
        machine="x86_64",
        read_text=lambda path: files.get(str(path)),
        memory=lambda: HostMemory(total=64 * GB, available=50 * GB),
    )


def test_without_a_limit_it_is_the_machines() -> None:
    memory = read_memory(machine({"/proc/self/cgroup": "0::/user.slice\n"}))
    assert (memory.total_mb, memory.available_mb, memory.limit_mb) == (64 * 1024, 50 * 1024, None)
    assert memory.usable_mb == 64 * 1024


def test_version_2_the_lowest_limit_on_the_way_up_holds() -> None:
    memory = read_memory(
        machine(
            {
                "/proc/self/cgroup": "0::/slurm/job_7/step_0\n",
                "/sys/fs/cgroup/slurm/job_7/step_0/memory.max": "max\n",
                "/sys/fs/cgroup/slurm/job_7/memory.max": f"{8 * GB}\n",
                "/sys/fs/cgroup/slurm/job_7/memory.current": f"{3 * GB}\n",
                "/sys/fs/cgroup/slurm/job_7/memory.stat": f"anon {GB}\ninactive_file {2 * GB}\nslab 1\n",
                "/sys/fs/cgroup/slurm/memory.max": f"{32 * GB}\n",
                "/sys/fs/cgroup/slurm/memory.current": f"{26 * GB}\n",
            }
        )
    )
    assert memory.limit_mb == memory.usable_mb == 8 * 1024
    assert memory.available_mb == 6 * 1024, "the parent has 6 GB left, the group itself 7 with its file cache"


def test_version_1_in_a_container_finds_its_limit_at_the_root() -> None:
    memory = read_memory(
        machine(
            {
                "/proc/self/cgroup": "5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n0::/\n",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2 * GB}\n",
                "/sys/fs/cgroup/memory/memory.usage_in_bytes": f"{3 * GB // 2}\n",
                "/sys/fs/cgroup/memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {GB // 2}\n",
            }
        )
    )
    assert memory.limit_mb == 2048
    assert memory.available_mb == 1024


def test_version_1_writes_no_limit_as_a_huge_number() -> None:
    memory = read_memory(
        machine(
            {
                "/proc/self/cgroup": "4:memory:/\n",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": UNLIMITED,
                "/sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GB}\n",
            }
        )
    )
    assert (memory.limit_mb, memory.available_mb) == (None, 50 * 1024)


def test_a_group_over_its_limit_has_nothing_left() -> None:
    memory = read_memory(
        machine(
            {
                "/proc/self/cgroup": "0::/../escape\n",
                "/sys/fs/cgroup/memory.max": f"{GB}\n",
                "/sys/fs/cgroup/memory.current": f"{2 * GB}\n",
            }
        )
    )
    assert (memory.limit_mb, memory.available_mb) == (1024, 0)


@pytest.mark.parametrize("content", ["", "garbage\n", "0::\n", "a:b\n", ":::::\n"])
def test_an_odd_cgroup_file_limits_nothing(content: str) -> None:
    assert read_memory(machine({"/proc/self/cgroup": content})).limit_mb is None


def test_macos_has_no_cgroups() -> None:
    files = {
        "/proc/self/cgroup": "0::/\n",
        "/sys/fs/cgroup/memory.max": "1\n",
        "/sys/fs/cgroup/memory.current": "1\n",
    }
    assert read_memory(machine(files, "Darwin")).limit_mb is None


def test_this_machine_answers() -> None:
    memory = read_memory(Sources())
    assert memory.total_mb == psutil.virtual_memory().total / MB
    assert 0 < memory.available_mb <= memory.usable_mb <= memory.total_mb
    assert Path("/").exists()
