"""What is mended, besides the damages of tests/faults."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from logbert_engine.presets.stages import plan_stages
from logbert_engine.presets.types import Stages
from logbert_engine.protocol.errors import StorageError
from logbert_engine.rundir.checksums import SUMS, admit_digest, read_sums, remove_checked, sums_are_whole
from logbert_engine.rundir.layout import RunLayout, StageLayout
from logbert_engine.training.mending import mend
from logbert_engine.training.plan import complete, resume_point
from tests.faults.models import EPOCHS, complete_stage, save_state, seed_of_stage

STAGES = Stages(max_ratio=0.2)
PLANS = plan_stages(STAGES)
Damage = Callable[[StageLayout], None]


@pytest.fixture
def run(tmp_path: Path) -> RunLayout:
    """Two complete stages."""
    layout = RunLayout(tmp_path / "run")
    for seed, plan in enumerate(PLANS, start=3):
        complete_stage(layout.stage(plan.name), seed)
    return layout


@pytest.fixture
def second(run: RunLayout) -> StageLayout:
    return run.stage("stage_2_20pct")


def test_a_run_that_has_not_begun_needs_no_mending(tmp_path: Path) -> None:
    assert mend(RunLayout(tmp_path / "nowhere"), PLANS) == []
    (tmp_path / "run" / "stage_1_10pct" / "logs").mkdir(parents=True)
    assert mend(RunLayout(tmp_path / "run"), PLANS) == []


def test_a_save_that_was_cut_off_is_no_damage(run: RunLayout, second: StageLayout) -> None:
    """Then two digests are recorded of a file, which has one of them."""
    for path in (second.best, second.metrics):
        admit_digest(path, "0" * 64, second.checkpoints)
    assert mend(run, PLANS) == []
    assert {len(digests) for digests in read_sums(second.checkpoints).values()} == {1}


@pytest.mark.parametrize("name", ["best_model.pt", "best_model"])
def test_what_is_missing_is_put_back(run: RunLayout, second: StageLayout, name: str) -> None:
    path = second.checkpoints / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    (said,) = mend(run, PLANS)
    assert str(path) in said
    assert complete(second)
    assert seed_of_stage(second) == 4
    assert mend(run, PLANS) == []


@pytest.mark.parametrize(
    "name", ["best_model.pt", SUMS, "best_model/config.json", f"best_model/{SUMS}", "epoch_1.pt"]
)
def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(
    run: RunLayout, second: StageLayout, name: str
) -> None:
    path = second.checkpoints / name
    path.unlink()
    os.mkfifo(path)
    said = mend(run, PLANS)
    assert complete(second)
    assert seed_of_stage(second) == 4
    if name != "epoch_1.pt":  # which nothing needs any more
        assert said
        assert str(path) in said[0]
        assert path.is_file()
        assert mend(run, PLANS) == []


def test_a_list_of_digests_that_is_missing_is_written_anew(run: RunLayout, second: StageLayout) -> None:
    before = read_sums(second.checkpoints)
    (second.checkpoints / SUMS).unlink()
    said = mend(run, PLANS)
    assert str(second.checkpoints / SUMS) in said[0]
    assert read_sums(second.checkpoints) == before
    assert sums_are_whole(second.checkpoints)
    assert mend(run, PLANS) == []


def test_a_stage_that_is_not_in_the_plan_is_mended_or_set_aside_too(run: RunLayout) -> None:
    """A later stage may start from it, where a run that ended between two steps was extended."""
    between = run.stage("stage_2_15pct")
    complete_stage(between, 5)
    between.best.write_bytes(b"damaged")
    (said,) = mend(run, PLANS)
    assert "put back from epoch_2.pt" in said
    for path in (between.best, between.epoch(EPOCHS)):
        path.write_bytes(b"damaged")
    (said,) = mend(run, PLANS)
    assert said.endswith("stage_2_15pct is not used any more.")
    assert not complete(between)


def test_the_first_stage_is_trained_again_from_its_beginning(run: RunLayout) -> None:
    first = run.stage("stage_1_10pct")
    for path in (first.best, first.epoch(EPOCHS)):
        path.write_bytes(b"damaged")
    (said,) = mend(run, PLANS)
    assert said.endswith("stage_1_10pct is trained again, from its beginning.")
    assert (first.checkpoints / "best_model.pt.damaged").read_bytes() == b"damaged"
    assert resume_point(run, STAGES).next == PLANS[0]
    assert mend(run, PLANS) == []


def test_a_state_left_behind_does_not_bring_a_stage_back_that_is_set_aside(
    run: RunLayout, second: StageLayout
) -> None:
    save_state(second, 1)
    save_state(second, 2)
    for path in (second.best, second.epoch(EPOCHS)):
        path.write_bytes(b"damaged")
    mend(run, PLANS)
    point = resume_point(run, STAGES)
    assert (point.next, point.in_mid_stage) == (PLANS[1], False)


def test_a_stage_at_work_without_a_best_model_yet_is_left_alone(run: RunLayout, second: StageLayout) -> None:
    shutil.rmtree(second.root)
    save_state(second, 1)
    assert mend(run, PLANS) == []


def test_the_list_of_another_stage_is_not_believed_in_mid_stage(run: RunLayout, second: StageLayout) -> None:
    second.metrics.unlink()
    save_state(second, 1)
    first = run.stage("stage_1_10pct")
    shutil.copy(first.checkpoints / SUMS, second.checkpoints / SUMS)
    (said,) = mend(run, PLANS)
    assert "written anew" in said
    assert second.best.exists()
    assert second.resume.exists()
    assert mend(run, PLANS) == []


def test_a_directory_that_cannot_be_written_is_said(run: RunLayout, second: StageLayout) -> None:
    remove_checked(second.best)
    second.best.mkdir()
    with pytest.raises(StorageError, match=r"best_model\.pt"):
        mend(run, PLANS)
