"""``logbert-engine demo-data`` from its command line."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from logbert_engine.commands import main
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import held


def test_the_command_writes_a_demo_and_says_what_it_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo-data", str(tmp_path / "demo"), "--sessions", "400", "--days", "2"]) == 0
    said = capsys.readouterr().out
    assert "400 sessions" in said
    assert "sessions/preprocessed_logs_2025-11-03.json" in said
    assert "eval/preprocessed_logs_2025-11-04.json" in said
    rows = (tmp_path / "demo" / "faults.csv").read_text().splitlines()[1:]
    assert rows
    assert all(row.split(",")[2] in said for row in rows)


def test_json_gives_the_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "demo-data",
        str(tmp_path / "demo"),
        "--sessions",
        "1200",
        "--days",
        "2",
        "--anomaly-rate",
        "0.1",
    ]
    assert main([*words, "--seed", "3", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["sessions"] == 1200
    assert sum(figures["faults_in_evaluation"].values()) == 60
    assert len(figures["faults_in_evaluation"]) >= 10


def test_a_refusal_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["demo-data", str(tmp_path)]) == 1
    refusal = capsys.readouterr().err
    assert refusal.count("\n") == 1
    assert "was not written by demo-data" in refusal
    assert main(["demo-data", str(tmp_path / "new"), "--days", "1"]) == 1
    assert "--days" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_no_more_sessions_are_written_than_anybody_has_room_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo-data", str(tmp_path / "demo"), "--sessions", "1000000000000"]) == 1
    refusal = capsys.readouterr().err
    assert "--sessions must be at most 10,000,000" in refusal
    assert refusal.count("\n") == 1
    assert not (tmp_path / "demo").exists()


def test_a_full_disk_is_told_in_one_sentence_and_the_demo_can_be_written_again(tmp_path: Path) -> None:
    """The kernel's limit on the size of a file stands for the full disk."""
    words = ["-m", "logbert_engine", "demo-data", str(tmp_path / "demo"), "--sessions", "2000", "--days", "2"]

    def with_little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    failed = subprocess.run(
        [sys.executable, *words], preexec_fn=with_little_room, capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert "disk full" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not list((tmp_path / "demo").rglob("*.tmp"))
    again = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "demo" / "metadata.json").read_text())["complete"] is True


def test_a_demo_that_is_being_trained_is_pointed_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunLayout(tmp_path / "demo" / "run")
    words = ["demo", str(tmp_path / "demo"), "--sessions", "300", "--print"]
    with held(run):
        assert main(words) == 1
    refusal = capsys.readouterr().err
    assert refusal.count("\n") == 1
    assert "trains the demo already; watch it: " in refusal
    assert str(run.root) in refusal
