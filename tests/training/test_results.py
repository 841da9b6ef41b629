from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import pytest

from logbert_engine.presets.merging import resolve
from logbert_engine.presets.stages import plan_stages
from logbert_engine.presets.types import RunConfig
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.rundir.layout import RunLayout, StageLayout
from logbert_engine.training.results import (
    RunResults,
    collect,
    duration,
    read_results,
    summary_text,
    write_results,
)

CompleteStage = Callable[..., StageLayout]


@pytest.fixture
def config(request_for: Callable[..., RunSpec]) -> RunConfig:
    return resolve(request_for(max_ratio=0.3))


def results(run: RunLayout, config: RunConfig) -> RunResults:
    return collect(run, config, plan_stages(config.stages))


def test_results_sum_up_the_complete_stages(
    run: RunLayout, config: RunConfig, complete_stage: CompleteStage
) -> None:
    complete_stage("stage_1_10pct", 0.1, valid_loss=0.5, peak_memory_mb=700.0)
    complete_stage("stage_2_20pct", 0.2, valid_loss=0.25, peak_memory_mb=None)
    found = results(run, config)
    assert (found.planned_stages, found.completed_stages) == (3, 2)
    assert (found.best_stage, found.best_valid_loss) == ("stage_2_20pct", 0.25)
    assert (found.total_seconds, found.peak_memory_mb) == (123.0, 700.0)
    assert [stage.name for stage in found.stages] == ["stage_1_10pct", "stage_2_20pct"]


def test_a_loss_of_zero_is_the_lowest_and_no_loss_is_none(
    run: RunLayout, config: RunConfig, complete_stage: CompleteStage
) -> None:
    complete_stage("stage_1_10pct", 0.1, valid_loss=None)
    assert results(run, config).best_stage is None
    complete_stage("stage_2_20pct", 0.2, valid_loss=0.0)
    complete_stage("stage_3_30pct", 0.3, valid_loss=0.1)
    assert results(run, config).best_stage == "stage_2_20pct"


def test_stages_that_are_not_in_the_plan_are_left_out(
    run: RunLayout, config: RunConfig, complete_stage: CompleteStage
) -> None:
    complete_stage("stage_4_35pct", 0.35)
    assert results(run, config).stages == []


def test_both_files_are_written_and_read_back(
    run: RunLayout, config: RunConfig, complete_stage: CompleteStage
) -> None:
    assert read_results(run) is None
    complete_stage("stage_1_10pct", 0.1)
    written = write_results(run, config, plan_stages(config.stages))
    assert read_results(run) == written
    plain = json.loads((run.root / "progressive_training_results.json").read_text())
    assert plain["completed_stages"] == 1
    assert plain["stages"][0]["best_valid_loss"] == 0.5
    assert (run.root / "progressive_training_summary.txt").read_text() == summary_text(written)


def test_the_summary_is_a_table_of_stages_for_people(
    run: RunLayout, config: RunConfig, complete_stage: CompleteStage
) -> None:
    complete_stage("stage_1_10pct", 0.1)
    complete_stage("stage_2_20pct", 0.2, valid_loss=None, train_loss=None, peak_memory_mb=None)
    text = summary_text(results(run, config))
    lines = text.splitlines()
    assert "2 of 3 stages complete in 2 min 03 s" in lines[1]
    table = lines[3:7]
    assert [line.split()[:2] for line in table[2:]] == [["stage_1_10pct", "10%"], ["stage_2_20pct", "20%"]]
    assert table[2].split()[2:] == [
        "1,234",
        "56",
        "78",
        "0.7500",
        "0.5000",
        "1",
        "min",
        "02",
        "s",
        "512",
        "MB",
    ]
    assert len({len(line) for line in (table[0], table[1], table[2])}) == 1
    assert "lowest validation loss: 0.5000 at stage_1_10pct" in text
    assert "theirs, not measured" in text


def test_a_preset_without_expectations_and_a_run_without_stages_have_a_summary(
    run: RunLayout, config: RunConfig
) -> None:
    text = summary_text(results(run, msgspec.structs.replace(config, documented={})))
    assert "0 of 3 stages complete in 0.0 s" in text
    assert "documents" not in text
    assert "lowest" not in text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.5, "9.5 s"),
        (42.4, "42 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (3900, "1 h 05 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_durations_read_as_people_write_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("losses", "enough"),
    [
        ((0.5, 0.4, 0.3), None),
        ((0.5, 0.4, 0.399), "stage_2_20pct"),
        ((0.5, 0.499, 0.6), "stage_1_10pct"),
        ((0.5, 0.6, 0.4), None),
    ],
)
def test_the_stage_after_which_more_sessions_did_not_help_is_named(
    run: RunLayout,
    config: RunConfig,
    complete_stage: CompleteStage,
    losses: tuple[float, ...],
    enough: str | None,
) -> None:
    for i, loss in enumerate(losses, 1):
        complete_stage(f"stage_{i}_{i}0pct", i / 10, valid_loss=loss)
    found = results(run, config)
    assert found.enough == enough
    said = "more sessions lowered the validation loss by less than 1%"
    assert (f"after {enough} {said}" in summary_text(found)) == (enough is not None)
