"""Row 9: each file truncated, with a bit flipped, zeroed, or that of another stage. Found, named, one step back."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from logbert_engine.models.checkpoint import find_checkpoint, load_export, load_model
from logbert_engine.presets.merging import resolve
from logbert_engine.presets.runfile import write_config
from logbert_engine.presets.stages import plan_stages
from logbert_engine.presets.types import RunConfig
from logbert_engine.protocol.errors import CheckpointError, LogbertError
from logbert_engine.protocol.events import StagePlan
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.rundir.checksums import SUMS
from logbert_engine.rundir.layout import RunLayout, StageLayout
from logbert_engine.training.mending import mend
from logbert_engine.training.plan import complete, parent_of, read_metrics, resume_point
from logbert_engine.training.results import write_results
from tests.faults.damages import DAMAGES, cut, flip
from tests.faults.models import EPOCHS, complete_stage, read_state, save_state, seed_of, seed_of_stage

pytestmark = pytest.mark.row(9)

Seen = Callable[[str, object], None]


class Run:
    """A run of three stages: two complete ones, and one at work with two generations of its exact state."""

    def __init__(self, root: Path) -> None:
        self.run = RunLayout(root)
        spec = RunSpec(data="/data", run_dir=str(root), preset="test", progressive=True, max_ratio=0.3)
        self.config: RunConfig = resolve(spec)
        self.plans: list[StagePlan] = plan_stages(self.config.stages)
        self.first, self.second, self.third = (self.run.stage(plan.name) for plan in self.plans)

    def train(self) -> None:
        """Make all the files."""
        write_config(self.run, self.config)
        for seed, stage in ((3, self.first), (5, self.second)):
            complete_stage(stage, seed)
        write_results(self.run, self.config, self.plans)
        for step in (1, 2):
            save_state(self.third, step)

    def mend(self) -> list[str]:
        """What is said of the damage."""
        return mend(self.run, self.plans)

    def sound(self, stage: StageLayout, seed: int) -> None:
        """All of a stage is what training made it."""
        assert complete(stage)
        assert seed_of_stage(stage) == seed
        checked = subprocess.run(
            ["sha256sum", "--check", "--strict", SUMS],
            cwd=stage.checkpoints,
            capture_output=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Run(tmp_path_factory.mktemp("trained") / "run")
    made.train()
    return made.run.root


@pytest.fixture
def damaged(trained: Path, tmp_path: Path) -> Callable[[str, str], Run]:
    """``damaged(path, damage)``: a copy of the run in which a file of the second stage is damaged."""

    def do(path: str, damage: str) -> Run:
        copy = Run(tmp_path / "run")
        shutil.rmtree(copy.run.root, ignore_errors=True)
        shutil.copytree(trained, copy.run.root)
        DAMAGES[damage](copy.second.root / path, copy.first.root / path)
        return copy

    return do


def test_an_undamaged_run_is_left_as_it_is(trained: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    assert Run(trained).mend() == []
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_best_model_is_named_and_put_back_from_its_epoch(
    damaged: Callable[[str, str], Run], damage: str
) -> None:
    run = damaged("checkpoints/best_model.pt", damage)
    with pytest.raises(CheckpointError, match=r"best_model\.pt is damaged"):
        load_model(run.second.best)
    (said,) = run.mend()
    assert said.startswith(f"{run.second.best} is damaged")
    assert "put back from epoch_2.pt" in said
    run.sound(run.second, 5)
    assert run.mend() == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_best_model_without_another_copy_takes_the_run_one_stage_back(
    damaged: Callable[[str, str], Run], damage: str
) -> None:
    run = damaged("checkpoints/best_model.pt", damage)
    DAMAGES[damage](run.second.epoch(EPOCHS), run.first.epoch(EPOCHS))
    (said,) = run.mend()
    assert said.startswith(f"{run.second.best} is damaged")
    assert "best_model.pt.damaged" in said
    assert said.endswith("stage_2_20pct is trained again, from the best model of stage_1_10pct.")
    point = resume_point(run.run, run.config.stages)
    assert point.next == run.plans[1]
    assert not point.in_mid_stage
    assert parent_of(run.run, run.plans[1]) == parent_of(run.run, run.plans[2]) == run.first
    assert find_checkpoint(run.run.root) == run.first.best
    complete_stage(run.second, 5)
    assert run.mend() == []
    run.sound(run.second, 5)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_model_of_an_epoch_is_named_and_never_put_in_the_place_of_the_best(
    damaged: Callable[[str, str], Run], damage: str
) -> None:
    run = damaged(f"checkpoints/epoch_{EPOCHS}.pt", damage)
    with pytest.raises(CheckpointError, match=r"epoch_2\.pt is damaged"):
        load_model(run.second.epoch(EPOCHS))
    assert run.mend() == []
    run.second.best.unlink()
    (said,) = run.mend()
    assert f"{run.second.best} is missing" in said
    assert not run.second.best.exists()


@pytest.mark.parametrize("damage", DAMAGES)
def test_figures_are_named_and_put_back_from_the_results_of_the_run(
    damaged: Callable[[str, str], Run], damage: str
) -> None:
    run = damaged("training_metrics.json", damage)
    before = read_metrics(run.first)
    with pytest.raises(LogbertError, match=r"training_metrics\.json is"):
        read_metrics(run.second)
    (said,) = run.mend()
    assert said.startswith(f"{run.second.metrics} is")
    assert said.endswith("put back from progressive_training_results.json.")
    run.sound(run.second, 5)
    assert read_metrics(run.first) == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_figures_without_another_copy_take_the_run_one_stage_back(
    damaged: Callable[[str, str], Run], damage: str
) -> None:
    run = damaged("training_metrics.json", damage)
    run.run.results.unlink()
    (said,) = run.mend()
    assert said.startswith(f"{run.second.metrics} is")
    assert "training_metrics.json.damaged" in said
    assert resume_point(run.run, run.config.stages).next == run.plans[1]


EXPORTED = [
    "config.json",
    "model.safetensors",
    "vocabulary.json",
    "calibration.json",
    "normals.safetensors",
    SUMS,
]


@pytest.mark.parametrize("name", EXPORTED)
def test_a_file_of_the_exported_folder_is_named_and_exported_again(
    damaged: Callable[[str, str], Run], name: str
) -> None:
    for damage in DAMAGES:
        run = damaged(f"checkpoints/best_model/{name}", damage)
        path = run.second.exported / name
        if path.read_bytes() == (run.first.exported / name).read_bytes() and damage == "of another stage":
            continue  # both stages have the same vocabulary
        with pytest.raises(CheckpointError) as caught:
            load_export(run.second.exported)
        assert str(path) in str(caught.value), damage
        (said,) = run.mend()
        assert str(path) in said
        assert said.endswith("best_model was exported again from best_model.pt.")
        run.sound(run.second, 5)


def test_an_exported_folder_of_another_stage_is_found(damaged: Callable[[str, str], Run]) -> None:
    run = damaged("checkpoints/best_model.pt", "of another stage")
    shutil.copy(run.second.epoch(EPOCHS), run.second.best)
    shutil.rmtree(run.second.exported)
    shutil.copytree(run.first.exported, run.second.exported)
    (said,) = run.mend()
    assert str(run.second.exported / SUMS) in said
    assert "exported again" in said
    run.sound(run.second, 5)
    shutil.rmtree(run.second.exported)
    (said,) = run.mend()
    assert "exported again" in said
    run.sound(run.second, 5)


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_list_of_checksums_is_named_and_made_again(
    damaged: Callable[[str, str], Run], damage: str
) -> None:
    run = damaged(f"checkpoints/{SUMS}", damage)
    weights = run.second.best.read_bytes()
    said = run.mend()
    assert said
    assert all(str(run.second.checkpoints) in sentence for sentence in said)
    assert run.second.best.read_bytes() == weights
    assert not list(run.run.root.rglob("*.damaged"))
    assert run.mend() == []
    read_metrics(run.second)
    assert seed_of(load_model(run.second.best)[0]) == 5
    load_export(run.second.exported)


def test_stages_whose_folders_were_exchanged_are_found(damaged: Callable[[str, str], Run]) -> None:
    run = damaged("checkpoints/best_model.pt", "of another stage")
    shutil.copy(run.second.epoch(EPOCHS), run.second.best)
    for one, other in ((run.first.root, run.second.root), (run.first.checkpoints, run.second.checkpoints)):
        aside = one.with_name("aside")
        one.rename(aside)
        other.rename(one)
        aside.rename(other)
        said = run.mend()
        assert len([sentence for sentence in said if "set aside" in sentence]) == 2, said
        assert resume_point(run.run, run.config.stages).next == run.plans[0]
        for seed, stage in ((3, run.first), (5, run.second)):
            shutil.rmtree(stage.root)
            complete_stage(stage, seed)


STATES = {"resume.pt": 1, "resume.previous.pt": 2}
"""Which step is found when the file is damaged."""


@pytest.mark.parametrize("name", STATES)
def test_an_exact_state_is_named_and_the_other_one_is_used(
    damaged: Callable[[str, str], Run], name: str
) -> None:
    for kind, damage in DAMAGES.items():
        run = damaged("training_metrics.json", "of another stage")
        path = run.third.checkpoints / name
        damage(path, run.second.best)
        step, problems = read_state(run.third)
        assert step == STATES[name], kind
        if name == "resume.pt":
            (said,) = problems
            assert str(path) in said
            assert said.endswith("; resume.previous.pt is used in its place")
        else:
            assert problems == []
        save_state(run.third, 3)
        assert read_state(run.third) == (3, [])


def test_two_damaged_states_are_both_named_and_none_is_used(damaged: Callable[[str, str], Run]) -> None:
    run = damaged("training_metrics.json", "of another stage")
    for name in STATES:
        flip(0.5)(run.third.checkpoints / name, run.second.best)
    with pytest.raises(CheckpointError) as caught:
        read_state(run.third)
    assert all(str(run.third.checkpoints / name) in str(caught.value) for name in STATES)


def test_a_damaged_state_never_becomes_the_one_before(damaged: Callable[[str, str], Run]) -> None:
    """Where a save was cut off, two digests are recorded, and the file is looked at before it is kept."""
    run = damaged("training_metrics.json", "of another stage")
    sums = run.third.checkpoints / SUMS
    sums.write_text(f"{'0' * 64}  resume.pt\n{sums.read_text()}")
    flip(0.5)(run.third.resume, run.second.best)
    save_state(run.third, 3)
    cut(0.5)(run.third.resume, run.second.best)
    assert read_state(run.third)[0] == 1


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_best_model_so_far_is_put_back_in_mid_stage(
    damaged: Callable[[str, str], Run], damage: str
) -> None:
    run = damaged("checkpoints/best_model.pt", damage)
    run.second.metrics.unlink()
    save_state(run.second, 4)
    (said,) = run.mend()
    assert said.startswith(f"{run.second.best} is damaged")
    assert "put back from epoch_2.pt" in said
    assert seed_of(load_model(run.second.best)[0]) == 5
    assert read_state(run.second)[0] == 4
    for path in (run.second.best, run.second.epoch(EPOCHS)):
        DAMAGES[damage](path, run.first.best if path == run.second.best else run.first.epoch(EPOCHS))
    (said,) = run.mend()
    assert "stage_2_20pct is trained again" in said
    assert not resume_point(run.run, run.config.stages).in_mid_stage


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["checkpoints/best_model.pt", "training_metrics.json", f"checkpoints/{SUMS}"]
)
def test_a_flipped_bit_anywhere_is_found(
    damaged: Callable[[str, str], Run], record_property: Seen, name: str
) -> None:
    run = damaged("checkpoints/best_model.pt", "of another stage")
    shutil.copy(run.second.epoch(EPOCHS), run.second.best)
    assert run.mend() == []
    path = run.second.root / name
    content = path.read_bytes()
    step = max(1, len(content) // 500)
    for place in range(0, len(content), step):
        broken = bytearray(content)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        said = run.mend()
        assert said, place
        assert all(str(run.second.root) in sentence for sentence in said)
        assert seed_of_stage(run.second) == 5
        assert path.read_bytes() == content or name.endswith(SUMS)
    record_property("flipped bits", len(range(0, len(content), step)))
