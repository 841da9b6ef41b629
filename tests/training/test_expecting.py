"""What a run expects of itself, what its stages teach, and how both stand beside what it took."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from logbert_engine.data.inspect import inspect
from logbert_engine.estimates import machine
from logbert_engine.estimates.asking import this_machine
from logbert_engine.estimates.estimate import estimate
from logbert_engine.models.device import Compute
from logbert_engine.presets.runfile import read_config
from logbert_engine.protocol.errors import StorageError
from logbert_engine.protocol.events import EpochEnded, Expected, JournalEvent, Log, Metric, StageStarted
from logbert_engine.protocol.locations import state_dir
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.training import expecting
from logbert_engine.training import figures as figures_module
from logbert_engine.training.context import RunContext
from logbert_engine.training.figures import Figures
from logbert_engine.training.plan import StageMetrics, read_metrics
from logbert_engine.training.position import Position
from logbert_engine.training.prepare import prepare
from logbert_engine.training.recorder import Recorder
from logbert_engine.training.run import run_stages
from logbert_engine.training.team import Place, Team
from logbert_engine.training.wishes import Interrupted, Wishes

CPU = Compute(device=torch.device("cpu"), precision="fp32", name="CPU")
PAUSE = 1
"""The code of that wish."""
SMALL = {
    "training.batch": 8,
    "training.log_every": 5,
    "model.hidden": 64,
    "model.ffn": 128,
    "stages.progressive": "false",
    "stages.epochs": 4,
    "data.sample_ratio": 1.0,
}
TWO_STAGES = SMALL | {"stages.progressive": "true", "stages.start_ratio": 0.5, "stages.step_size": 0.5}


class Trained:
    """A run that was trained in this process."""

    def __init__(self, run: RunLayout) -> None:
        self.run, self.config = run, read_config(run)
        self.events: list[JournalEvent] = list(read_journal(run.journal))
        self.stages: list[StageMetrics] = [
            read_metrics(stage) for stage in run.stages() if stage.metrics.exists()
        ]

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


Train = Callable[..., Trained]


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Sessions of which hardly two are alike."""
    draw, folder = np.random.default_rng(5), tmp_path / "many"
    folder.mkdir()
    records = [
        {"session_id": i, "event_sequence": draw.integers(0, 30, 6 + i % 9).tolist()} for i in range(500)
    ]
    (folder / "preprocessed_logs_2025-03-01.json").write_text(json.dumps(records))
    return folder


@pytest.fixture
def train(many: Path, tmp_path: Path) -> Train:
    """``train(name, settings)``: a run to its end."""

    def go(name: str, settings: dict[str, Any] = SMALL) -> Trained:
        layout = RunLayout(tmp_path / name)
        overrides = [f"{key}={value}" for key, value in settings.items()]
        prepare(
            RunSpec(
                data=str(many), run_dir=str(layout.root), preset="demo", device="cpu", overrides=overrides
            )
        )
        recorder = Recorder(layout)
        try:
            team = Team(Place(), CPU.device)
            run_stages(layout, read_config(layout), CPU, recorder, Wishes(layout), team, 0)
        finally:
            recorder.close()
        return Trained(layout)

    return go


def test_a_run_says_what_it_will_take_before_its_first_stage(train: Train) -> None:
    found = train("run", TWO_STAGES)
    (expected,) = found.of(Expected)
    assert expected.seq < found.of(StageStarted)[0].seq
    assert [stage.stage for stage in expected.stages] == [1, 2]
    for stage in expected.stages:
        assert stage.step_s.origin == "computed"
        assert stage.step_s.low < stage.step_s.value < stage.step_s.high
        assert stage.seconds.value > stage.end_s > 0
        assert stage.memory.value > 100
    assert [metrics.expected for metrics in found.stages] == expected.stages


def test_the_next_estimate_is_measured_and_close_to_what_the_stage_took(train: Train, many: Path) -> None:
    train("cold", SMALL | {"stages.epochs": 1})
    found = train("warm")
    (stage,) = found.stages
    again = estimate(found.config, this_machine(), inspect(many))
    assert again.seconds is not None
    assert again.seconds.origin == "measured"
    assert again.seconds.value == pytest.approx(stage.seconds, rel=0.25)
    assert again.memory.origin == "measured"
    assert again.memory.value == pytest.approx(stage.peak_memory_mb, rel=0.05)
    later = train("later")
    (expected,) = later.of(Expected)
    assert expected.stages[0].seconds.origin == "measured"


def test_the_seconds_of_steps_and_of_validation_are_known_apart(train: Train) -> None:
    found = train("run")
    (stage,), ends = found.stages, found.of(EpochEnded)
    assert stage.steps_seconds is not None
    assert stage.validation_seconds is not None
    of_ends = sum(end.end_s for end in ends)
    assert stage.steps_seconds + of_ends == pytest.approx(stage.seconds, abs=0.05)
    assert 0 < stage.validation_seconds <= of_ends + 0.01
    assert all(0 < end.end_s <= end.seconds for end in ends)
    assert [epoch.end_s for epoch in stage.epochs] == [end.end_s for end in ends]
    told = [metric.steps_s for metric in found.of(Metric)]
    assert told == sorted(told)
    assert told[-1] == pytest.approx(stage.steps_seconds, abs=0.05)


def test_results_and_summary_set_what_was_documented_estimated_and_measured_side_by_side(
    train: Train,
) -> None:
    found = train("run", TWO_STAGES)
    plain = json.loads(found.run.results.read_text())
    run, *stages = plain["comparisons"]
    assert [row["name"] for row in (run, *stages)] == ["run", *(stage.name for stage in found.stages)]
    assert run["seconds"]["documented"] == found.config.documented.get("time", "")
    assert run["seconds"]["actual"] == pytest.approx(plain["total_seconds"])
    estimated = sum(stage["seconds"]["estimated"]["value"] for stage in stages)
    assert run["seconds"]["estimated"]["value"] == pytest.approx(estimated)
    assert run["seconds"]["off"] == pytest.approx(plain["total_seconds"] / estimated, abs=0.001)
    assert stages[0]["memory_mb"]["actual"] == found.stages[0].peak_memory_mb
    summary = found.run.summary.read_text()
    for word in ("documented", "estimated", "actual", "× the estimate", "computed"):
        assert word in summary


def test_figures_of_before_there_were_expectations_are_read(complete_stage: Callable[..., Any]) -> None:
    stage = complete_stage("stage_1_10pct", 0.1)
    plain = json.loads(stage.metrics.read_text())
    for name in ("expected", "micro_batch", "steps_seconds", "validation_seconds"):
        del plain[name]
    for epoch in plain["epochs"]:
        del epoch["end_s"]
    stage.metrics.write_text(json.dumps(plain))
    found = read_metrics(stage)
    assert (found.expected, found.steps_seconds, found.epochs[0].end_s) == (None, None, None)


def test_a_stage_whose_micro_batch_was_halved_teaches_what_that_took(train: Train) -> None:
    (stage,) = train("run", SMALL | {"memory.max_mb": 1.0}).stages
    (kept,) = state_dir().glob("measured-*.json")
    (measured,) = json.loads(kept.read_text())["measured"]
    assert (stage.micro_batch, measured["micro_batch"], measured["accumulates"]) == (4, 4, True)
    assert measured["source"] == "stage"
    step_s = 2 * measured["micro_s"]
    assert step_s == pytest.approx(stage.steps_seconds / stage.steps, rel=0.5)


def _a_folder(path: Path) -> None:
    path.mkdir()


def _nonsense(path: Path) -> None:
    path.write_bytes(path.with_suffix(".kept").read_bytes().replace(b'"micro_s":', b'"micro_s":-'))


@pytest.mark.parametrize("damage", [_a_folder, _nonsense, lambda path: path.write_bytes(b"\xff\x00{")])
def test_what_was_learned_may_be_damaged_and_the_run_goes_on(
    train: Train, damage: Callable[[Path], None]
) -> None:
    quick = SMALL | {"stages.epochs": 1}
    train("first", quick)
    (kept,) = state_dir().glob("measured-*.json")
    kept.rename(kept.with_suffix(".kept"))
    damage(kept)
    found = train("second", quick)
    assert len(found.stages) == 1
    assert found.of(Expected)[0].stages[0].step_s.origin == "computed"


def test_a_device_whose_speed_is_not_known_leaves_the_time_open(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "speed_of", lambda *_: None)
    found = train("run", SMALL | {"stages.epochs": 1})
    (expected,) = found.of(Expected)
    assert (expected.stages[0].step_s, expected.stages[0].seconds) == (None, None)
    assert expected.stages[0].memory.value > 100


def test_a_machine_that_cannot_be_probed_costs_the_expectation_alone(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise StorageError("no free space is told.")

    monkeypatch.setattr(expecting, "this_machine", refuse)
    found = train("run", SMALL | {"stages.epochs": 1})
    assert found.of(Expected) == []
    assert found.stages[0].expected is None
    assert any("cannot be said: no free space is told." in log.message for log in found.of(Log))


class _Clock:
    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        patch.setattr(figures_module, "time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    return _Clock(monkeypatch)


def test_neither_a_pause_nor_what_comes_between_steps_is_training_time(clock: _Clock) -> None:
    position, plan = Position(), cast("Any", None)
    first = Figures(cast("RunContext", None), plan, 0)
    first.start_clock(position)
    clock.now = 10.0
    first.stop_clock(position)
    clock.now = 25.0  # a validation that a pause interrupts
    first.stop_clock(position)
    assert (position.seconds, position.steps_s, position.epoch_seconds) == (10.0, 10.0, 10.0)
    clock.now = 5000.0
    second = Figures(cast("RunContext", None), plan, 0)
    clock.now = 5100.0
    second.start_clock(position)
    clock.now = 5104.0
    second.stop_clock(position)
    assert (position.seconds, position.steps_s) == (14.0, 14.0)


def test_time_between_two_attempts_does_not_count(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        codes = iter([0] * 40 + [PAUSE])
        patch.setattr(Wishes, "code", lambda _self: next(codes, 0))
        with pytest.raises(Interrupted):
            train("run")
    away = SimpleNamespace(monotonic=lambda: time.monotonic() + 5000.0)
    with monkeypatch.context() as patch:
        patch.setattr(figures_module, "time", away)
        found = train("run")
    assert len(found.of(Expected)) == 2
    seconds = [metric.stage_s for metric in found.of(Metric)]
    assert seconds == sorted(seconds), "the second attempt counts on"
    assert found.stages[0].seconds < 1000.0
