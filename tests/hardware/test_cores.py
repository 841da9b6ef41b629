"""The cores a run can use, from recorded answers."""

from __future__ import annotations

import pytest

from logbert_engine.hardware.cores import Cores, read_cores
from logbert_engine.hardware.sources import Sources

QUOTA_V1 = {
    "/proc/self/cgroup": "5:cpu,cpuacct:/docker/ab\n0::/\n",
    "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n",
    "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
}
CORE_ULTRA = {  # six fast cores of two threads, eight slow ones of one
    "/sys/devices/cpu_core/cpus": "0-11\n",
    "/sys/devices/cpu_atom/cpus": "12-19\n",
} | {
    f"/sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list": (
        f"{n & ~1}-{n | 1}\n" if n < 12 else f"{n}\n"
    )
    for n in range(20)
}


def cores(files: dict[str, str], threads: int = 64, physical: int | None = 32, first: int = 0) -> Cores:
    return read_cores(
        Sources(
            system="Linux",
            read_text=lambda path: files.get(str(path)),
            cpus=lambda: frozenset(range(first, first + threads)),
            physical_cores=lambda: physical,
        )
    )


def test_without_a_limit_all_count() -> None:
    found = cores({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "max 100000\n"})
    assert (found.physical, found.threads, found.limit) == (32, 64, None)


def test_the_lowest_quota_on_the_way_up_holds() -> None:
    files = {
        "/proc/self/cgroup": "0::/slurm/job_7\n",
        "/sys/fs/cgroup/slurm/job_7/cpu.max": "800000 100000\n",
        "/sys/fs/cgroup/slurm/cpu.max": "400000 100000\n",
    }
    assert (cores(files).threads, cores(files).limit) == (4, 4.0)


def test_version_1_and_a_part_of_a_processor_counts_as_one() -> None:
    found = cores(QUOTA_V1)
    assert (found.physical, found.threads, found.limit) == (2, 2, 1.5)
    assert cores(QUOTA_V1 | {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n"}).limit is None
    assert cores(QUOTA_V1 | {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "20000\n"}).threads == 1


def test_a_quota_above_the_processors_limits_nothing() -> None:
    found = cores(QUOTA_V1, threads=1)
    assert (found.threads, found.limit) == (1, None)


@pytest.mark.parametrize("content", ["", "max", "0 0", "a b\n", "100000 0"])
def test_an_odd_quota_limits_nothing(content: str) -> None:
    assert cores({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": content}).limit is None


def test_intels_kinds_are_counted_in_cores_not_threads() -> None:
    found = cores(CORE_ULTRA, threads=20, physical=14)
    assert (found.physical, found.performance, found.efficiency) == (14, 6, 8)


def test_only_the_kinds_that_may_be_used_count() -> None:
    found = cores(CORE_ULTRA, threads=8, physical=14, first=12)
    assert (found.physical, found.threads, found.performance, found.efficiency) == (8, 8, 0, 0)


def test_arm_cores_of_one_capacity_are_of_one_kind() -> None:
    files = {f"/sys/devices/system/cpu/cpu{n}/cpu_capacity": "1024\n" for n in range(4)}
    found = cores(files, threads=4, physical=4)
    assert (found.performance, found.efficiency) == (0, 0)


def test_a_system_that_counts_no_cores_has_as_many_as_threads() -> None:
    assert cores({}, threads=3, physical=None).physical == 3
