"""Row 11: of two engines on one socket, or two runs on one directory, the second leaves and names the first."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from logbert_engine.protocol.events import RunOpened
from logbert_engine.protocol.locations import socket_path
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import holder
from tests.faults.harness import ended, engine, eventually, sentence, start, state_of, train_words

pytestmark = [pytest.mark.row(11), pytest.mark.timeout(1800)]

AT_ONCE = """
import sys
from logbert_engine.commands.dispatch import main
import logbert_engine.daemon.server, logbert_engine.training.prepare, logbert_engine.commands.waiting
print("ready", flush=True)
sys.stdin.readline()
sys.exit(main(sys.argv[1:]))
"""
Starts = Callable[..., list[subprocess.Popen[str]]]


@pytest.fixture
def at_once() -> Iterator[Starts]:
    """Starts commands that have imported all they need and are let go within microseconds of each other."""
    with ExitStack() as stack:

        def start_all(*commands: list[str | Path]) -> list[subprocess.Popen[str]]:
            started = [
                subprocess.Popen(
                    [sys.executable, "-c", AT_ONCE, *map(str, words)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for words in commands
            ]
            for process in started:
                stack.callback(process.communicate)
                stack.callback(process.kill)
            for process in started:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            for process in started:
                assert process.stdin is not None
                process.stdin.write("\n")
                process.stdin.flush()
            return started

        yield start_all


def race_of_engines(at_once: Starts) -> None:
    engines = at_once(["serve"], ["serve"], ["serve"])
    eventually(lambda: sum(one.poll() is None for one in engines) == 1, "all but one engine have left")
    serving = next(one for one in engines if one.poll() is None)
    for one in engines:
        if one is not serving:
            out, _ = one.communicate()
            assert one.returncode == 0
            assert out == f"an engine runs already at {socket_path()} (process {serving.pid}).\n"
    eventually(socket_path().exists, "it serves")
    status = engine("status")
    assert f"process {serving.pid}," in status.stdout
    serving.send_signal(signal.SIGKILL)  # the socket and the name in the lock stay behind
    serving.communicate()


@pytest.mark.parametrize("races", [5, pytest.param(60, marks=pytest.mark.slow)])
def test_of_engines_started_at_the_same_moment_one_serves_and_the_others_name_it(
    at_once: Starts, races: int, record_property: Callable[[str, object], None]
) -> None:
    for _ in range(races):
        race_of_engines(at_once)
    record_property("races of engines", races)


def test_an_engine_that_comes_later_names_the_one_that_serves(at_once: Starts) -> None:
    (first,) = at_once(["serve"])
    eventually(socket_path().exists, "it serves")
    second = engine("serve")
    assert second.returncode == 0
    assert f"process {first.pid}" in second.stdout
    assert first.poll() is None


def race_of_runs(at_once: Starts, sessions: Path, run: RunLayout) -> None:
    words = train_words(sessions, run.root, "--epochs-per-stage", "2000")
    both = at_once(words, words)
    said = [process.communicate(timeout=120) for process in both]
    assert sorted(process.returncode for process in both) == [0, 1], said
    lost = next(i for i, process in enumerate(both) if process.returncode)
    other = both[1 - lost].pid
    (line,) = said[lost][1].splitlines()
    at_work = holder(run)
    assert at_work is not None
    named = re.search(r"process (\d+) on ", line)
    assert named is not None, line
    assert int(named[1]) in (other, at_work.pid), "the command that was first, or the process that it started"
    assert sum(isinstance(event, RunOpened) for event in read_journal(run.journal)) == 1
    assert state_of(run).pid == at_work.pid
    assert engine("stop", run.root).returncode == 0


@pytest.mark.parametrize("races", [1, pytest.param(12, marks=pytest.mark.slow)])
def test_of_two_runs_started_at_the_same_moment_one_trains_and_the_other_names_it(
    at_once: Starts,
    sessions: Path,
    tmp_path: Path,
    races: int,
    record_property: Callable[[str, object], None],
) -> None:
    for race in range(races):
        race_of_runs(at_once, sessions, RunLayout(tmp_path / f"run{race}"))
    record_property("races of runs", races)


def test_a_second_run_a_resume_and_one_in_the_foreground_name_the_process_at_work(
    sessions: Path, real_run: RunLayout
) -> None:
    start(real_run, sessions, "--epochs-per-stage", "2000")
    at_work = holder(real_run)
    assert at_work is not None
    again = train_words(sessions, real_run.root, "--epochs-per-stage", "2000")
    for words in (again, [*again, "--foreground"], ["resume", real_run.root]):
        assert f"process {at_work.pid}" in sentence(engine(*words))
    assert holder(real_run) == at_work
    assert engine("stop", real_run.root).returncode == 0
    assert ended(real_run) is not None


def test_a_run_whose_lock_file_is_removed_while_it_trains_is_not_started_a_second_time(
    sessions: Path, real_run: RunLayout
) -> None:
    start(real_run, sessions, "--epochs-per-stage", "2000")
    at_work = holder(real_run)
    assert at_work is not None
    real_run.lock.unlink()
    assert f"process {at_work.pid}" in sentence(engine("resume", real_run.root))
    eventually(real_run.lock.exists, "the supervisor has put it back")
    assert holder(real_run) == at_work
    assert sum(isinstance(event, RunOpened) for event in read_journal(real_run.journal)) == 1
    assert engine("stop", real_run.root).returncode == 0
    assert ended(real_run) is not None


def test_of_two_that_restart_a_stage_at_once_the_loser_says_why(
    at_once: Starts, sessions: Path, real_run: RunLayout
) -> None:
    start(real_run, sessions, "--epochs-per-stage", "2000")
    both = at_once(["restart-stage", real_run.root], ["restart-stage", real_run.root])
    begin = time.monotonic()
    said = [process.communicate(timeout=120) for process in both]
    print(f"both had answered after {time.monotonic() - begin:.1f} s")
    at_work = holder(real_run)
    assert at_work is not None, (said, list(read_journal(real_run.journal))[-1])
    for process, (out, line) in zip(both, said, strict=True):
        if process.returncode == 0:
            assert f"process {at_work.pid}" in out, "who says that it did is the one that did"
        else:
            assert re.search(r"process \d+ on .* at work on", line), line
            assert "Traceback" not in line
    assert sorted(process.returncode for process in both) == [0, 1], said
    assert engine("stop", real_run.root).returncode == 0
