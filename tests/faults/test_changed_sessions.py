"""The session files change under a run that has begun: it trains to its end on what they held when it began."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from logbert_engine.protocol.events import Log
from logbert_engine.rundir import control
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.training.prepare import prepare
from tests.faults.exact import (
    DEADLINE_S,
    SMALL,
    assert_same,
    begin,
    came_to,
    complete,
    end_of,
    goes_on_exactly,
    last_end,
    reference,
    sessions_of,
    spec,
    until_trains,
)
from tests.faults.harness import engine, write_sessions

pytestmark = pytest.mark.timeout(1200)


def said(run: RunLayout) -> list[str]:
    return [event.message for event in read_journal(run.journal) if isinstance(event, Log)]


def test_files_that_are_rewritten_removed_or_new_do_not_change_a_run(
    real_run: RunLayout, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    undisturbed = reference(tmp_path_factory, SMALL)
    data = shutil.copytree(sessions_of(tmp_path_factory, SMALL), tmp_path / "daily")
    (file,) = data.iterdir()
    prepare(spec(data, real_run.root, SMALL))

    def train_some() -> None:
        supervisor = begin(real_run)
        until_trains(real_run, supervisor)
        control.request(real_run, "pause")
        assert end_of(supervisor, DEADLINE_S) == 0
        assert (last_end(real_run).state, last_end(real_run).resumes) == (
            "paused",
            "stage_1_34pct, from its last saved state",
        )

    train_some()
    write_sessions(data, day="2025-01-02")
    file.write_text(json.dumps(json.loads(file.read_text())[:20]))
    train_some()
    file.unlink()
    complete(real_run)
    assert goes_on_exactly(real_run)
    assert_same(came_to(real_run), undisturbed)
    messages = said(real_run)
    for change in (
        f"the session file {file} is changed since the run began; it goes on with what was compiled then",
        f"the session file {file} is gone since the run began; it goes on with what was compiled then",
    ):
        assert change in messages
    assert any("preprocessed_logs_2025-01-02.json is not part of this run" in message for message in messages)


def test_settings_that_decide_are_named_before_a_stage_is_trained_again(
    real_run: RunLayout, tmp_path_factory: pytest.TempPathFactory
) -> None:
    prepare(spec(sessions_of(tmp_path_factory, SMALL), real_run.root, SMALL))
    supervisor = begin(real_run)
    until_trains(real_run, supervisor)
    control.request(real_run, "pause")
    assert end_of(supervisor, DEADLINE_S) == 0
    lines = [line for line in real_run.config.read_text().splitlines() if not line.startswith("# sha256")]
    edited = "\n".join(lines).replace("batch: 8", "batch: 16")
    real_run.config.write_text(edited)
    resumed = engine("resume", real_run.root)
    assert resumed.returncode == 0, resumed.stderr
    why = "stage_1_34pct, from its beginning (its saved state is of other settings)"
    assert resumed.stdout.rstrip().endswith(why)
