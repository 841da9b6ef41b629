"""Layout, control file, checksums and the registry."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from logbert_engine.protocol.errors import CheckpointError
from logbert_engine.rundir import control, registry
from logbert_engine.rundir.checksums import (
    SUMS,
    read_sums,
    remove_checked,
    replacing_checked,
    sha256_of,
    verify,
)
from logbert_engine.rundir.layout import RunLayout, stage_name


@pytest.fixture
def run(tmp_path) -> RunLayout:
    layout = RunLayout(tmp_path / "run")
    layout.root.mkdir()
    return layout


@pytest.mark.parametrize(
    ("index", "ratio", "name"),
    [
        (1, 0.1, "stage_1_10pct"),
        (10, 1.0, "stage_10_100pct"),
        (3, 0.30000000000000004, "stage_3_30pct"),
        (1, 0.29, "stage_1_29pct"),
    ],
)
def test_stage_folders_have_the_documented_names(index, ratio, name):
    assert stage_name(index, ratio) == name


def test_stages_are_in_the_order_of_their_numbers(run):
    for name in ("stage_10_100pct", "stage_2_20pct", "stage_1_10pct", "stage_x", "logs", "stage_3_30pct.bak"):
        (run.root / name).mkdir()
    assert [s.name for s in run.stages()] == ["stage_1_10pct", "stage_2_20pct", "stage_10_100pct"]
    assert [s.index for s in run.stages()] == [1, 2, 10]


def test_the_paths_are_those_of_the_documents(run):
    stage = run.stage("stage_1_10pct")
    shown = {
        str(path.relative_to(run.root))
        for path in (run.results, run.summary, run.pid, stage.best, stage.epoch(2), stage.metrics)
    }
    assert shown == {
        "progressive_training_results.json",
        "progressive_training_summary.txt",
        "progressive_training.pid",
        "stage_1_10pct/checkpoints/best_model.pt",
        "stage_1_10pct/checkpoints/epoch_2.pt",
        "stage_1_10pct/training_metrics.json",
    }
    assert (stage.resume.name, stage.resume_previous.name) == ("resume.pt", "resume.previous.pt")
    assert run.reserve == run.root / ".reserve"
    assert re.fullmatch(r"progressive_training_\d{8}_\d{6}\.log", run.new_log().name)
    assert re.fullmatch(r"stage_1_10pct_\d{8}_\d{6}\.log", stage.new_log().name)


def test_logs_are_listed_the_latest_first_then_by_stage(run):
    run.logs.mkdir()
    stage = run.stage("stage_2_20pct")
    stage.logs.mkdir(parents=True)
    for path in (run.new_log(0), run.new_log(10**9), stage.new_log(0)):
        path.write_text("x")
    run.worker_errors.write_text("")
    assert run.log_files() == [run.new_log(10**9), run.new_log(0), stage.new_log(0)]
    run.worker_errors.write_text("Killed")
    assert run.worker_errors in run.log_files()


def test_a_request_waits_until_it_is_cleared(run):
    assert control.pending(run) is None
    control.request(run, "pause")
    control.request(run, "pause")
    assert control.pending(run) == "pause"
    control.request(run, "stop")
    assert control.pending(run) == "stop"
    control.clear(run)
    control.clear(run)
    assert control.pending(run) is None


@pytest.mark.parametrize("content", [b"", b"pause", b'{"wish":"explode"}', b"\xff", b"[" * 9999])
def test_a_control_file_left_by_hand_does_not_end_a_training(run, content):
    run.control.write_bytes(content)
    assert control.pending(run) is None


def test_a_flipped_bit_is_found(run):
    path = run.root / "best_model.pt"
    with replacing_checked(path) as file:
        file.write(b"weights" * 1000)
    assert verify(path) == sha256_of(path)
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"best_model\.pt is damaged"):
        verify(path)


def test_sums_are_in_the_format_of_sha256sum(run):
    for name in ("a.pt", "b.pt"):
        with replacing_checked(run.root / name) as file:
            file.write(name.encode())
    done = subprocess.run(["sha256sum", "--check", SUMS], cwd=run.root, check=False, capture_output=True)
    assert done.returncode == 0


def test_a_file_that_is_replaced_or_removed_leaves_no_sum_behind(run):
    path = run.root / "resume.pt"
    for content in (b"old", b"new"):
        with replacing_checked(path) as file:
            file.write(content)
    assert read_sums(run.root) == {"resume.pt": {sha256_of(path)}}
    remove_checked(path)
    assert read_sums(run.root) == {}
    assert not path.exists()


def test_a_file_without_a_recorded_sum_is_taken_as_it_is(run):
    path = run.root / "from_elsewhere.pt"
    path.write_bytes(b"x")
    assert verify(path) == sha256_of(path)


def test_runs_are_remembered_the_latest_first_while_they_exist(tmp_path):
    paths = []
    for i, name in enumerate(("one", "two", "three")):
        path = tmp_path / name
        path.mkdir()
        (path / "run.yaml").write_text("")
        registry.remember(path)
        paths.append(path.resolve())
        for entry in (registry._folder()).glob("*.json"):
            if str(path) in entry.read_text():
                os.utime(entry, (1000 + i, 1000 + i))
    assert registry.known_runs() == paths[::-1]
    registry.remember(paths[0])
    assert registry.known_runs() == [paths[0], paths[2], paths[1]]
    (paths[2] / "run.yaml").unlink()
    assert registry.known_runs() == [paths[0], paths[1]]


def test_an_entry_that_is_damaged_hides_no_other(tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "run.yaml").write_text("")
    registry.remember(run_dir)
    for i, content in enumerate((b"", b"\xff", b"{}", b"[" * 9999)):
        (registry._folder() / f"{i}.json").write_bytes(content)
    assert registry.known_runs() == [run_dir.resolve()]
