"""Samples of real processes: a worker, its children and its process group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import psutil
import pytest

from logbert_engine.hardware.cuda import GpuReading
from logbert_engine.hardware.sampler import Sampler, busy_percent
from logbert_engine.hardware.sources import HostMemory, Sources


class Times(NamedTuple):
    """As ``psutil.cpu_times()`` on Linux."""

    user: float = 0.0
    idle: float = 0.0
    iowait: float = 0.0
    guest: float = 0.0


HOLDER = "import sys; held = bytearray(b'x') * ({mb} << 20); print('ready', flush=True); sys.stdin.read()"
PARENT = """
import subprocess, sys
words = [sys.executable, "-c", {holder!r}]
child = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session={apart})
child.stdout.readline()
print(child.pid, flush=True)
{then}
"""
BURNER = "import sys; print('ready', flush=True)\nwhile True: pass"


@contextmanager
def worker(code: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A worker that leads a group of its own, and its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def seconds_used(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def parent(mb: int, *, apart: bool, then: str) -> str:
    return PARENT.format(holder=HOLDER.format(mb=mb), apart=apart, then=then)


@pytest.fixture
def sampler() -> Iterator[Sampler]:
    made = Sampler()
    yield made
    made.close()


def test_no_worker_has_no_figures(sampler: Sampler) -> None:
    sample = sampler.sample(None)
    assert (sample.worker_rss_mb, sample.worker_cpu_percent) == (None, None)
    assert 0 <= sample.cpu_percent <= 100
    assert 0 <= sample.memory_used_mb <= sample.memory_mb


@pytest.mark.parametrize("apart", [False, True])
def test_a_workers_children_count_in_whatever_session(sampler: Sampler, apart: bool) -> None:
    with worker(parent(100, apart=apart, then="sys.stdin.read()")) as (process, child):
        alone = sampler.sample(int(child)).worker_rss_mb
        both = sampler.sample(process.pid).worker_rss_mb
        assert alone is not None
        assert both is not None
        assert 100 < alone < both
        os.kill(int(child), signal.SIGKILL)


def test_a_child_whose_parent_ended_still_counts_in_the_workers_group(sampler: Sampler) -> None:
    orphaning = parent(100, apart=False, then="import os; os._exit(0)")
    code = (
        f"import subprocess, sys\nout = subprocess.run([sys.executable, '-c', {orphaning!r}], "
        "stdout=subprocess.PIPE, text=True).stdout\nprint(out.strip(), flush=True)\nsys.stdin.read()"
    )
    with worker(code) as (process, _):
        rss = sampler.sample(process.pid).worker_rss_mb
        assert rss is not None
        assert rss > 100


def test_a_busy_worker_takes_the_share_that_the_kernel_counted(sampler: Sampler) -> None:
    with worker(BURNER) as (process, line):
        assert line == "ready"
        assert sampler.sample(process.pid).worker_cpu_percent is None, "there is nothing to compare with yet"
        began, before, deadline = time.monotonic(), seconds_used(process.pid), time.monotonic() + 30
        while (spent := seconds_used(process.pid) - before) < 0.3:
            assert time.monotonic() < deadline, "the worker got no processor"
        elapsed = time.monotonic() - began
        percent = sampler.sample(process.pid).worker_cpu_percent
        assert percent == pytest.approx(100 * spent / elapsed, rel=0.25)


def test_a_worker_that_is_gone_has_no_figures(sampler: Sampler) -> None:
    with worker(HOLDER.format(mb=1)) as (process, _):
        assert sampler.sample(process.pid).worker_rss_mb is not None
        process.kill()
        process.wait()
        gone = sampler.sample(process.pid)
        assert (gone.worker_rss_mb, gone.worker_cpu_percent) == (None, None)


def test_a_worker_that_ended_and_was_not_waited_for_takes_nothing(sampler: Sampler) -> None:
    with worker("print('ready')") as (process, _):
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert sampler.sample(process.pid).worker_rss_mb is None


def test_only_the_workers_own_group_counts(sampler: Sampler) -> None:
    """A process that leads no group must not draw in the shell's other programs, such as these tests."""
    code = HOLDER.format(mb=1)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        with worker(HOLDER.format(mb=1)) as (other, _):
            mine, others = sampler.sample(process.pid).worker_rss_mb, sampler.sample(other.pid).worker_rss_mb
        assert mine is not None
        assert others is not None
        assert mine < 2 * others
    finally:
        process.kill()
        process.communicate()


def test_a_containers_limit_is_the_memory_shown() -> None:
    gigabyte = 1 << 30
    files = {
        "/proc/self/cgroup": "0::/\n",
        "/sys/fs/cgroup/memory.max": f"{4 * gigabyte}\n",
        "/sys/fs/cgroup/memory.current": f"{gigabyte}\n",
    }
    sources = Sources(
        system="Linux",
        machine="x86_64",
        read_text=lambda path: files.get(str(path)),
        memory=lambda: HostMemory(64 * gigabyte, 50 * gigabyte),
    )
    sample = Sampler(sources, lambda: [GpuReading(name="recorded", total=gigabyte)]).sample(None)
    assert (sample.memory_mb, sample.memory_used_mb) == (4096, 1024)
    assert [gpu.name for gpu in sample.accelerators] == ["recorded"]


def test_busy_is_what_was_not_idle() -> None:
    before = Times(user=100, idle=100, iowait=10, guest=50)
    after = Times(user=130, idle=160, iowait=20, guest=70)
    assert busy_percent(before, after) == pytest.approx(30)
    assert busy_percent(before, before) == 0
    assert busy_percent(after, before) == 0
