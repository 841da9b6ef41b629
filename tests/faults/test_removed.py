"""What is removed by hand while a run is at work is noticed, and never passes for finished."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from logbert_engine.protocol.events import StageStarted
from logbert_engine.rundir.layout import RunLayout
from tests.faults.harness import (
    Fault,
    ended,
    engine,
    environment,
    eventually,
    none_left,
    processes_of,
    sentence,
    start,
    train_words,
)
from tests.faults.small_runs import told


def test_a_stage_that_is_removed_while_a_later_one_is_trained_is_missed_at_the_end(
    sessions: Path, real_run: RunLayout, tmp_path: Path
) -> None:
    """The worker stops before it completes the second stage, until the first one is gone."""
    stops = Fault(
        at="logbert_engine.training.completion:end_stage",
        does="signal",
        signal="SIGSTOP",
        call=2,
        marks=tmp_path / "marks",
    )
    start(real_run, sessions, "--max-ratio", "0.67", env=environment(stops))
    eventually(stops.happened, "it is about to complete the second stage")
    shutil.rmtree(real_run.stages()[0].root)
    os.kill(stops.happened()[0], signal.SIGCONT)

    eventually(lambda: ended(real_run), "it has ended")
    end = ended(real_run)
    assert end is not None
    assert end.state == "failed"
    assert end.reason.startswith(f"stage_1_34pct in {real_run.root} was complete and has been removed since")
    again = engine(*train_words(sessions, real_run.root, "--foreground", "--max-ratio", "0.67"))
    assert again.returncode == 0, again.stderr
    assert [event.stage for event in told(real_run, StageStarted)] == [1, 2, 1]


@pytest.mark.parametrize("what", ["journal", "directory"])
def test_a_run_ends_when_its_journal_or_directory_is_removed(
    sessions: Path, real_run: RunLayout, what: str
) -> None:
    start(real_run, sessions, "--epochs-per-stage", "4000")
    known = processes_of(real_run)
    if what == "directory":
        # Out of the way at once: what is written meanwhile would keep it from being removed file by file.
        shutil.rmtree(real_run.root.rename(real_run.root.with_name("gone")))
    else:
        real_run.journal.unlink()
    none_left(real_run, known, within_s=30.0)
    if what == "directory":
        assert "is not a run directory" in sentence(engine("resume", real_run.root))
    else:
        end = ended(real_run)
        assert end is not None
        assert end.state == "failed"
        assert f"{real_run.journal} has been removed while the run was at work" in end.reason
