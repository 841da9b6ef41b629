from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from logbert_engine.presets.runfile import read_config
from logbert_engine.presets.stages import plan_stages
from logbert_engine.protocol.errors import DataError, LogbertError, PresetError, RunError, StorageError
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.rundir.layout import RunLayout, StageLayout
from logbert_engine.training.plan import resume_point
from logbert_engine.training.prepare import prepare

Request = Callable[..., RunSpec]
CompleteStage = Callable[..., StageLayout]


def ratios(run: RunLayout) -> list[float]:
    return [plan.ratio for plan in plan_stages(read_config(run).stages)]


def refused(spec: RunSpec, kind: type[LogbertError]) -> str:
    """The sentence with which a request is refused."""
    with pytest.raises(kind) as caught:
        prepare(spec)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_request_becomes_a_run_directory_that_a_worker_can_take(
    request_for: Request, run: RunLayout, data: Path
) -> None:
    assert prepare(request_for(max_ratio=0.3, seed=5)) == run
    config = read_config(run)
    assert (config.preset, config.data.path, config.seed) == ("test", str(data), 5)
    assert ratios(run) == [0.1, 0.2, 0.3]
    assert sorted(path.name for path in run.root.iterdir()) == ["lock", "run.yaml"]


def test_a_relative_run_directory_counts_from_here(
    request_for: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert prepare(request_for(run_dir="some/where")).root == tmp_path / "some" / "where"


def test_data_that_is_not_there_is_refused(request_for: Request, tmp_path: Path, run: RunLayout) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("no sessions")
    assert str(tmp_path / "nowhere") in refused(request_for(data=str(tmp_path / "nowhere")), DataError)
    assert str(empty) in refused(request_for(data=str(empty)), DataError)
    refused(request_for(data=""), PresetError)
    assert not run.root.exists()


def test_presets_that_cannot_be_trained_are_refused(request_for: Request, run: RunLayout) -> None:
    assert "tset" in refused(request_for(preset="tset"), PresetError)
    assert "is a decoder" in refused(request_for(preset="m4max-medium", progressive=None), PresetError)
    assert not run.root.exists()


@pytest.mark.parametrize(
    "changed",
    [
        {"start_ratio": 0.6, "max_ratio": 0.5},
        {"step_size": 0.0},
        {"step_size": 1e-9},
        {"max_ratio": 1.5},
        {"sample_ratio": 0.0},
        {"epochs_per_stage": 0},
        {"overrides": ["training.batch=no"]},
        {"overrides": ["training.bacth=3"]},
        {"overrides": ["training.batch"]},
    ],
)
def test_values_that_do_not_hold_are_refused(
    request_for: Request, run: RunLayout, changed: dict[str, object]
) -> None:
    refused(request_for(**changed), PresetError)
    assert not run.root.exists()


def test_a_run_directory_that_cannot_be_one_is_refused(request_for: Request, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert f"{file} is a file" in refused(request_for(run_dir=str(file)), RunError)
    refused(request_for(run_dir=str(file / "run")), StorageError)
    refused(request_for(run_dir="~nobody-of-that-name/run"), LogbertError)
    assert file.read_text() == "mine"


def test_a_run_directory_that_a_worker_holds_is_refused(request_for: Request, run: RunLayout) -> None:
    prepare(request_for())
    hold = (
        "import sys; from pathlib import Path; from logbert_engine.rundir.layout import RunLayout\n"
        "from logbert_engine.rundir.lock import held\n"
        "with held(RunLayout(Path(sys.argv[1]))): print('held', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", hold, str(run.root)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "held\n"
        message = refused(request_for(), RunError)
        assert f"is held by process {worker.pid} on " in message
        worker.communicate("")
    assert worker.returncode == 0
    assert prepare(request_for()) == run


def test_other_training_settings_hold_for_the_stages_that_are_not_complete(
    request_for: Request, run: RunLayout, complete_stage: CompleteStage
) -> None:
    prepare(request_for())
    complete_stage("stage_1_10pct", 0.1)
    lower = ["training.learning_rate=1e-5", "training.save_minutes=1", "workers.nproc=2"]
    prepare(request_for(overrides=lower))
    config = read_config(run)
    assert (config.training.learning_rate, config.workers.nproc) == (1e-5, 2)
    point = resume_point(run, config.stages)
    assert point.next is not None
    assert point.next.index == 2


def test_the_same_command_twice_goes_on_with_the_run(request_for: Request, run: RunLayout) -> None:
    prepare(request_for(max_ratio=0.3))
    before = run.config.read_bytes()
    prepare(request_for(max_ratio=0.3))
    assert run.config.read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"seed": 6}, "seed"),
        ({"sample_ratio": 0.5}, "data"),
        ({"overrides": ["model.hidden=128"]}, "model"),
        ({"preset": "small"}, "preset, model"),
        ({"step_size": 0.2}, "stages"),
        ({"progressive": False}, "stages"),
        ({"start_ratio": 0.05}, "start ratio"),
    ],
)
def test_another_run_in_the_directory_is_refused_and_named(
    request_for: Request, run: RunLayout, changed: dict[str, object], named: str
) -> None:
    prepare(request_for())
    before = run.config.read_bytes()
    message = refused(request_for(**changed), RunError)
    assert "holds another run (it differs in" in message
    assert named in message
    assert f"logbert-engine resume {run.root}" in message
    assert run.config.read_bytes() == before


def test_a_higher_max_ratio_extends_a_run(
    request_for: Request, run: RunLayout, complete_stage: CompleteStage
) -> None:
    prepare(request_for(max_ratio=0.2))
    stages = [complete_stage("stage_1_10pct", 0.1), complete_stage("stage_2_20pct", 0.2)]
    prepare(request_for(max_ratio=0.5))
    assert ratios(run) == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert all(stage.best.read_bytes() == b"weights" for stage in stages)


def test_more_epochs_device_and_memory_may_change_between_attempts(
    request_for: Request, run: RunLayout
) -> None:
    prepare(request_for())
    prepare(request_for(epochs_per_stage=3, device="cpu", max_memory_mb=4096))
    config = read_config(run)
    assert (config.stages.epochs, config.device, config.memory.max_mb) == (3, "cpu", 4096)


def test_a_later_start_needs_the_stages_before_it(
    request_for: Request, run: RunLayout, complete_stage: CompleteStage
) -> None:
    prepare(request_for())
    complete_stage("stage_1_10pct", 0.1)
    message = refused(request_for(start_ratio=0.3), RunError)
    assert "stage_2_20pct" in message
    assert "start at 0.2" in message
    complete_stage("stage_2_20pct", 0.2)
    prepare(request_for(start_ratio=0.3))
    assert ratios(run)[0] == 0.1, "the numbers of the stages stay"


def test_a_new_run_may_start_anywhere(request_for: Request, run: RunLayout) -> None:
    prepare(request_for(start_ratio=0.5))
    assert ratios(run) == [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    prepare(request_for(start_ratio=0.5))


def test_stages_without_a_configuration_are_not_gone_on_with(
    request_for: Request, run: RunLayout, complete_stage: CompleteStage
) -> None:
    complete_stage("stage_1_10pct", 0.1)
    assert "no run.yaml" in refused(request_for(), RunError)


def test_a_damaged_configuration_is_refused_with_its_place(request_for: Request, run: RunLayout) -> None:
    prepare(request_for())
    run.config.write_text("preset: [test\n")
    assert str(run.config) in refused(request_for(), PresetError)
