"""Signals reach a worker as people send them: by the pid file, and by a terminal that goes away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from logbert_engine.protocol.events import Metric, RunEnded
from logbert_engine.rundir.journal import last_event, read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import holder

DEADLINE_S = 60.0


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def engine(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "logbert_engine", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


def trains(run: RunLayout) -> bool:
    return sum(isinstance(event, Metric) for event in read_journal(run.journal)) > 2


@pytest.fixture
def run(shared_data: Path, tmp_path: Path) -> Iterator[RunLayout]:
    """A run that trains in the background for as long as the test needs it."""
    layout = RunLayout(tmp_path / "run")
    words = ["train", "--data", shared_data / "tiny", "--run-dir", layout.root, "--preset", "demo"]
    started = engine(*words, "--epochs-per-stage", "500")
    assert started.returncode == 0, started.stderr
    eventually(lambda: trains(layout), "it trains")
    yield layout
    if holder(layout) is not None:
        engine("stop", layout.root)


@pytest.mark.shared
def test_kill_with_the_pid_file_saves_the_exact_state_and_ends_the_run(run: RunLayout) -> None:
    os.kill(int(run.pid.read_text()), signal.SIGTERM)
    eventually(lambda: holder(run) is None, "the worker has ended")
    ended = last_event(run.journal)
    assert isinstance(ended, RunEnded)
    assert (ended.state, ended.exit_code) == ("stopped", 0)
    assert run.stages()[0].resume.exists()
    assert not run.pid.exists()
    assert not run.worker_errors.exists(), "nothing was said on standard error"


@pytest.mark.shared
def test_a_hang_up_stops_nothing(run: RunLayout) -> None:
    seq = getattr(last_event(run.journal), "seq", 0)
    os.kill(int(run.pid.read_text()), signal.SIGHUP)
    eventually(lambda: getattr(last_event(run.journal), "seq", 0) > seq + 2, "training goes on")
    assert holder(run) is not None
