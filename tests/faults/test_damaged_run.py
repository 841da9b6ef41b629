"""Row 9: a real run whose checkpoint was damaged while nobody worked on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from logbert_engine.protocol.events import Log, StageStarted
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from tests.faults.damages import flip
from tests.faults.harness import engine, train_words

pytestmark = pytest.mark.row(9)


@pytest.mark.parametrize("copy_too", [False, True], ids=["put back", "trained again"])
def test_the_next_stage_never_starts_from_a_damaged_model(
    sessions: Path, real_run: RunLayout, copy_too: bool
) -> None:
    assert engine(*train_words(sessions, real_run.root, "--foreground")).returncode == 0
    (first,) = real_run.stages()
    weights = first.best.read_bytes()
    for path in (first.best, first.epoch(1)) if copy_too else (first.best,):
        flip(0.5)(path, path)

    more = train_words(sessions, real_run.root, "--foreground", "--max-ratio", "0.67")
    done = engine(*more)
    assert done.returncode == 0, done.stderr
    assert first.best.read_bytes() == weights, "put back, or trained again to the same bit"
    events = list(read_journal(real_run.journal))
    (said,) = [e.message for e in events if isinstance(e, Log) and "is damaged" in e.message]
    assert said.startswith(f"{first.best} is damaged")
    assert ("put back from epoch_1.pt" in said) != copy_too
    begun = [e for e in events if isinstance(e, StageStarted)]
    assert [e.stage for e in begun] == ([1, 1, 2] if copy_too else [1, 2])
    assert begun[-1].parent == "stage_1_34pct/checkpoints/best_model.pt"


def test_folders_and_pipes_in_the_place_of_its_files_do_not_stop_a_run(
    sessions: Path, real_run: RunLayout
) -> None:
    assert engine(*train_words(sessions, real_run.root, "--foreground")).returncode == 0
    (first,) = real_run.stages()
    odd = (first.best, first.checkpoints / "SHA256SUMS", first.exported / "config.json")
    for path in odd:
        path.unlink()
        os.mkfifo(path)
    for path in (real_run.control, real_run.outcome("rank0")):
        path.mkdir()

    done = engine(*train_words(sessions, real_run.root, "--foreground", "--max-ratio", "0.67"))
    assert done.returncode == 0, done.stderr
    assert all(path.is_file() for path in odd)
    assert not real_run.worker_errors.exists()
