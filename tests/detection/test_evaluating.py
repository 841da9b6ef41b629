from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from logbert_engine.commands import main
from logbert_engine.data.contract import EventId
from logbert_engine.detection.evaluating import evaluate
from logbert_engine.models.checkpoint import ModelRecord, save_model
from logbert_engine.models.encoder import MaskedModel
from logbert_engine.presets.merging import resolve
from logbert_engine.presets.runfile import write_config
from logbert_engine.protocol.errors import EvaluationError
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.rundir.layout import RunLayout

Write = Callable[..., Path]
Sessions = list[list[EventId]]


@pytest.fixture
def labelled(write: Write, ordinary: Sessions) -> Path:
    """Ordinary sessions, and anomalies that hold an event which training never saw."""
    odd = [[*events, "never", 5] for events in ordinary[:12]]
    labels = [0] * len(ordinary) + [1] * len(odd)
    return write("labelled/preprocessed_logs_2025-05-01.json", [*ordinary, *odd], label=labels)


@pytest.fixture
def run_of(tmp_path: Path, model: MaskedModel, record: ModelRecord) -> Callable[[Path], RunLayout]:
    """A run directory whose model was trained on the sessions at a path."""

    def make(data: Path) -> RunLayout:
        run = RunLayout(tmp_path / "run")
        spec = RunSpec(
            data=str(data), run_dir=str(run.root), preset="test", overrides=["data.sample_ratio=1.0"]
        )
        write_config(run, resolve(spec))
        save_model(run.stage("stage_1_100pct").best, model, record)
        return run

    return make


def test_figures_are_of_every_labelled_session_and_the_floor_stands_beside(
    checkpoint: Path, labelled: Path, ordinary: Sessions
) -> None:
    found = evaluate(checkpoint, [labelled]).comparison
    whole = found.row("all evidence").figures
    assert (whole.raw.tp + whole.raw.fn, whole.raw.fp + whole.raw.tn) == (12, len(ordinary))
    unseen = found.row("unseen").figures
    assert (unseen.raw.tp, unseen.raw.fp) == (12, 0)
    assert unseen.f1 == 1
    assert not found.floor_beaten
    assert {"unseen or counts", "unseen or pairs", "unseen or length"} <= {
        row.detector for row in found.slices[0].rows
    }


def test_anomalies_that_are_exact_copies_of_ordinary_sessions_are_counted_and_said(
    checkpoint: Path, write: Write, ordinary: Sessions, capsys: pytest.CaptureFixture[str]
) -> None:
    turned = next(events[::-1] for events in ordinary if len(events) > 5)
    odd: Sessions = [ordinary[4], ordinary[9], turned, [*ordinary[4], "never"], ["never"]]
    labels = [0] * len(ordinary) + [1] * len(odd)
    path = write("copies/preprocessed_logs_2025-05-01.json", [*ordinary, *odd], label=labels)
    assert evaluate(checkpoint, [path]).comparison.data.copies == 2
    assert main(["evaluate", "--checkpoint", str(checkpoint), "--input", str(path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "2 of the 5 anomalies (40%) hold the very events of an ordinary session of training" in said


def test_labels_change_the_figures_and_no_alarm(checkpoint: Path, write: Write, ordinary: Sessions) -> None:
    alarms = []
    for name, label in (("a", 0), ("b", 1)):
        labels = [label] + [1 - label] * (len(ordinary) - 1)
        path = write(f"{name}/preprocessed_logs_2025-05-01.json", ordinary, label=labels)
        alarms.append(evaluate(checkpoint, [path]).detectors[0].alarm)
    np.testing.assert_array_equal(alarms[0], alarms[1])


def test_sessions_without_a_label_are_counted_and_left_out(
    checkpoint: Path, labelled: Path, write: Write, ordinary: Sessions
) -> None:
    more = write("more/preprocessed_logs_2025-05-02.json", ordinary[:5])
    found = evaluate(checkpoint, [labelled, more]).comparison
    assert found.data.excluded["without a label"] == 5
    with pytest.raises(EvaluationError, match=r"no session of .* has a label"):
        evaluate(checkpoint, [more])


def test_what_could_not_be_read_is_counted_and_said(
    checkpoint: Path, labelled: Path, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = write("wrong/preprocessed_logs_2025-05-02.json", [[5], [5]], label=["normal", "anomaly"])
    words = ["evaluate", "--checkpoint", str(checkpoint), "--input", str(labelled), str(wrong)]
    page = tmp_path / "page.html"
    assert main([*words, "--html", str(page)]) == 0
    shown = [" ".join(text.split()) for text in (capsys.readouterr().out, html.unescape(page.read_text()))]
    assert main([*words, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert data["excluded"]["could not be used"] == 2
    assert data["unused"].startswith(
        f"2 records could not be used; the first: record 0 of {wrong}: its label is 'normal'; a label is 0 (normal)"
    )
    for told in shown:
        assert "Excluded from every figure: 2 could not be used." in told
        assert data["unused"] in told
    more = write("more/preprocessed_logs_2025-05-03.json", [[5], [5]], label=[None, "anomaly"])
    assert main([*words[:4], str(more)]) == 1
    assert "its label is 'anomaly'; a label is 0 (normal)" in capsys.readouterr().err


def test_a_weight_of_normals_changes_precision_and_leaves_recall(checkpoint: Path, labelled: Path) -> None:
    plain, heavy = (
        evaluate(checkpoint, [labelled], budget=0.3, normal_weight=weight).comparison.row("counts").figures
        for weight in (1.0, 50.0)
    )
    assert heavy.recall == plain.recall
    assert heavy.false_alarm_rate == pytest.approx(plain.false_alarm_rate)


def test_a_model_is_not_evaluated_on_sessions_that_it_was_trained_on(
    run_of: Callable[[Path], RunLayout], labelled: Path, write: Write, ordinary: Sessions
) -> None:
    trained = write("train/preprocessed_logs_2025-04-01.json", ordinary, label=[0] * len(ordinary))
    run = run_of(trained)
    with pytest.raises(EvaluationError, match=r"the model was trained or calibrated on"):
        evaluate(run.root, [trained])
    with pytest.raises(EvaluationError, match=r"have labels other than normal"):
        evaluate(run_of(labelled).root, [trained])


def test_the_same_content_under_other_ids_is_no_leak(
    run_of: Callable[[Path], RunLayout], labelled: Path, write: Write, ordinary: Sessions, tmp_path: Path
) -> None:
    records = [{"session_id": f"other-{i}", "event_sequence": events} for i, events in enumerate(ordinary)]
    path = tmp_path / "train" / "preprocessed_logs_2025-04-01.json"
    path.parent.mkdir()
    path.write_text(json.dumps(records))
    found = evaluate(run_of(path).root, [labelled]).comparison
    assert found.manifest is not None
    assert "none of them evaluated" in found.manifest.split


def test_the_command_prints_the_table_and_writes_the_page(
    checkpoint: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--checkpoint", str(checkpoint), "--input", str(labelled)]
    assert main([*words, "--html", str(tmp_path / "page.html")]) == 0
    said = capsys.readouterr().out
    assert "floor beaten: no" in said
    assert "were expected by the" in said
    assert max(len(line) for line in said.splitlines() if str(tmp_path) not in line) <= 100
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["floor_beaten"] is False
    assert 0 <= found["expected"]["low"] < found["expected"]["share"] < found["expected"]["high"] <= 1


@pytest.mark.parametrize("wrong", [["--normal-weight", "0"], ["--alert-budget", "2"], ["--input", "nowhere"]])
def test_what_cannot_be_is_refused_in_a_sentence(
    checkpoint: Path, labelled: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--checkpoint", str(checkpoint), "--input", str(labelled), *wrong]
    try:
        status = main(words)
    except SystemExit as end:
        status = int(str(end.code))
    assert status != 0
    refusal = capsys.readouterr().err
    assert "Traceback" not in refusal
    assert refusal.strip()


def test_the_page_takes_the_place_of_a_page_and_of_nothing_else(
    checkpoint: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--checkpoint", str(checkpoint), "--input", str(labelled), "--html"]
    before = checkpoint.read_bytes()
    assert main([*words, str(checkpoint)]) == 1
    assert "is there and holds no page" in capsys.readouterr().err
    assert checkpoint.read_bytes() == before
    for _ in range(2):
        assert main([*words, str(tmp_path / "page.html")]) == 0
