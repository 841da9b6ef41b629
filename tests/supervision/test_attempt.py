"""The processes of an attempt: started, signalled and ended for real, with scripts in the place of the worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from logbert_engine.protocol.errors import RunError
from logbert_engine.rundir import control
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lifeline import TO_RANKS
from logbert_engine.supervision import attempt as module
from logbert_engine.supervision.attempt import Attempt, attempt_command

DEADLINE_S = 30.0
NOTES = """
import signal, sys, time
from pathlib import Path
notes = Path(sys.argv[1])
def note(number, frame):
    with notes.open("a") as file:
        print(signal.Signals(number).name, file=file)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, note)
Path(f"{notes}.ready").touch()
while True:
    time.sleep(60)
"""
AGENT = f"""
import signal, subprocess, sys
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, signal.SIG_IGN)
started = [subprocess.Popen([sys.executable, "-c", {NOTES!r}, f"{{sys.argv[1]}}.{{n}}"],
    start_new_session=True) for n in range(2)]
signal.pause()
"""
TIED = """
import signal, sys
from pathlib import Path
from logbert_engine.rundir.lifeline import tie_to_parent
tie_to_parent()
Path(sys.argv[1] + ".ready").touch()
signal.pause()
"""
STARTS_ONE = """
import os, sys, time
from pathlib import Path
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.supervision import attempt
attempt.attempt_command = lambda run, nproc: [sys.executable, "-c", sys.argv[2], sys.argv[1]]
started = attempt.Attempt(RunLayout(Path("nowhere")), 1)
while not Path(sys.argv[1] + ".ready").exists():
    time.sleep(0.01)
print(started.pid, flush=True)
time.sleep(600)
"""
Begin = Callable[[str, int], Attempt]


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


@pytest.fixture
def run(tmp_path: Path) -> RunLayout:
    layout = RunLayout(tmp_path / "run")
    layout.root.mkdir()
    return layout


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


@pytest.fixture
def begin(run: RunLayout, notes: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """``begin(script, nproc)``; the script's argument is the path for its notes."""
    started: list[Attempt] = []

    def start(script: str, nproc: int) -> Attempt:
        command = [sys.executable, "-c", script, str(notes)]
        monkeypatch.setattr(module, "attempt_command", lambda _run, _nproc: command)
        started.append(Attempt(run, nproc))
        return started[-1]

    yield start
    for one in started:
        one.kill()


def test_one_process_is_the_worker_and_several_are_started_by_the_agent(run: RunLayout) -> None:
    assert attempt_command(run, 1)[-2:] == ["logbert_engine.training.worker", str(run.root)]
    assert attempt_command(run, 4)[-3:] == ["logbert_engine.training.elastic", str(run.root), "4"]
    for command in (attempt_command(run, 1), attempt_command(run, 4)):
        assert command[:2] == [sys.executable, "-P"], "the working directory is no place to import from"


def test_an_attempt_that_cannot_be_started_says_so_in_a_sentence(
    run: RunLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "attempt_command", lambda _run, _nproc: [str(run.root / "no such thing")])
    with pytest.raises(RunError, match=r"the worker of .* cannot be started: No such file or directory\."):
        Attempt(run, 1)


def test_its_end_is_told_as_a_status_or_a_signal(begin: Begin) -> None:
    exits = begin("raise SystemExit(7)", 1)
    eventually(lambda: exits.poll() is not None, "it ends")
    assert exits.poll() == 7
    dies = begin("import os; os.abort()", 1)
    eventually(lambda: dies.poll() is not None, "it ends")
    assert dies.poll() == -signal.SIGABRT


def test_a_signal_is_passed_on_to_the_worker_as_it_came(begin: Begin, notes: Path, run: RunLayout) -> None:
    attempt = begin(NOTES, 1)
    eventually(Path(f"{notes}.ready").exists, "it listens")
    attempt.pass_on(signal.SIGTERM)
    eventually(lambda: notes.exists() and notes.read_text() == "SIGTERM\n", "it hears the signal")
    attempt.pass_on(signal.SIGINT)
    eventually(lambda: notes.read_text() == "SIGTERM\nSIGINT\n", "it hears the other")
    assert control.pending(run) is None


def test_ranks_are_asked_by_a_signal_of_their_own_and_in_the_control_file(
    begin: Begin, notes: Path, run: RunLayout
) -> None:
    """SIGTERM to torchrun would end them in the middle of a save."""
    attempt = begin(AGENT, 2)
    both = [Path(f"{notes}.{rank}") for rank in range(2)]
    eventually(lambda: all(Path(f"{one}.ready").exists() for one in both), "both ranks listen")
    attempt.pass_on(signal.SIGTERM)
    wanted = f"{signal.Signals(TO_RANKS).name}\n"
    eventually(lambda: all(one.exists() and one.read_text() == wanted for one in both), "both hear it")
    assert control.pending(run) == "stop", "a rank that was only starting hears no signal"
    assert attempt.poll() is None, "the agent goes on"


def test_a_signal_to_an_attempt_that_has_just_ended_is_no_error(begin: Begin) -> None:
    attempt = begin("", 1)
    os.waitid(os.P_PID, attempt.pid, os.WEXITED | os.WNOWAIT)
    attempt.pass_on(signal.SIGTERM)
    eventually(lambda: attempt.poll() is not None, "its end is seen")
    attempt.pass_on(signal.SIGTERM)
    assert attempt.kill() == 0


@pytest.mark.parametrize("stopped", [False, True])
def test_killing_ends_the_agent_and_its_ranks_stopped_ones_too(
    begin: Begin, notes: Path, stopped: bool
) -> None:
    attempt = begin(AGENT, 2)
    both = [Path(f"{notes}.{rank}.ready") for rank in range(2)]
    eventually(lambda: all(one.exists() for one in both), "both ranks are there")
    ranks = psutil.Process(attempt.pid).children(recursive=True)
    assert len(ranks) == 2
    if stopped:
        for process in (*ranks, psutil.Process(attempt.pid)):
            process.suspend()
    assert attempt.kill() == -signal.SIGKILL
    assert attempt.poll() == -signal.SIGKILL
    assert not any(rank.is_running() and rank.status() != psutil.STATUS_ZOMBIE for rank in ranks)


def test_a_process_of_an_attempt_ends_when_the_one_that_made_it_is_killed(tmp_path: Path) -> None:
    maker = subprocess.Popen(
        [sys.executable, "-c", STARTS_ONE, str(tmp_path / "tied"), TIED], stdout=subprocess.PIPE, text=True
    )
    with maker:
        assert maker.stdout is not None
        tied = psutil.Process(int(maker.stdout.readline()))
        maker.kill()
    eventually(lambda: not tied.is_running() or tied.status() == psutil.STATUS_ZOMBIE, "it is gone")
