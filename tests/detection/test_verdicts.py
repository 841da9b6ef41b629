"""Inference respects what people judged, and says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logbert_engine.daemon.results import Results
from logbert_engine.data.contract import EventId
from logbert_engine.detection.inference import infer
from logbert_engine.triage.database import Triage
from logbert_engine.triage.verdicts import Target, signature

Write = Callable[..., Path]
ODD: list[EventId] = ["new", 5, "new"]


@pytest.fixture
def trained(checkpoint: Path, tmp_path: Path) -> Path:
    """The model, in a run directory."""
    folder = tmp_path / "run" / "stage_1_100pct" / "checkpoints"
    folder.mkdir(parents=True)
    (tmp_path / "run" / "run.yaml").write_text("preset: quick\n")
    return Path(shutil.copy(checkpoint, folder / "best_model.pt"))


@pytest.fixture
def triage(tmp_path: Path) -> Triage:
    return Triage(tmp_path / "run" / "triage.sqlite")


@pytest.fixture
def file(write: Write, ordinary: list[list[EventId]]) -> Path:
    return write("sessions/preprocessed_logs_2025-04-03.json", [*ordinary, ODD, ODD, [0, "E1", 5]])


def scored(trained: Path, file: Path, tmp_path: Path) -> tuple[Any, dict[int, dict[str, Any]]]:
    output = tmp_path / "results.json"
    summary = infer(trained, [file], output)
    return summary, {result["session_id"]: result for result in json.loads(output.read_bytes())}


def test_without_verdicts_the_odd_sessions_alarm(trained: Path, file: Path, tmp_path: Path) -> None:
    summary, found = scored(trained, file, tmp_path)
    assert (summary.anomalies, summary.silenced) == (2, 0)
    assert all(found[i]["is_anomaly"] for i in (45, 46))
    assert not any(result.get("verdict") for result in found.values())


@pytest.mark.parametrize("verdict", ["normal", "suppress"])
def test_sessions_of_events_that_were_judged_do_not_alarm(
    trained: Path, triage: Triage, file: Path, tmp_path: Path, verdict: Any
) -> None:
    until = 4e9 if verdict == "suppress" else None
    triage.record(Target("signature", signature(ODD)), verdict, who="ann", until=until)
    summary, found = scored(trained, file, tmp_path)
    assert (summary.anomalies, summary.silenced, summary.components) == (0, 2, {})
    for i in (45, 46):
        assert (found[i]["is_anomaly"], found[i]["verdict"], found[i]["silenced"]) == (False, verdict, True)
    assert found[45]["evidence"] > 1, "what it looks like to the model stays"


def test_one_session_can_be_ignored_and_another_called_an_anomaly(
    trained: Path, triage: Triage, file: Path, tmp_path: Path
) -> None:
    triage.record(Target("session", 45), "ignore", who="ann")
    triage.record(Target("session", 47), "anomaly", who="ann")
    summary, found = scored(trained, file, tmp_path)
    assert [found[i]["is_anomaly"] for i in (45, 46, 47)] == [False, True, True]
    assert [found[i].get("by_verdict", False) for i in (45, 46, 47)] == [False, False, True]
    assert (summary.anomalies, summary.silenced) == (2, 1)
    browsed = [
        json.loads(bytes(record))["session_id"]
        for record in Results().load(tmp_path / "results.json").records
    ]
    assert browsed == list(found), "the list stands as it was written"
    assert browsed[:2] == [45, 46], "what alarms comes first, whatever people judged"


def test_a_verdict_that_was_taken_back_counts_no_more(
    trained: Path, triage: Triage, file: Path, tmp_path: Path
) -> None:
    triage.record(Target("signature", signature(ODD)), "normal", who="ann")
    triage.undo(who="ann")
    assert scored(trained, file, tmp_path)[0].anomalies == 2


def test_what_was_judged_normal_teaches_its_events(
    trained: Path, triage: Triage, write: Write, ordinary: list[list[EventId]], tmp_path: Path
) -> None:
    other: list[EventId] = [5, "new", 22]
    later = write("sessions/preprocessed_logs_2025-04-04.json", [*ordinary, other])
    before = scored(trained, later, tmp_path)[1][45]
    triage.record(Target("signature", signature(ODD)), "normal", who="ann", events=ODD)
    after = scored(trained, later, tmp_path)[1][45]
    assert (before["unseen_events"], before["is_anomaly"]) == (1, True)
    assert after["surprisal"] < before["surprisal"]
    assert "never seen" in before["reason"]
    assert "never seen" not in after["reason"]
    triage.undo(who="ann")
    assert scored(trained, later, tmp_path)[1][45] == before
