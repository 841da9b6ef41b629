"""A run that names labelled sessions records how well each of its stages finds their anomalies, and learns nothing
from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from logbert_engine.protocol.events import Log, StageEnded
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from tests.faults.harness import engine, same_bits, sentence, train_words, weights, write_sessions

STAGES = ("--max-ratio", "0.67")
"""Two."""


def write_labelled(path: Path, label: bool = True) -> Path:
    ordinary = [{"session_id": f"n{i}", "event_sequence": [1, 2, 3 + i % 7, 4]} for i in range(80)]
    odd = [{"session_id": f"a{i}", "event_sequence": [4, 4, 2, 99, 1]} for i in range(20)]
    records: list[dict[str, Any]] = [*ordinary, *odd]
    if label:
        for i, record in enumerate(records):
            record["label"] = int(i >= len(ordinary))
    path.write_text(json.dumps(records))
    return path


def test_each_stage_tells_how_well_it_finds_labelled_anomalies(tmp_path: Path) -> None:
    data, labelled = write_sessions(tmp_path / "sessions"), write_labelled(tmp_path / "labelled.json")
    with_labels, without = RunLayout(tmp_path / "with"), RunLayout(tmp_path / "without")
    named = ("--evaluate", str(labelled))
    done = engine(*train_words(data, with_labels.root, *STAGES, *named, "--foreground"))
    assert done.returncode == 0, done.stderr
    assert engine(*train_words(data, without.root, *STAGES, "--foreground")).returncode == 0
    stages = json.loads(with_labels.results.read_bytes())["stages"]
    assert len(stages) == 2
    for stage in stages:
        quality = stage["quality"]
        assert (quality["sessions"], quality["anomalies"]) == (100, 20)
        assert quality["average_precision"] == 1.0, "an event that training never saw"
        assert quality["floor_f1"] == 1.0
        low, high = quality["intervals"]["f1"]
        assert low <= quality["f1"] <= high
    ended = [event for event in read_journal(with_labels.journal) if isinstance(event, StageEnded)]
    assert [event.quality is not None for event in ended] == [True, True]
    assert "stage_2_67pct on labelled sessions: F1 " in with_labels.summary.read_text()
    for stage in without.stages():
        twin = with_labels.stage(stage.name)
        assert same_bits(weights(stage.best), weights(twin.best)), "labels change nothing"
    assert "labelled" not in without.summary.read_text()


def test_sessions_without_labels_are_said_and_do_not_end_the_run(tmp_path: Path) -> None:
    data = write_sessions(tmp_path / "sessions")
    unlabelled = write_labelled(tmp_path / "unlabelled.json", label=False)
    run = RunLayout(tmp_path / "run")
    done = engine(*train_words(data, run.root, "--evaluate", str(unlabelled), "--foreground"))
    assert done.returncode == 0, done.stderr
    messages = [event.message for event in read_journal(run.journal) if isinstance(event, Log)]
    assert any("stage_1_34pct was not evaluated: no session of" in message for message in messages)


def test_labelled_sessions_that_are_not_there_are_said_at_once(tmp_path: Path) -> None:
    data = write_sessions(tmp_path / "sessions")
    words = train_words(data, tmp_path / "run", "--evaluate", str(tmp_path / "nowhere"))
    assert "nowhere" in sentence(engine(*words))
    assert not (tmp_path / "run").exists()
