"""What is wrong is said in one sentence on standard error, with a non-zero exit and nothing lost."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import held


def engine(*words: str | Path, file_limit: int | None = None) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if file_limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

    return subprocess.run(
        [sys.executable, "-m", "logbert_engine", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
    )


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that was said."""
    assert done.returncode not in (0, None), done.stdout
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("logbert-engine: ")
    assert "Traceback" not in done.stderr
    return lines[0]


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    """A directory of session files that train in a moment."""
    folder = tmp_path / "sessions"
    folder.mkdir()
    records = [{"session_id": i, "event_sequence": [1, 2, 3 + i % 3, 4]} for i in range(60)]
    (folder / "preprocessed_logs_2025-01-01.json").write_text(json.dumps(records))
    return folder


def train(data: Path | str, run_dir: Path, *more: str) -> list[str | Path]:
    small = ["--preset", "demo", "--max-ratio", "0.34", "--epochs-per-stage", "1", "--foreground"]
    return ["train", "--data", data, "--run-dir", run_dir, *small, *more]


def background(data: Path, run_dir: Path, *more: str) -> list[str | Path]:
    return ["train", "--data", data, "--run-dir", run_dir, "--preset", "demo", *more]


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    said = sentence(engine(*train(tmp_path / "nowhere", tmp_path / "run")))
    assert str(tmp_path / "nowhere") in said
    assert not (tmp_path / "run").exists()


def test_a_directory_without_session_files(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = sentence(engine(*train(tmp_path / "empty", tmp_path / "run")))
    assert "session file" in said
    assert str(tmp_path / "empty") in said


def test_a_preset_that_is_broken_yaml(sessions: Path, tmp_path: Path) -> None:
    preset = tmp_path / "mine.yaml"
    preset.write_text("name: mine\ntitle: [unclosed\nsummary: x\n")
    words = [w if w != "demo" else preset for w in train(sessions, tmp_path / "run")]
    assert re.search(r"mine\.yaml:\d+:\d+", sentence(engine(*words)))


def test_a_preset_with_a_wrong_type(sessions: Path, tmp_path: Path) -> None:
    preset = tmp_path / "mine.yaml"
    preset.write_text(
        "name: mine\ntitle: t\nsummary: s\nhardware:\n  label: any\nmodel:\n  family: encoder\n  hidden: wide\n"
    )
    words = [w if w != "demo" else preset for w in train(sessions, tmp_path / "run")]
    assert "mine.yaml:8:11" in sentence(engine(*words))


def test_an_unknown_preset_names_the_nearest(sessions: Path, tmp_path: Path) -> None:
    words = [w if w != "demo" else "dmeo" for w in train(sessions, tmp_path / "run")]
    assert "demo" in sentence(engine(*words))


def test_a_truncated_session_file_is_named_and_the_run_fails(sessions: Path, tmp_path: Path) -> None:
    file = sessions / "preprocessed_logs_2025-01-01.json"
    file.write_bytes(file.read_bytes()[:1000])
    assert file.name in sentence(engine(*train(sessions, tmp_path / "run")))


def test_a_run_directory_that_is_held_names_its_holder(sessions: Path, tmp_path: Path) -> None:
    run = RunLayout(tmp_path / "run")
    with held(run):
        said = sentence(engine(*train(sessions, run.root)))
    assert str(os.getpid()) in said
    assert "held" in said


def test_a_full_disk_keeps_what_is_there_and_resumes_when_there_is_room(
    sessions: Path, tmp_path: Path
) -> None:
    run = RunLayout(tmp_path / "run")
    words = train(sessions, run.root)
    said = sentence(engine(*words, file_limit=200_000))  # the journal fits, a checkpoint does not
    assert "disk full" in said
    truncated = [p for p in run.root.rglob("*") if p.suffix in (".pt", ".safetensors")]
    assert truncated == [], "nothing half-written under a final name"
    done = engine(*words)
    assert done.returncode == 0, done.stderr
    assert run.stages()[0].best.exists()


def test_an_unknown_hub_id_while_offline(sessions: Path, tmp_path: Path) -> None:
    said = sentence(engine(*train(sessions, tmp_path / "run", "--pretrained", "no-such-model")))
    assert "no-such-model" in said
    assert "offline" in said


def test_a_checkpoint_of_another_vocabulary(sessions: Path, tmp_path: Path) -> None:
    assert engine(*train(sessions, tmp_path / "run")).returncode == 0
    other = tmp_path / "other.jsonl"
    other.write_text("".join(f'{{"session_id": {i}, "event_sequence": [71, 72, 73]}}\n' for i in range(9)))
    output = tmp_path / "results.json"
    score = ["infer", "--checkpoint", tmp_path / "run", "--input", other, "--output", output]
    assert "another vocabulary" in sentence(engine(*score))
    assert not output.exists()


def test_a_checkpoint_that_is_not_one(sessions: Path, tmp_path: Path) -> None:
    fake = tmp_path / "best_model.pt"
    fake.write_bytes(b"not a checkpoint")
    score = ["infer", "--checkpoint", fake, "--input", sessions, "--output", tmp_path / "r.json"]
    assert str(fake) in sentence(engine(*score))


@pytest.mark.parametrize("command", ["pause", "resume", "restart-stage", "stop"])
def test_a_directory_that_is_no_run(tmp_path: Path, command: str) -> None:
    assert str(tmp_path) in sentence(engine(command, tmp_path))


def test_two_writers_never_share_a_run_directory(sessions: Path, tmp_path: Path) -> None:
    run = RunLayout(tmp_path / "run")
    words = background(sessions, run.root, "--epochs-per-stage", "400")
    first = engine(*words)
    assert first.returncode == 0, first.stderr
    try:
        assert "held" in sentence(engine(*words))
    finally:
        assert engine("stop", run.root).returncode == 0


def test_results_never_overwrite_an_input(sessions: Path, tmp_path: Path) -> None:
    assert engine(*train(sessions, tmp_path / "run")).returncode == 0
    file = sessions / "preprocessed_logs_2025-01-01.json"
    before = file.read_bytes()
    said = sentence(engine("infer", "--checkpoint", tmp_path / "run", "--input", sessions, "--output", file))
    assert "overwrite" in said
    assert file.read_bytes() == before


@pytest.mark.parametrize("count", ["0", "-1", "3.5", "many", "1000"])
def test_a_number_of_processes_that_makes_no_sense(sessions: Path, tmp_path: Path, count: str) -> None:
    done = engine(*train(sessions, tmp_path / "run"), f"--nproc={count}")
    assert done.returncode != 0
    assert "nproc" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "journal.ndjson").exists()


def test_a_pipe_is_no_session_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "sessions.json")
    said = sentence(engine(*train(tmp_path / "sessions.json", tmp_path / "run")))
    assert "neither a file nor a directory" in said


def test_an_engine_does_not_remove_a_file_that_is_no_socket(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text("[]")
    assert "not a socket" in sentence(engine("serve", "--socket", file))
    assert file.read_text() == "[]"


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    assert "too long" in sentence(engine("resume", tmp_path / ("x" * 300))).lower()


def test_of_two_requests_at_once_one_is_refused(sessions: Path, tmp_path: Path) -> None:
    run = RunLayout(tmp_path / "run")
    words = background(sessions, run.root, "--epochs-per-stage", "400")
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "logbert_engine", *map(str, words), "--seed", seed],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    said = [process.communicate(timeout=60)[1] for process in both]
    try:
        assert sorted(process.returncode for process in both) == [0, 1], said
    finally:
        assert engine("stop", run.root).returncode == 0


def test_a_device_that_is_not_there_is_said_by_train_itself(sessions: Path, tmp_path: Path) -> None:
    device = "cuda" if sys.platform == "darwin" else "mps"
    words = background(sessions, tmp_path / "run", "--device", device)
    assert f"no {device} device" in sentence(engine(*words))


def test_the_largest_seed_trains_and_a_larger_one_is_refused(sessions: Path, tmp_path: Path) -> None:
    largest = 2**32 - 1
    said = sentence(engine(*train(sessions, tmp_path / "run", "--seed", str(largest + 1))))
    assert f"at most {largest}" in said
    done = engine(*train(sessions, tmp_path / "run", "--seed", str(largest)))
    assert done.returncode == 0, done.stderr
