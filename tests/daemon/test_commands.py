"""The commands that steer runs, without an engine: directly on the run directory, in processes of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from logbert_engine.commands import patience
from logbert_engine.commands.dispatch import main
from logbert_engine.presets.merging import resolve
from logbert_engine.presets.runfile import write_config
from logbert_engine.protocol.events import Metric, RunEnded
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.protocol.runstate import RunState
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.lock import holder
from logbert_engine.supervision import launch as launching
from logbert_engine.supervision.launch import launch

SMALL = """
import sys
from logbert_engine.supervision import launch
launch.supervisor_command = lambda run, restart_stage=False: [
    sys.executable, sys.argv[1], str(run.root), *sys.argv[2].split(), *(["--restart-stage"] if restart_stage else [])
]
from logbert_engine.commands import main
sys.exit(main(sys.argv[3:]))
"""
"""The command line with the small worker in place of the one that trains."""


def command(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "logbert_engine", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


def state_of(run) -> RunState:
    state = RunState()
    for event in read_journal(run.journal):
        state.apply(event)
    return state


@pytest.fixture
def small_command(run, workers, wait_until):
    """Runs a command whose workers are small; they are ended with the test."""
    script = Path(__file__).with_name("small_worker.py")

    def run_it(options: str, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", SMALL, str(script), options, *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
        )

    yield run_it
    left = holder(run)
    if left is not None:
        os.kill(left.pid, 9)
        wait_until(lambda: holder(run) is None)


@pytest.fixture
def training(run, workers, wait_until):
    """A worker at work."""
    worker = workers.start(run, "--steps", "4000")
    wait_until(lambda: any(isinstance(e, Metric) for e in read_journal(run.journal)))
    return worker


@pytest.mark.parametrize(("word", "phase"), [("pause", "paused"), ("stop", "stopped")])
def test_a_run_is_paused_or_stopped_when_the_command_returns(run, training, word, phase):
    done = command(word, run.root)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{run.root} is {phase}; resume picks up at where it was left\n"
    assert holder(run) is None
    assert state_of(run).phase == phase
    assert not run.control.exists()


@pytest.mark.parametrize("word", ["pause", "stop"])
def test_a_run_without_a_worker_is_not_paused(run, word):
    done = command(word, run.root)
    assert done.returncode == 1
    assert done.stderr == f"logbert-engine: no worker is at work on {run.root}: the run is new.\n"


@pytest.fixture
def impatient(monkeypatch):
    """Commands of this process look more closely after a moment of silence."""
    monkeypatch.setattr(patience, "SILENT_S", 0.3)
    monkeypatch.setattr(patience, "_LONGEST_START_S", 0.0)


@pytest.mark.parametrize("word", ["pause", "stop", "restart-stage"])
def test_a_supervisor_that_was_stopped_is_named_with_the_way_to_end_it(
    run, training, word, impatient, capsys
):
    training.send_signal(signal.SIGSTOP)
    assert main([word, str(run.root)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"process {training.pid} on " in line
    assert (
        f"at work on {run.root}, does not answer: it was stopped (SIGSTOP; `kill -CONT {training.pid}`"
        in line
    )
    assert f"End it with `kill -9 {training.pid}`; the state that was saved last stays" in line
    training.kill()
    training.wait()
    assert state_of(run).ended is None


def test_resume_does_not_wait_for_ever_for_one_that_has_ended_its_run_and_does_not_leave(
    run, workers, impatient, wait_until, capsys
):
    worker = workers.start(run, "--steps", "3", "--leaves-slowly", "600")
    wait_until(lambda: run.journal.exists() and state_of(run).ended is not None)
    assert main(["resume", str(run.root)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"process {worker.pid} on " in line
    assert "it has said how the run ended, and does not leave. End it with" in line


def test_resume_does_not_wait_for_ever_for_one_that_was_stopped_before_it_began(
    run, small_command, impatient, monkeypatch, capsys, wait_until
):
    stops = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    monkeypatch.setattr(launching, "supervisor_command", lambda run, **_: [sys.executable, "-c", stops])
    assert main(["resume", str(run.root)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    found = re.search(r"was stopped .* End it with `kill -9 (\d+)`", line)
    assert found is not None, line
    os.kill(int(found[1]), signal.SIGKILL)
    os.waitpid(int(found[1]), 0)


def test_one_that_hangs_is_given_up_when_it_would_have_ended_a_worker_that_hangs(
    run, workers, impatient, wait_until, capsys
):
    soon = RunSpec(data=".", run_dir=str(run.root), preset="test", overrides=["workers.hang_minutes=0.01"])
    write_config(run, resolve(soon))
    worker = workers.start(run, "--pace", "600")
    wait_until(lambda: run.journal.exists() and any(isinstance(e, Metric) for e in read_journal(run.journal)))
    assert main(["pause", str(run.root)]) == 1
    assert re.search(rf"process {worker.pid} on .* no sign of life for \d+ s\. End", capsys.readouterr().err)


def test_one_that_is_slow_is_waited_for(run, workers, impatient, wait_until, capsys):
    workers.start(run, "--pace", "2")
    wait_until(lambda: run.journal.exists() and any(isinstance(e, Metric) for e in read_journal(run.journal)))
    assert main(["pause", str(run.root)]) == 0
    assert capsys.readouterr().out.startswith(f"{run.root} is paused")


def test_a_directory_without_a_run_is_named(tmp_path):
    for word in ("pause", "resume", "restart-stage", "stop"):
        done = command(word, tmp_path / "nothing")
        assert done.returncode == 1
        assert "is not a run directory" in done.stderr
        assert done.stderr.count("\n") == 1


def test_resume_returns_when_the_run_is_open_and_the_worker_goes_on(run, small_command, wait_until):
    done = small_command("--steps 30", "resume", run.root)
    assert (done.returncode, done.stderr) == (0, "")
    pid = state_of(run).pid
    assert done.stdout == f"{run.root} goes on in process {pid}: stage_1_50pct, from its beginning\n"
    wait_until(lambda: state_of(run).phase == "finished")
    again = small_command("", "resume", run.root)
    assert again.returncode == 1
    assert "is finished" in again.stderr


def test_resume_names_the_process_that_is_at_work(run, training, small_command):
    done = small_command("", "resume", run.root)
    assert done.returncode == 1
    assert f"process {training.pid} is at work" in done.stderr


def test_resume_says_why_a_worker_ended_before_it_opened_the_run(run, small_command):
    done = small_command("--fail-before-opening", "resume", run.root)
    assert done.returncode == 1
    assert done.stderr == (
        "logbert-engine: the worker ended with exit status 3: the model does not fit on the device\n"
    )
    *_, last = read_journal(run.journal)
    assert isinstance(last, RunEnded)


def test_resume_says_why_the_supervisor_could_not_begin(run):
    many = RunSpec(data=str(run.root), run_dir=str(run.root), preset="test", nproc=999)
    write_config(run, resolve(many))
    done = command("resume", run.root)
    assert done.returncode == 1
    reason = "999 processes are more than this machine has use for; give --nproc a number up to "
    assert done.stderr.startswith(f"logbert-engine: {reason}")
    assert done.stderr.count("\n") == 1
    (end,) = (event for event in read_journal(run.journal) if isinstance(event, RunEnded))
    assert (end.state, end.exit_code) == ("failed", 1)
    assert end.reason.startswith(reason)
    assert end.resumes == "stage_1_100pct, from its beginning"
    assert not run.pid.exists()


def test_what_the_supervisor_cannot_journal_reaches_its_standard_error(run, wait_until):
    run.journal.mkdir()
    supervisor = launch(run)
    assert supervisor.wait(30) == 1
    assert run.worker_errors.read_text() == f"cannot write {run.journal}: Is a directory.\n"


def test_restart_stage_ends_the_worker_first(run, training, small_command):
    done = small_command("--steps 4000", "restart-stage", run.root)
    assert (done.returncode, done.stderr) == (0, "")
    training.wait()
    state = state_of(run)
    assert state.attempt == 2
    assert state.pid != training.pid
    assert "goes on in process" in done.stdout


def test_status_tells_what_trains_and_finds_out_what_died(run, training):
    lines = command("status").stdout.splitlines()
    assert lines[0].startswith("engine: not running")
    assert lines[1].startswith(f"{run.root}: training, stage 1/2, step ")
    assert "100 sessions/s" in lines[1]
    training.kill()
    training.wait()
    found = json.loads(command("status", "--json").stdout)
    assert found["engine"] is None
    (status,) = found["runs"]
    assert status["phase"] == "failed"
    assert status["sessions_per_s"] is None
    assert status["worker_pid"] is None
    assert status["reason"].startswith("the worker ended without a word: killed")


def test_status_and_stop_name_an_engine_that_does_not_answer(engine_process, wait_until, monkeypatch, capsys):
    monkeypatch.setattr("logbert_engine.protocol.client.HELLO_DEADLINE_S", 0.2)
    one = engine_process()
    wait_until(one.socket.exists)
    one.process.send_signal(signal.SIGSTOP)
    sentence = (
        f"logbert-engine: the engine at {one.socket}, process {one.process.pid}, does not answer: "
        f"it hangs or was stopped; end it with `kill -9 {one.process.pid}` (training goes on) and try again.\n"
    )
    assert main(["status"]) == 0
    said = capsys.readouterr()
    assert said.out == f"engine: process {one.process.pid} does not answer at {one.socket}\n"
    assert said.err == sentence
    main(["status", "--json"])
    found = json.loads(capsys.readouterr().out)["engine"]
    assert (found["pid"], found["answers"]) == (one.process.pid, False)
    assert main(["stop"]) == 1
    assert capsys.readouterr().err == sentence


def test_status_and_stop_speak_with_the_engine(engine_process, wait_until):
    one = engine_process()
    wait_until(one.socket.exists)
    status = json.loads(command("status", "--json").stdout)
    assert status["engine"]["pid"] == one.process.pid
    assert status["engine"]["answers"] is True
    done = command("stop")
    assert (done.returncode, done.stdout) == (
        0,
        f"engine {one.process.pid} has stopped; training goes on\n",
    )
    assert one.process.wait(10) == 0
    again = command("stop")
    assert again.returncode == 1
    assert "no engine answers" in again.stderr
