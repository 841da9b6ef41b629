"""Several processes train together as one would alone: on the same sessions, to the same losses."""

from __future__ import annotations

from pathlib import Path

import pytest

from logbert_engine.protocol.events import EpochEnded, RunOpened
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from tests.faults.harness import engine, kill_all, losses, state_of, train_words, write_sessions

SETTINGS = tuple(
    word
    for setting in (
        "model.dropout=0.0",
        "training.log_every=1",
        "training.batch=5",
        "training.duplicate_weight=1",
    )
    for word in ("--set", setting)
)


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    return write_sessions(tmp_path / "sessions", 90)


def trained(data: Path, run: RunLayout, processes: int) -> RunLayout:
    words = train_words(data, run.root, *SETTINGS, "--nproc", str(processes), "--foreground")
    try:
        done = engine(*words, timeout=240)
    finally:
        kill_all(run)
    assert done.returncode == 0, done.stderr
    return run


def test_ranks_train_on_exactly_the_sessions_of_one_and_reach_its_losses(
    sessions: Path, tmp_path: Path
) -> None:
    one, two = (trained(sessions, RunLayout(tmp_path / f"of_{n}"), n) for n in (1, 2))
    assert [s.plan for s in state_of(two).stages] == [s.plan for s in state_of(one).stages]
    assert state_of(two).world_size == 2
    ours, alone = losses(two), losses(one)
    assert ours.keys() == alone.keys()
    assert len(ours) > 4
    for step, loss in ours.items():
        assert loss == pytest.approx(alone[step], abs=2e-5), step

    def epochs(run: RunLayout) -> list[EpochEnded]:
        return [event for event in read_journal(run.journal) if isinstance(event, EpochEnded)]

    for ended, expected in zip(epochs(two), epochs(one), strict=True):
        assert ended.train_loss == pytest.approx(expected.train_loss, abs=2e-5)
        assert ended.valid_loss == pytest.approx(expected.valid_loss, abs=2e-5)
    assert sum(isinstance(event, RunOpened) for event in read_journal(two.journal)) == 1


def test_more_ranks_than_sessions_in_a_batch_still_train(sessions: Path, tmp_path: Path) -> None:
    run = RunLayout(tmp_path / "run")
    words = train_words(sessions, run.root, "--nproc", "3", "--set", "training.batch=2", "--foreground")
    try:
        done = engine(*words, timeout=240)
    finally:
        kill_all(run)
    assert done.returncode == 0, done.stderr
    assert state_of(run).phase == "finished"
