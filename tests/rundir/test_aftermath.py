"""How a run stands, and the end of workers that could not write their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from logbert_engine.protocol.errors import LogbertError, PresetError, RunError
from logbert_engine.protocol.events import RunEnded, RunOpened, StagePlan
from logbert_engine.rundir.aftermath import death_in_words, record_death, settled
from logbert_engine.rundir.condition import condition
from logbert_engine.rundir.journal import JournalWriter, read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import held

OPENS_AND_HANGS = """
import os, signal, sys
from pathlib import Path
from logbert_engine.protocol.events import RunOpened
from logbert_engine.rundir.journal import JournalWriter
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import held
run = RunLayout(Path(sys.argv[1]))
with held(run), JournalWriter(run.journal) as journal:
    journal.append(RunOpened(attempt=1, pid=os.getpid(), host="here", preset="p", device="cpu", stages=[]))
    run.pid.write_text(str(os.getpid()))
    print("opened", flush=True)
    signal.pause()
"""


def opened(attempt: int = 1) -> RunOpened:
    plan = StagePlan(index=1, name="stage_1_100pct", ratio=1.0, epochs=1)
    return RunOpened(attempt=attempt, pid=1, host="here", preset="p", device="cpu", stages=[plan])


@pytest.fixture
def run(tmp_path) -> RunLayout:
    layout = RunLayout(tmp_path / "run")
    layout.logs.mkdir(parents=True)
    layout.config.write_text("")
    return layout


@pytest.fixture
def worker(run):
    with subprocess.Popen(
        [sys.executable, "-c", OPENS_AND_HANGS, str(run.root)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"opened\n"
        yield process
        process.kill()


def journal(run, *events) -> None:
    with JournalWriter(run.journal) as writer:
        for event in events:
            writer.append(event)


def ends(run) -> list[RunEnded]:
    return [e for e in read_journal(run.journal) if isinstance(e, RunEnded)]


def where(run: RunLayout) -> str:
    return "stage_1_100pct, from its beginning"


def test_a_run_at_work_has_a_holder_and_is_not_abandoned(run, worker):
    found = condition(run)
    assert found.state.active
    assert found.holder is not None
    assert found.holder.pid == worker.pid
    assert not found.abandoned
    assert not record_death(run, exit_code=None, signal=9), "another worker is alive"
    assert ends(run) == []
    assert run.pid.exists()


def test_a_killed_worker_is_journaled_once_with_where_a_resume_picks_up(run, worker):
    worker.kill()
    worker.wait()
    assert condition(run).abandoned
    found = settled(run, where)
    assert (found.state.phase, found.holder) == ("failed", None)
    assert settled(run, where).state.phase == "failed"
    (end,) = ends(run)
    assert (end.exit_code, end.signal) == (None, None)
    assert end.resumes == where(run)
    assert not run.pid.exists()


def test_many_who_find_a_death_journal_it_once(run):
    journal(run, opened())
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(record_death(run, signal=signal.SIGKILL)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False] * 5 + [True]
    assert len(ends(run)) == 1


def test_an_end_that_the_worker_wrote_itself_stands(run):
    journal(run, opened(), RunEnded(state="paused"))
    assert not record_death(run, exit_code=0)
    assert not condition(run).abandoned
    assert [end.state for end in ends(run)] == ["paused"]


def test_a_worker_that_never_opened_the_run_is_told_after_the_end_of_the_one_before(run):
    journal(run, opened(), RunEnded(state="paused"))
    run.worker_errors.write_text("Traceback…\nImportError: no module named torch\n")
    assert record_death(run, exit_code=1, after_seq=2)
    assert not record_death(run, exit_code=1, after_seq=2)
    assert ends(run)[-1].reason == ("the worker ended with exit status 1: ImportError: no module named torch")


def test_a_first_worker_that_never_opened_the_run_is_told(run):
    assert record_death(run, exit_code=1)
    assert [end.state for end in ends(run)] == ["failed"]


def test_a_run_that_nobody_ever_worked_on_has_not_failed(run):
    assert not record_death(run)
    assert not run.journal.exists()


def test_words_of_an_earlier_attempt_are_not_taken_for_the_last_ones(run):
    run.worker_errors.write_text("an old complaint\n")
    os.utime(run.worker_errors, (1000, 1000))
    with held(run):
        journal(run, opened())
    assert record_death(run, signal=signal.SIGSEGV)
    assert (
        ends(run)[-1].reason
        == f"the supervisor was killed (signal {int(signal.SIGSEGV)}, SIGSEGV), and the worker with it"
    )


def test_a_torn_line_is_cut_before_the_end_is_written(run):
    journal(run, opened())
    with run.journal.open("ab") as file:
        file.write(b'{"kind":"metric","se')
    assert settled(run, where).state.phase == "failed"
    _, told, end = read_journal(run.journal)
    assert (told.seq, told.level, end.seq) == (2, "warning", 3)
    assert "torn" in told.message


def test_a_damaged_configuration_does_not_hide_a_death(run):
    def damaged(_: RunLayout) -> str:
        raise PresetError("run.yaml:3:1 is damaged.")

    journal(run, opened())
    assert settled(run, damaged).state.resumes == "run.yaml:3:1 is damaged."


@pytest.mark.parametrize(
    ("code", "number", "said", "words"),
    [
        (None, 9, "", "the worker was killed (signal 9, SIGKILL); if the kernel ran out of memory, "
         "this is how it ends a process"),
        (None, 250, "", "the worker was killed (signal 250)"),
        (2, None, "", "the worker ended with exit status 2"),
        (2, None, "no room", "the worker ended with exit status 2: no room"),
        (0, None, "", "the worker ended without a word"),
        (None, None, "", "the worker ended without a word: killed, out of memory, or the machine was restarted"),
        (None, None, "Killed", "the worker ended: Killed"),
    ],
)  # fmt: skip
def test_an_end_is_one_sentence(code, number, said, words):
    assert death_in_words(code, number, said) == words


def test_a_directory_without_a_run_and_an_unreadable_journal_are_named(tmp_path, run):
    with pytest.raises(RunError, match="is not a run directory"):
        condition(RunLayout(tmp_path))
    run.journal.mkdir()
    with pytest.raises(LogbertError, match="cannot read"):
        condition(run)
