"""The preset for own logs, on real sessions: it beats simple rules, keeps its budget, and says why."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.shared, pytest.mark.slow, pytest.mark.timeout(3600)]
NORMAL_WEIGHT = "33.6"
"""The evaluation pool holds more anomalies than the stream; its normals stand for so many."""


def engine(*words: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "logbert_engine", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def pools(shared_data: Path) -> list[Path]:
    return [shared_data / "hdfs" / "eval_dated", shared_data / "hdfs" / "eval_bulk"]


@pytest.fixture(scope="module")
def trained(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on the 4,855 normals of the classic split, by the command alone."""
    run_dir = tmp_path_factory.mktemp("quick") / "run"
    engine(
        *("train", "--data", shared_data / "hdfs" / "train", "--max-files", "2", "--run-dir", run_dir),
        *("--preset", "quick", "--foreground"),
    )
    return run_dir


def evaluated(
    trained: Path, pools: list[Path], budget: str, normal_weight: str = NORMAL_WEIGHT
) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        engine(
            *("evaluate", "--checkpoint", trained, "--alert-budget", budget, "--json"),
            *("--normal-weight", normal_weight, "--input", *pools),
        )
    )
    return found


def test_the_default_budget_beats_every_simple_rule(trained: Path, pools: list[Path]) -> None:
    found = evaluated(trained, pools, "0.1%")
    everything = next(part for part in found["slices"] if part["name"] == "all")
    model = next(row["figures"] for row in everything["rows"] if row["detector"] == found["model"])
    assert found["floor_beaten"]
    assert model["f1"] >= 0.96
    assert model["average_precision"] >= 0.99


def test_the_share_of_later_normals_that_alarms_is_within_what_is_stated(
    trained: Path, pools: list[Path]
) -> None:
    found = evaluated(trained, pools[:1], "0.5%", normal_weight="1")
    everything = next(part for part in found["slices"] if part["name"] == "all")
    row = next(row for row in everything["rows"] if row["detector"] == found["model"])
    expected = found["expected"]
    assert expected["share"] <= 0.005
    assert expected["high"] <= 0.015, "a span so wide says nothing"
    assert expected["low"] <= row["figures"]["false_alarm_rate"] <= expected["high"]


def test_what_is_named_as_the_reason_is_what_makes_a_session_odd(
    trained: Path, pools: list[Path], tmp_path: Path
) -> None:
    """With what is named mended a session is less odd: the event that surprised most replaced by the one that was
    expected, or the count that is named made that of the ordinary sessions like it."""
    engine("infer", "--checkpoint", trained, "--input", pools[0], "--output", tmp_path / "before.json")
    alarms = [r for r in json.loads((tmp_path / "before.json").read_bytes()) if r["is_anomaly"]]
    replaced = [with_the_expected(alarm) for alarm in alarms]
    mended = [
        with_the_usual_count(alarm) if alarm["component"] in ("counts", "length") else events
        for alarm, events in zip(alarms, replaced, strict=True)
    ]
    for name, changed, measure in (("replaced", replaced, "anomaly_score"), ("mended", mended, "evidence")):
        sessions = [{"session_id": i, "event_sequence": events} for i, events in enumerate(changed)]
        (tmp_path / f"{name}.json").write_text(json.dumps(sessions))
        again = ("--input", tmp_path / f"{name}.json", "--output", tmp_path / f"{name}-after.json")
        engine("infer", "--checkpoint", trained, *again)
        after = {r["session_id"]: r for r in json.loads((tmp_path / f"{name}-after.json").read_bytes())}
        less_odd = sum(after[i][measure] < alarm[measure] for i, alarm in enumerate(alarms))
        assert len(alarms) > 100
        assert less_odd >= 0.9 * len(alarms), f"{name}: {less_odd} of {len(alarms)}"


def with_the_expected(alarm: dict[str, Any]) -> list[Any]:
    """Its events, the one that surprised most replaced."""
    top = alarm["highest"][0]
    instead = next((event for event, _ in top["expected"] if event != top["event"]), None)
    assert instead is not None, alarm
    events = list(alarm["event_sequence"])
    events[top["position"]] = instead
    return events


def with_the_usual_count(alarm: dict[str, Any]) -> list[Any]:
    """Its events, with as many of the first that is named as most ordinary sessions like it hold."""
    named = alarm["counts"][0]
    others = [event for event in alarm["event_sequence"] if event != named["event"]]
    return others + [named["event"]] * named["median"] or [named["event"]]
