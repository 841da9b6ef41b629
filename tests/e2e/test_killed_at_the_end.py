"""A worker that is killed after its last stage is safe on disk, and before it could say so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from logbert_engine.protocol.events import RunEnded, StageEnded
from logbert_engine.protocol.runstate import RunState
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout


def test_the_journal_and_the_results_are_completed_by_the_next_attempt(tmp_path: Path) -> None:
    sessions = tmp_path / "preprocessed_logs_2025-01-01.json"
    sessions.write_text(
        json.dumps([{"session_id": i, "event_sequence": [1, 2, 3 + i % 3, 4]} for i in range(60)])
    )
    run = RunLayout(tmp_path / "run")
    words = ["train", "--data", sessions, "--run-dir", run.root, "--preset", "demo", "--foreground"]
    command = [sys.executable, "-m", "logbert_engine", *map(str, words), "--max-ratio", "0.34"]
    subprocess.run(command, check=True, capture_output=True)
    stage = run.stages()[0]
    weights = stage.best.read_bytes()

    # The state on disk of a kill right after the stage's figures were written, in the middle of another write.
    lines = run.journal.read_bytes().splitlines(keepends=True)
    end = next(i for i, line in enumerate(lines) if b'"kind":"stage_ended"' in line)
    run.journal.write_bytes(b"".join(lines[:end]))
    run.results.unlink()
    leftover = stage.checkpoints / ".epoch_1.pt.1.2.tmp"
    leftover.write_bytes(b"half")

    subprocess.run(command, check=True, capture_output=True)
    state = RunState()
    events = list(read_journal(run.journal))
    for event in events:
        state.apply(event)
    assert sum(isinstance(event, StageEnded) for event in events) == 1
    assert isinstance(events[-1], RunEnded)
    assert [s.phase for s in state.stages] == ["done"]
    assert run.results.exists()
    assert not leftover.exists()
    assert stage.best.read_bytes() == weights, "nothing was trained again"
