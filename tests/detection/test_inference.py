from __future__ import annotations

import itertools
import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from logbert_engine.data.contract import EventId
from logbert_engine.data.reading import session_files
from logbert_engine.data.store import open_store
from logbert_engine.detection import inference
from logbert_engine.detection.evidence import limit_of, statistics_of
from logbert_engine.detection.inference import InferenceSummary, infer, meta_path
from logbert_engine.detection.scoring import score_store
from logbert_engine.models import surprisal
from logbert_engine.models.checkpoint import ModelRecord, export, save_model
from logbert_engine.models.encoder import MaskedModel
from logbert_engine.protocol.errors import CheckpointError, DataError, StorageError
from logbert_engine.protocol.results import SessionResult

Write = Callable[..., Path]
Sessions = list[list[EventId]]


@pytest.fixture
def files(write: Write, ordinary: Sessions) -> Path:
    """A directory with two days of sessions."""
    rows = len(ordinary)
    write(
        "sessions/preprocessed_logs_2025-04-02.json",
        ordinary,
        label=[0] * rows,
        service_name=["gateway"] * rows,
    )
    stamps = [f"2025-04-01T10:{i % 60:02d}:00" for i in range(rows)]
    return write("sessions/preprocessed_logs_2025-04-01.json", ordinary, timestamp=stamps).parent


def read(output: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(output.read_bytes())
    return found


@pytest.mark.parametrize(
    ("limit", "ranked_by"),
    [({}, "evidence"), ({"budget": 0.1}, "evidence"), ({"threshold": 2.0}, "anomaly_score")],
)
def test_results_are_every_session_ranked_highest_first(
    checkpoint: Path,
    files: Path,
    ordinary: Sessions,
    tmp_path: Path,
    limit: dict[str, float],
    ranked_by: str,
) -> None:
    output = tmp_path / "out" / "results.json"
    summary = infer(checkpoint, [files], output, **limit)
    found = read(output)
    assert len(found) == summary.sessions == 2 * len(ordinary)
    ranked = [result.get(ranked_by, 0.0) for result in found]
    assert ranked == sorted(ranked, reverse=True)
    assert ranked[0] > ranked[-1]
    scores = [result["anomaly_score"] for result in found]
    seen = sorted((result["file"][-15:-5], result["session_id"]) for result in found)
    assert seen == [(day, i) for day in ("2025-04-01", "2025-04-02") for i in range(len(ordinary))]
    assert summary.mean == pytest.approx(statistics.mean(scores), abs=1e-5)
    assert summary.deviation == pytest.approx(statistics.pstdev(scores), abs=1e-5)
    assert (summary.highest, summary.lowest) == pytest.approx((max(scores), min(scores)), abs=1e-5)
    assert summary.anomalies == sum(result["is_anomaly"] for result in found)
    alarms = [result["is_anomaly"] for result in found]
    assert alarms == sorted(alarms, reverse=True), "no alarm stands behind what is none"
    components = Counter(result["component"] for result in found if result["is_anomaly"])
    assert summary.components == components


def test_two_runs_write_the_same_bytes_whatever_is_scored_at_once(
    checkpoint: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, again = tmp_path / "one.json", tmp_path / "again.json"
    infer(checkpoint, [files], one)
    infer(checkpoint, [files], again)
    assert one.read_bytes() == again.read_bytes()
    monkeypatch.setattr(surprisal, "TOKENS_AT_ONCE", 100)
    infer(checkpoint, [files], again)
    for a, b in zip(read(one), read(again), strict=True):
        assert a["anomaly_score"] == pytest.approx(b["anomaly_score"], abs=1e-4)


def test_identical_sessions_have_equal_scores_and_know_how_many_they_are(
    checkpoint: Path, files: Path, ordinary: Sessions, tmp_path: Path
) -> None:
    infer(checkpoint, [files], tmp_path / "results.json")
    alike = defaultdict(list)
    for result in read(tmp_path / "results.json"):
        alike[tuple(ordinary[result["session_id"]])].append(result)
    sizes = {len(results) for results in alike.values()}
    assert max(sizes) >= 30
    for results in alike.values():
        assert {result.get("identical", 1) for result in results} == {len(results)}
        assert len({result["anomaly_score"] for result in results}) == 1
        assert len({result["reason"] for result in results}) == 1


@pytest.mark.parametrize(("threshold", "ranked_by"), [(None, "p_value"), (2.0, "anomaly_score")])
def test_sessions_that_are_equally_odd_stand_in_order_of_time(
    checkpoint: Path, files: Path, tmp_path: Path, threshold: float | None, ranked_by: str
) -> None:
    infer(checkpoint, [files], tmp_path / "results.json", threshold=threshold)
    found = read(tmp_path / "results.json")
    alike = 0
    for one, next_one in itertools.pairwise(found):
        if (one.get("evidence"), one[ranked_by]) == (next_one.get("evidence"), next_one[ranked_by]):
            alike += 1
            assert one["file"] <= next_one["file"]
    assert alike > 30


def test_a_result_tells_what_it_is_about(
    checkpoint: Path, model: MaskedModel, record: ModelRecord, write: Write, tmp_path: Path
) -> None:
    file = write(
        "sessions/preprocessed_logs_2025-04-03.json",
        [[0, "E1", 5, 22, "7a"]],
        label=[1],
        service_name=["eureka"],
        timestamp=["2025-04-03T01:02:03"],
    )
    infer(checkpoint, [file], tmp_path / "results.json")
    (result,) = msgspec.json.decode((tmp_path / "results.json").read_bytes(), type=list[SessionResult])
    assert (result.session_id, result.label, result.service_name) == (0, 1, "eureka")
    assert (result.timestamp, result.file, result.length) == ("2025-04-03T01:02:03", str(file), 5)
    assert result.event_sequence == [0, "E1", 5, 22, "7a"]
    assert result.surprisals is not None
    scores = score_store(model, record, open_store([file]), torch.device("cpu"))
    of_view = {view: found.values.tolist() for view, found in scores.surprisals.items()}
    assert result.surprisal == pytest.approx(
        statistics.mean(map(statistics.mean, of_view.values())), abs=1e-4
    )
    assert result.component in ("order", "bag", "unseen", "counts", "length")
    shown = "bag" if result.component == "bag" else record.views[0]
    assert result.surprisals == pytest.approx(of_view[shown], abs=1e-5)
    assert result.evidence == pytest.approx(-scores.evidence.weight[0], abs=1e-4)
    assert result.p_value == scores.p[0]
    ranked = [score.surprisal for score in result.highest]
    assert ranked == sorted(result.surprisals, reverse=True)
    for score in result.highest:
        assert result.event_sequence[score.position] == score.event
        assert len(score.expected) == 5
        shares = [probability for _, probability in score.expected]
        assert shares == sorted(shares, reverse=True)
    assert result.reason


def test_contributions_of_the_events_add_up_to_the_statistic_that_the_evidence_comes_from(
    checkpoint: Path, model: MaskedModel, record: ModelRecord, files: Path, tmp_path: Path
) -> None:
    infer(checkpoint, [files], tmp_path / "results.json")
    store = open_store(session_files(files))
    scores = score_store(model, record, store, torch.device("cpu"))
    statistics_of_store = statistics_of(scores.surprisals)
    place = {tuple(store.events[i] for i in store.sequence(u)): u for u in range(store.n_unique)}
    for result in read(tmp_path / "results.json"):
        sequence, surprisals = place[tuple(result["event_sequence"])], np.array(result["surprisals"])
        if result["component"] == "bag":
            assert np.sqrt((surprisals**2).mean()) == pytest.approx(
                statistics_of_store["bag.rms"][sequence], abs=1e-5
            )
        else:
            assert surprisals.mean() == pytest.approx(statistics_of_store["order.mean"][sequence], abs=1e-5)


def test_a_session_far_from_the_centre_is_told_of_as_such(
    tmp_path: Path, model: MaskedModel, record: ModelRecord, write: Write
) -> None:
    """By a calibration whose sessions lay at the centre."""
    view = record.views[-1]
    assert record.calibration is not None
    near = msgspec.structs.replace(record.calibration, statistics={"distance": [1e-9, 2e-9, 3e-9]})
    save_model(
        tmp_path / "best_model.pt",
        model,
        msgspec.structs.replace(record, calibration=near, centres={view: [0.0] * 16}),
    )
    file = write("sessions/preprocessed_logs_2025-04-03.json", [[0, "E1", 5, 22, "7a"]])
    summary = infer(tmp_path / "best_model.pt", [file], tmp_path / "results.json")
    (result,) = read(tmp_path / "results.json")
    assert summary.components == {"distance": 1}
    assert result["component"] == "distance"
    assert result["reason"].startswith("as a whole far from what ordinary sessions look like")


def test_the_top_of_the_list_is_laid_beside_the_nearest_ordinary_session(
    checkpoint: Path, write: Write, ordinary: Sessions, tmp_path: Path
) -> None:
    odd: list[EventId] = [0, "E1", "never", 5, 5]
    file = write("sessions/preprocessed_logs_2025-04-03.json", [odd, [0, "E1", 5]])
    infer(checkpoint, [file], tmp_path / "results.json")
    results = msgspec.json.decode((tmp_path / "results.json").read_bytes(), type=list[SessionResult])
    first, second = sorted(results, key=lambda result: -result.length)
    assert first.nearest is not None
    assert (first.nearest.distance, first.nearest.sessions) == (2, 15)
    seen = [event for step in first.nearest.steps for event in step.seen]
    normal = [
        event
        for step in first.nearest.steps
        for event in (step.seen if step.kind == "keep" else step.ordinary)
    ]
    assert (seen, normal) == (odd, [0, "E1", 5])
    assert {step.kind for step in first.nearest.steps} == {"keep", "insert"}
    assert second.nearest is not None
    assert (second.nearest.distance, [step.kind for step in second.nearest.steps]) == (0, ["keep"])


def test_counts_are_laid_beside_those_of_ordinary_sessions_like_it(
    checkpoint: Path, write: Write, tmp_path: Path
) -> None:
    file = write("sessions/preprocessed_logs_2025-04-03.json", [[0, "E1", 5, 5, 5, 5, 5, 5]])
    infer(checkpoint, [file], tmp_path / "results.json")
    (result,) = msgspec.json.decode((tmp_path / "results.json").read_bytes(), type=list[SessionResult])
    most = result.counts[0]
    assert (most.event, most.here) == (5, 6)
    assert most.lowest <= most.median <= most.highest < 6


def test_a_session_of_one_event_is_scored(checkpoint: Path, write: Write, tmp_path: Path) -> None:
    infer(checkpoint, [write("sessions/preprocessed_logs_2025-04-03.json", [[5]])], tmp_path / "results.json")
    (result,) = read(tmp_path / "results.json")
    assert result["length"] == 1
    assert len(result["surprisals"]) == 1


def test_a_session_with_an_event_never_seen_ranks_first_and_says_so(
    checkpoint: Path, write: Write, ordinary: Sessions, tmp_path: Path
) -> None:
    file = write("sessions/preprocessed_logs_2025-04-03.json", [*ordinary, ["never", 5]])
    infer(checkpoint, [file], tmp_path / "results.json")
    first = read(tmp_path / "results.json")[0]
    assert first["session_id"] == len(ordinary)
    assert first["unseen_events"] == 1
    assert first["reason"] == ("event never never seen in training; more unusual than all 45 normal sessions")


def test_without_a_limit_one_in_a_thousand_ordinary_sessions_may_alarm(
    checkpoint: Path, files: Path, tmp_path: Path
) -> None:
    output = tmp_path / "results.json"
    summary = infer(checkpoint, [files], output)
    assert (summary.threshold, summary.budget) == (None, 0.001)
    for result in read(output):
        assert result["budget"] == 0.001
        assert "threshold" not in result
        assert result["is_anomaly"] == (result["p_value"] < 1.5 / (summary.calibration_sessions + 1))
    assert summary.anomalies == 0, "they are those of the calibration"


def test_a_threshold_is_one_of_the_score(checkpoint: Path, files: Path, tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    summary = infer(checkpoint, [files], output, threshold=0.5)
    for result in read(output):
        assert result["threshold"] == 0.5
        assert result["is_anomaly"] == (result["anomaly_score"] > 0.5)
        assert "budget" not in result
    assert 0 < summary.anomalies < summary.sessions


@pytest.mark.parametrize("budget", [0.02, 0.1, 0.34, 0.9])
def test_a_budget_alarms_on_no_larger_share_of_the_calibration_sessions(
    checkpoint: Path, files: Path, record: ModelRecord, tmp_path: Path, budget: float
) -> None:
    summary = infer(checkpoint, [files], tmp_path / "results.json", budget=budget)
    assert record.calibration is not None
    least = limit_of(record.calibration, 0.0).share
    assert least <= 3 / (summary.calibration_sessions + 1)
    assert summary.anomalies <= budget * summary.sessions
    assert summary.false_alarm_rate >= max(
        1 / (summary.calibration_sessions + 1), summary.anomalies / summary.sessions
    )
    assert summary.false_alarm_rate <= max(budget, least)


def test_the_file_beside_the_results_says_how_they_were_made(
    checkpoint: Path, files: Path, tmp_path: Path
) -> None:
    output = tmp_path / "results.json"
    summary = infer(checkpoint, [files], output, budget=0.1)
    meta = msgspec.json.decode((tmp_path / "results.meta.json").read_bytes(), type=InferenceSummary)
    assert meta == summary
    assert meta_path(output) == tmp_path / "results.meta.json"
    assert (meta.checkpoint, meta.inputs, meta.output) == (str(checkpoint), [str(files)], str(output))
    assert meta.templates == {"5": "open <*> file"}


def test_only_alarms_and_the_first_of_the_list_keep_every_position(
    checkpoint: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "DETAILED_RANKS", 3)
    infer(checkpoint, [files], tmp_path / "results.json", budget=0.1)
    for rank, result in enumerate(read(tmp_path / "results.json")):
        detailed = rank < 3 or result["is_anomaly"]
        assert ("surprisals" in result) == ("event_sequence" in result) == detailed
        assert len(result["highest"]) == (min(12, result["length"]) if detailed else 1)


def test_an_exported_folder_scores_as_its_model_file_does(
    checkpoint: Path, model: MaskedModel, record: ModelRecord, files: Path, tmp_path: Path
) -> None:
    export(tmp_path / "best_model", model, record)
    infer(checkpoint, [files], tmp_path / "one.json")
    infer(tmp_path / "best_model", [files], tmp_path / "other.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "other.json").read_bytes()


def test_other_logs_are_refused_and_nothing_is_written(
    checkpoint: Path, write: Write, tmp_path: Path
) -> None:
    file = write("sessions/preprocessed_logs_2025-04-03.json", [["a", "b"], ["c", "d"]])
    output = tmp_path / "results.json"
    with pytest.raises(CheckpointError, match="another vocabulary"):
        infer(checkpoint, [file], output)
    assert not output.exists()
    assert not meta_path(output).exists()
    summary = infer(checkpoint, [file], output, allow_unknown=True)
    assert summary.sessions == len(read(output)) == 2


def test_what_keeps_an_inference_from_working_is_one_sentence(
    checkpoint: Path, model: MaskedModel, record: ModelRecord, files: Path, tmp_path: Path
) -> None:
    output = tmp_path / "results.json"
    plain = tmp_path / "plain.pt"
    save_model(plain, model, msgspec.structs.replace(record, calibration=None))
    (tmp_path / "a_file").write_text("")
    with pytest.raises(CheckpointError, match=r"plain\.pt has no calibration"):
        infer(plain, [files], output)
    save_model(plain, model, msgspec.structs.replace(record, normals=None))
    with pytest.raises(CheckpointError, match="no calibration"):
        infer(plain, [files], output)
    with pytest.raises(CheckpointError, match="no such file"):
        infer(tmp_path / "nowhere", [files], output)
    with pytest.raises(DataError, match="nowhere"):
        infer(checkpoint, [tmp_path / "nowhere"], output)
    with pytest.raises(StorageError, match="cannot write"):
        infer(checkpoint, [files], tmp_path / "a_file" / "results.json")
    assert not output.exists()


def test_its_phases_are_told_to_their_ends(checkpoint: Path, files: Path, tmp_path: Path) -> None:
    seen: dict[str, list[tuple[int, int]]] = defaultdict(list)
    infer(
        checkpoint,
        [files],
        tmp_path / "results.json",
        report=lambda phase, done, total: seen[phase].append((done, total)),
    )
    assert list(seen) == ["reading", "scoring", "writing"]
    for steps in seen.values():
        assert steps[-1][0] == steps[-1][1] > 0
        assert steps == sorted(steps)


def test_results_take_the_place_of_results_and_of_nothing_else(
    checkpoint: Path, files: Path, tmp_path: Path
) -> None:
    before = checkpoint.read_bytes()
    with pytest.raises(DataError, match="holds no results"):
        infer(checkpoint, [files], checkpoint)
    assert checkpoint.read_bytes() == before
    link = tmp_path / "link.json"
    link.hardlink_to(next(files.iterdir()))
    with pytest.raises(DataError, match="another name of an input"):
        infer(checkpoint, [files], link)
    infer(checkpoint, [files], tmp_path / "results.json")
    infer(checkpoint, [files], tmp_path / "results.json")
