"""Row 16: a limit on memory, of addresses or of a control group, that a worker meets for real."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from logbert_engine.hardware.cgroups import groups
from logbert_engine.hardware.sources import Sources
from logbert_engine.protocol.events import BackedOff, Log, RunEnded, RunOpened
from logbert_engine.protocol.locations import socket_path
from logbert_engine.rundir.layout import RunLayout
from tests.faults.harness import Fault, command, engine, environment, eventually, losses, none_left
from tests.faults.small_runs import AGREES, to_its_end, told

pytestmark = [
    pytest.mark.row(16),
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="macOS enforces no limits on memory"),
]

Record = Callable[[str, object], None]
BATCH = 256
"""Sessions of 92 to 122 tokens; training on all of them at once takes 0.4 GB beside the 0.45 GB of a worker."""
GROUP_MB = 800
"""Enough for all processes of the engine and a run with half of the batch on the device, not with all of it."""
ADDRESSES_MB = 460
"""What a worker's address space may grow by from its first step on: not enough for the whole batch."""
FRUGAL = {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
"""Each thread, and each arena of the allocator, takes 64 MB of addresses that it does not use."""
JOIN = """
import os, sys
with open(sys.argv[1] + "/cgroup.procs", "w") as procs:
    procs.write(str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture(scope="module")
def long_sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A daily file of long sessions: what they take in training dwarfs model and optimizer."""
    folder = tmp_path_factory.mktemp("long")
    rng = random.Random(7)
    records = [
        {"session_id": i, "event_sequence": [rng.randrange(20) for _ in range(rng.randrange(90, 121))]}
        for i in range(600)
    ]
    (folder / "preprocessed_logs_2025-01-01.json").write_text(json.dumps(records))
    return folder


def words(data: Path, run: RunLayout) -> list[str | Path]:
    wide = ["--preset", "demo", "--no-progressive", "--device", "cpu", "--epochs-per-stage", "1"]
    settings = ["--set", f"training.batch={BATCH}", "--set", "training.log_every=1"]
    return ["train", "--data", data, "--run-dir", run.root, *wide, *settings]


def backed_off_and_finished(run: RunLayout, cause: str) -> list[BackedOff]:
    """Assert that each attempt but the last ended for want of memory, with half as much asked for each time."""
    found = told(run, BackedOff)
    at_once = [BATCH, *(event.micro_batch for event in found)]
    assert len(found) >= 1
    assert at_once == [BATCH >> halvings for halvings in range(len(at_once))]
    assert [event.before for event in found] == at_once[:-1]
    assert {event.cause for event in found} == {cause}
    assert all(event.message.startswith("out of host memory") for event in found)
    warned = [line.message for line in told(run, Log) if line.level == "warning"]
    assert all(any(event.message in line for line in warned) for event in found)
    assert len(told(run, RunOpened)) == len(found) + 1
    (end,) = told(run, RunEnded)
    assert (end.state, end.exit_code) == ("finished", 0)
    return found


def test_a_limit_on_addresses_makes_a_worker_back_off_by_itself(
    long_sessions: Path, real_run: RunLayout, tmp_path: Path, record_property: Record
) -> None:
    """The allocator, threads, Python and oneDNN fail in ways of their own, whoever comes first."""
    limit = Fault(
        "logbert_engine.training.stage:accumulate",
        "limit_memory",
        tmp_path / "marks",
        times=99,
        when="calls == 1",
        amount=ADDRESSES_MB,
    )
    done = to_its_end(words(long_sessions, real_run), environment(limit, **FRUGAL))
    assert done.returncode == 0, done.stderr
    found = backed_off_and_finished(real_run, "out_of_memory")
    assert len(limit.happened()) >= len(found), "an attempt that goes straight to validation takes no step"
    assert "Traceback" not in done.stderr
    none_left(real_run)
    record_property("back-offs", len(found))


@pytest.fixture
def group() -> Iterator[Path]:
    """A memory group of our own with a limit; its processes end with the test."""
    for version, above in groups(Sources(), "memory"):
        if (above / "cgroup.procs").exists() and (version == 1 or (above / "cgroup.controllers").exists()):
            folder = above / f"logbert-test-{uuid.uuid4().hex[:8]}"
            try:
                if version == 2:
                    (above / "cgroup.subtree_control").write_text("+memory")
                folder.mkdir()
                (folder / ("memory.max" if version == 2 else "memory.limit_in_bytes")).write_text(
                    str(GROUP_MB << 20)
                )
                for name in ("memory.swap.max", "memory.memsw.limit_in_bytes"):
                    if (folder / name).exists():  # so that the limit is met, not swapped away
                        (folder / name).write_text("0" if version == 2 else str(GROUP_MB << 20))
            except OSError as error:
                pytest.skip(f"needs the right to make memory groups: {error}")
            yield folder
            _remove(folder)
            return
    pytest.skip("needs control groups of memory")


def _remove(folder: Path) -> None:
    deadline = time.monotonic() + 10
    while folder.exists():  # a process that has ended leaves its group a moment later
        with suppress(OSError):
            folder.rmdir()
        assert time.monotonic() < deadline, f"cannot remove {folder}"


@pytest.fixture
def engine_in(group: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An engine in the same group, as in a container."""
    serving = subprocess.Popen(joining(group, command("serve")), start_new_session=True)
    eventually(socket_path().exists, "it serves")
    yield serving
    serving.kill()
    serving.wait()


def joining(group: Path, words: list[str]) -> list[str]:
    return [sys.executable, "-c", JOIN, str(group), *words]


def test_a_worker_that_the_kernel_kills_for_memory_is_told_as_that_and_the_engine_lives(
    long_sessions: Path,
    real_run: RunLayout,
    group: Path,
    engine_in: subprocess.Popen[bytes],
    record_property: Record,
) -> None:
    started = subprocess.run(
        joining(group, command(*words(long_sessions, real_run))),
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=90,
    )
    assert started.returncode == 0, started.stderr
    eventually(lambda: told(real_run, BackedOff), "the kernel kills the worker", 200)
    assert engine_in.poll() is None, "the engine lives"
    assert f"process {engine_in.pid}," in engine("status").stdout, "and answers"
    eventually(lambda: told(real_run, RunEnded) and not real_run.pid.exists(), "the run is over", 280)
    found = backed_off_and_finished(real_run, "killed")
    for event in found:
        assert event.message == (
            "out of host memory: the kernel killed the worker, as the memory of its control group ran out"
        )
    none_left(real_run)
    assert engine_in.poll() is None
    status = engine("status")
    assert f"process {engine_in.pid}," in status.stdout
    assert "finished" in status.stdout
    record_property("kills by the kernel", len(found))


@pytest.mark.slow
def test_the_losses_are_those_of_a_run_with_memory_enough(
    long_sessions: Path, real_run: RunLayout, group: Path, tmp_path: Path
) -> None:
    whole = RunLayout(tmp_path / "whole")
    assert to_its_end(words(long_sessions, whole)).returncode == 0
    done = subprocess.run(
        joining(group, [*command(*words(long_sessions, real_run)), "--foreground"]),
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    backed_off_and_finished(real_run, "killed")
    ours, theirs = losses(real_run), losses(whole)
    assert ours.keys() == theirs.keys()
    for step, loss in ours.items():
        assert loss == pytest.approx(theirs[step], rel=0, abs=AGREES), f"step {step}"
