from __future__ import annotations

import subprocess
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.models.checkpoint import find_checkpoint
from logbert_engine.presets.merging import resolve
from logbert_engine.presets.types import Stages
from logbert_engine.protocol.errors import PresetError, RunError
from logbert_engine.protocol.events import StagePlan
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.rundir.checksums import SUMS, read_sums, record_digest, sha256_of
from logbert_engine.rundir.layout import RunLayout, StageLayout
from logbert_engine.training.origin import origin, record_origin, settings_digest
from logbert_engine.training.plan import (
    complete,
    parent_of,
    plan_stages,
    read_metrics,
    resume_point,
    write_metrics,
)

CompleteStage = Callable[..., StageLayout]


def plan(start: float = 0.1, step: float = 0.1, most: float = 1.0, epochs: int = 2) -> list[StagePlan]:
    return plan_stages(Stages(start_ratio=start, step_size=step, max_ratio=most, epochs=epochs))


def test_ten_steps_of_a_tenth_have_the_documents_names() -> None:
    assert [p.name for p in plan()] == [
        "stage_1_10pct",
        "stage_2_20pct",
        "stage_3_30pct",
        "stage_4_40pct",
        "stage_5_50pct",
        "stage_6_60pct",
        "stage_7_70pct",
        "stage_8_80pct",
        "stage_9_90pct",
        "stage_10_100pct",
    ]
    assert [p.ratio for p in plan()] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert {p.epochs for p in plan(epochs=3)} == {3}


@pytest.mark.parametrize(
    ("start", "step", "most", "ratios"),
    [
        (0.1, 0.1, 0.1, [0.1]),
        (0.1, 0.1, 0.35, [0.1, 0.2, 0.3, 0.35]),
        (0.5, 0.1, 1.0, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        (0.1, 0.3, 1.0, [0.1, 0.4, 0.7, 1.0]),
        (0.1, 1.0, 1.0, [0.1, 1.0]),
        (0.3, 0.7, 0.9999, [0.3, 0.9999]),
        (0.01, 0.03, 0.1, [0.01, 0.04, 0.07, 0.1]),
    ],
)
def test_the_last_stage_has_the_highest_share_whether_a_step_meets_it_or_not(
    start: float, step: float, most: float, ratios: list[float]
) -> None:
    assert [p.ratio for p in plan(start, step, most)] == ratios


@given(st.floats(0.001, 1.0), st.floats(0.002, 1.0), st.floats(0.001, 1.0))
def test_shares_rise_from_the_start_to_the_end_in_numbered_stages(
    start: float, step: float, most: float
) -> None:
    if start > most:
        return
    plans = plan(start, step, most)
    ratios = [p.ratio for p in plans]
    assert ratios == sorted(set(ratios))
    assert ratios[0] == pytest.approx(start, abs=1e-6)
    assert ratios[-1] == pytest.approx(most, abs=2e-6)
    assert [p.index for p in plans] == list(range(1, len(plans) + 1))
    assert len({p.name for p in plans}) == len(plans)


def test_without_progression_there_is_one_stage() -> None:
    (only,) = plan_stages(Stages(progressive=False, start_ratio=0.1, max_ratio=0.4, epochs=5))
    assert (only.name, only.ratio, only.epochs) == ("stage_1_40pct", 0.4, 5)


def test_a_start_above_the_end_is_refused() -> None:
    with pytest.raises(PresetError, match=r"start ratio 0\.6 is above max ratio 0\.5"):
        plan(start=0.6, most=0.5)


def test_steps_too_small_to_count_are_refused_at_once() -> None:
    with pytest.raises(PresetError, match=r"step size 1e-09 makes 900,000,001 stages.*--step-size"):
        plan(step=1e-9)


STAGES = Stages(max_ratio=0.3)


def test_a_new_run_begins_at_its_first_stage(run: RunLayout) -> None:
    point = resume_point(run, STAGES)
    assert point.next is not None
    assert (point.next.name, point.done, point.in_mid_stage) == ("stage_1_10pct", [], False)
    assert point.in_words() == "stage_1_10pct, from its beginning"


def test_an_exact_state_is_gone_on_from(run: RunLayout) -> None:
    resume = run.stage("stage_1_10pct").resume
    resume.parent.mkdir(parents=True)
    resume.write_bytes(b"state")
    point = resume_point(run, STAGES)
    assert point.in_mid_stage
    assert point.in_words() == "stage_1_10pct, from its last saved state"


def test_an_exact_state_of_other_settings_is_not_promised(run: RunLayout) -> None:
    stage = run.stage("stage_1_10pct")
    config = resolve(RunSpec(data="/sessions", run_dir=str(run.root), preset="test"))
    stage.checkpoints.mkdir(parents=True)
    stage.resume.write_bytes(b"state")
    record_origin(stage, origin(stage.name, config, "sessions", "new"))
    kept = resume_point(run, STAGES, settings_digest(config))
    assert (kept.in_mid_stage, kept.in_words()) == (True, "stage_1_10pct, from its last saved state")
    changed = msgspec.structs.replace(config, stages=msgspec.structs.replace(config.stages, epochs=7))
    lost = resume_point(run, STAGES, settings_digest(changed))
    assert not lost.in_mid_stage
    assert lost.in_words() == "stage_1_10pct, from its beginning (its saved state is of other settings)"


def test_after_complete_stages_the_next_starts_from_the_best_model(
    run: RunLayout, complete_stage: CompleteStage
) -> None:
    first = complete_stage("stage_1_10pct", 0.1)
    point = resume_point(run, STAGES)
    assert point.next is not None
    assert (point.next.name, point.done) == ("stage_2_20pct", [first])
    assert point.in_words() == "stage_2_20pct, from the best model of stage_1_10pct"


def test_a_stage_without_its_figures_or_its_model_is_not_complete(
    run: RunLayout, complete_stage: CompleteStage
) -> None:
    first, second = complete_stage("stage_1_10pct", 0.1), complete_stage("stage_2_20pct", 0.2)
    second.metrics.unlink()
    assert complete(first)
    assert not complete(second)
    assert resume_point(run, STAGES).done == [first]
    first.best.unlink()
    assert not complete(first)
    assert resume_point(run, STAGES).in_words() == "stage_1_10pct, from its beginning"


def test_a_run_whose_stages_are_all_complete_has_nothing_to_resume(
    run: RunLayout, complete_stage: CompleteStage
) -> None:
    for name, ratio in (("stage_1_10pct", 0.1), ("stage_2_20pct", 0.2), ("stage_3_30pct", 0.3)):
        complete_stage(name, ratio)
    point = resume_point(run, STAGES)
    assert point.next is None
    assert point.in_words() == "all stages are complete"
    extended = resume_point(run, Stages(max_ratio=0.4))
    assert extended.in_words() == "stage_4_40pct, from the best model of stage_3_30pct"


def test_a_state_left_by_a_complete_stage_is_passed_over(
    run: RunLayout, complete_stage: CompleteStage
) -> None:
    complete_stage("stage_1_10pct", 0.1).resume.write_bytes(b"state")
    assert resume_point(run, STAGES).in_words().startswith("stage_2_20pct, from the best model")


def test_a_stage_starts_from_the_last_complete_one_before_it(
    run: RunLayout, complete_stage: CompleteStage
) -> None:
    plans = plan()
    assert parent_of(run, plans[0]) is None
    first, ninth = complete_stage("stage_1_10pct", 0.1), complete_stage("stage_9_90pct", 0.9)
    complete_stage("stage_10_100pct", 1.0)
    run.stage("stage_5_50pct").checkpoints.mkdir(parents=True)
    assert parent_of(run, plans[0]) is None
    assert parent_of(run, plans[1]) == parent_of(run, plans[5]) == first
    assert parent_of(run, plans[9]) == ninth


@pytest.mark.parametrize("lower", range(30, 40))
def test_an_extended_run_starts_from_the_larger_of_two_stages_of_one_number(
    run: RunLayout, complete_stage: CompleteStage, lower: int
) -> None:
    for percent in (lower, lower + 1):  # a folder lists one of these pairs with the lower first
        complete_stage(f"stage_4_{percent}pct", percent / 100)
    assert parent_of(run, plan()[4]) == run.stage(f"stage_4_{lower + 1}pct")
    assert find_checkpoint(run.root) == run.stage(f"stage_4_{lower + 1}pct").best


def test_figures_are_read_back_as_written(complete_stage: CompleteStage) -> None:
    stage = complete_stage("stage_2_20pct", 0.2, valid_loss=None, train_loss=None)
    metrics = read_metrics(stage)
    assert (metrics.stage, metrics.ratio, metrics.best_valid_loss) == (2, 0.2, None)
    assert metrics.figures == {"step": [1], "loss": [0.75], "lr": [0.001]}


def test_the_state_before_the_last_is_enough_to_go_on(run: RunLayout) -> None:
    previous = run.stage("stage_1_10pct").resume_previous
    previous.parent.mkdir(parents=True)
    previous.write_bytes(b"state")
    assert resume_point(run, STAGES).in_mid_stage


def test_written_figures_are_listed_with_the_checkpoints(complete_stage: CompleteStage) -> None:
    stage = complete_stage("stage_2_20pct", 0.2)
    metrics = msgspec.structs.replace(read_metrics(stage), sha256=sha256_of(stage.best))
    record_digest(stage.best, metrics.sha256)
    for seconds in (1.5, 2.5):
        written = msgspec.structs.replace(metrics, seconds=seconds)
        write_metrics(stage, written)
        assert read_metrics(stage) == written
    assert set(read_sums(stage.checkpoints)) == {"best_model.pt", "../training_metrics.json"}
    words = ["sha256sum", "--check", "--strict", SUMS]
    assert subprocess.run(words, cwd=stage.checkpoints, check=False).returncode == 0


def test_figures_are_refused_that_are_damaged_or_do_not_belong_to_the_stage(
    complete_stage: CompleteStage,
) -> None:
    stage = complete_stage("stage_2_20pct", 0.2)
    metrics = read_metrics(stage)
    write_metrics(stage, metrics)
    content = stage.metrics.read_bytes()
    stage.metrics.write_bytes(content.replace(b"0.75", b"0.25"))
    with pytest.raises(RunError, match=r"training_metrics\.json is damaged; remove it, and a resume trains"):
        read_metrics(stage)
    stage.metrics.write_bytes(content)
    record_digest(stage.best, "1" * 64)
    with pytest.raises(RunError, match=r"is not that of .*best_model\.pt"):
        read_metrics(stage)
    write_metrics(stage, msgspec.structs.replace(metrics, name="stage_1_10pct"))
    with pytest.raises(RunError, match=r"is that of stage_1_10pct"):
        read_metrics(stage)
    stage.metrics.unlink()
    with pytest.raises(RunError, match="cannot read the figures of"):
        read_metrics(stage)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 9999])
def test_figures_of_an_older_version_are_refused_only_where_they_cannot_be_read(
    complete_stage: CompleteStage, content: bytes
) -> None:
    stage = complete_stage("stage_2_20pct", 0.2)
    assert not (stage.checkpoints / SUMS).exists()
    assert read_metrics(stage).name == stage.name
    stage.metrics.write_bytes(content)
    with pytest.raises(RunError, match="is damaged"):
        read_metrics(stage)
