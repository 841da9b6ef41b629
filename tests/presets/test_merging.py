"""A request becomes a configuration: preset, flags, overrides. Its command line repeats it."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logbert_engine.commands import train
from logbert_engine.presets.loading import load_preset, preset_names
from logbert_engine.presets.merging import FLAGS, command_line, resolve
from logbert_engine.presets.types import Encoder
from logbert_engine.protocol.errors import PresetError
from logbert_engine.protocol.messages import RunSpec


def spec(*overrides: str, **fields: Any) -> RunSpec:
    return RunSpec(**{"data": "/data", "run_dir": "/run", "overrides": list(overrides), **fields})


def refusal(*overrides: str, **fields: Any) -> str:
    with pytest.raises(PresetError) as caught:
        resolve(spec(*overrides, **fields))
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith((".", "?"))
    return message


@pytest.mark.parametrize("name", preset_names())
def test_without_flags_a_run_is_its_preset(name: str) -> None:
    preset, config = load_preset(name), resolve(spec(preset=name))
    assert config.preset == name
    assert config.data == msgspec.structs.replace(preset.data, path="/data")
    for part in ("model", "training", "stages", "memory", "device", "seed", "hardware", "documented"):
        assert getattr(config, part) == getattr(preset, part)


def test_each_flag_reaches_its_setting() -> None:
    config = resolve(
        spec(
            preset="full",
            progressive=True,
            pretrained="distilbert-base-uncased",
            start_ratio=0.2,
            step_size=0.3,
            max_ratio=0.8,
            epochs_per_stage=3,
            sample_ratio=0.5,
            max_files=7,
            max_memory_mb=4000,
            device="cpu",
            seed=5,
        )
    )
    stages = config.stages
    assert (stages.progressive, stages.start_ratio, stages.step_size, stages.max_ratio) == (
        True,
        0.2,
        0.3,
        0.8,
    )
    assert stages.epochs == 3
    assert isinstance(config.model, Encoder)
    assert (config.model.pretrained, config.model.architecture) == ("distilbert-base-uncased", "distilbert")
    assert (config.data.sample_ratio, config.data.max_files) == (0.5, 7)
    assert (config.memory.max_mb, config.device, config.seed) == (4000.0, "cpu", 5)


def test_overrides_win_over_flags_and_the_last_wins() -> None:
    config = resolve(spec("seed=1", "seed=2", "data.sample_ratio=2e-2", seed=9, sample_ratio=0.3))
    assert (config.seed, config.data.sample_ratio) == (2, 0.02)


@pytest.mark.parametrize(
    ("override", "part", "key", "value"),
    [
        ("training.learning_rate=2e-4", "training", "learning_rate", 2e-4),
        ("training.learning_rate = 1", "training", "learning_rate", 1.0),
        ("training.betas=[0.8, 0.9]", "training", "betas", (0.8, 0.9)),
        ("stages.progressive=false", "stages", "progressive", False),
        ("memory.max_mb=null", "memory", "max_mb", None),
        ("model.pretrained=null", "model", "pretrained", None),
        ("model.pretrained=123", "model", "pretrained", "123"),
        ("model.pretrained=a=b: #c", "model", "pretrained", "a=b: #c"),
        ("model.pretrained='null'", "model", "pretrained", "null"),
        ("training.precision=bf16", "training", "precision", "bf16"),
        ("data.templates=/t/vocabulary.csv", "data", "templates", "/t/vocabulary.csv"),
    ],
)
def test_an_override_is_read_as_the_type_it_sets(override: str, part: str, key: str, value: object) -> None:
    assert getattr(getattr(resolve(spec(override)), part), key) == value


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.hiden=3", '--set model.hiden=3: unknown key "hiden" in model; did you mean "hidden"?'),
        ("modle.hidden=3", '--set modle.hidden=3: unknown key "modle"; did you mean "model"?'),
        (
            "training.batch=many",
            '--set training.batch=many: training.batch is "many"; it must be a whole number, at least 1.',
        ),
        (
            "training.batch=0",
            "--set training.batch=0: training.batch is 0; it must be a whole number, at least 1.",
        ),
        (
            "training.betas=[0.9, 1]",
            "--set training.betas=[0.9, 1]: training.betas[1] is 1; it must be a number, at least 0 and",
        ),
        ("training.micro_batch=3", "--set training.micro_batch=3: training.micro_batch 3 does not divide"),
        ("seed", "--set seed: there is no = in it; write path.to.key=value."),
        ("model=encoder", "--set model=encoder: model is a group of keys; set one of model.architecture, "),
        ("model.family=decoder", "--set model.family=decoder: this is not set so; choose another preset"),
        ("data.path=/x", "--set data.path=/x: this is not set so; use --data."),
        ("preset=full", '--set preset=full: unknown key "preset"; '),
        ("engine_version=2", '--set engine_version=2: unknown key "engine_version"; '),
        ("seed.deep=1", '--set seed.deep=1: unknown key "deep" in seed; nothing can be set there.'),
        ("seed=[1", "--set seed=[1: value:1:3: not valid YAML: "),
        ("device=tpu", '--set device=tpu: device is "tpu"; it must be one of auto, cpu, cuda, mps.'),
        ("model.pretrained=", None),
    ],
)
def test_an_error_names_the_override(override: str, expected: str | None) -> None:
    if expected is None:
        assert resolve(spec(override)).model.pretrained is None  # type: ignore[union-attr]
    else:
        assert refusal(override).startswith(expected)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"start_ratio": 2.0},
            "--start-ratio 2.0: stages.start_ratio is 2.0; it must be a number, above 0 and at",
        ),
        ({"epochs_per_stage": 0}, "--epochs-per-stage 0: stages.epochs is 0; "),
        ({"max_ratio": 0.05}, "--max-ratio 0.05: stages.start_ratio 0.1 is more than stages.max_ratio 0.05"),
        (
            {"max_memory_mb": math.inf},
            "--max-memory-mb inf: memory.max_mb is inf; it must be a finite number.",
        ),
        ({"seed": -1}, "--seed -1: seed is -1; "),
        (
            {"seed": 2**32},
            "--seed 4294967296: seed is 4294967296; it must be a whole number, at least 0 and at most 4294967295.",
        ),
        ({"data": ""}, "--data is missing"),
        ({"data": "/data/\udce9"}, '--data: data.path is "/data/�", which is not UTF-8; rename it.'),
        ({"preset": "fulll"}, 'unknown preset "fulll"; did you mean "full"?'),
        ({"pretrained": "", "preset": "full"}, "--pretrained : model.pretrained is empty"),
        (
            {"pretrained": "bert-base-uncased", "preset": "m4max-medium"},
            "--pretrained bert-base-uncased: the preset m4max-medium is a decoder",
        ),
    ],
)
def test_an_error_names_the_flag(fields: dict[str, Any], expected: str) -> None:
    assert refusal(**fields).startswith(expected)


def test_one_stage_may_be_smaller_than_the_start_that_it_does_not_use() -> None:
    assert resolve(spec(preset="full", max_ratio=0.05)).stages.max_ratio == 0.05


def test_a_batch_that_is_asked_for_holds_for_every_stage() -> None:
    assert load_preset("transfer").training.batch_by_ratio
    training = resolve(spec("training.batch=6", preset="transfer")).training
    assert (training.batch, training.batch_by_ratio) == (6, ())


def test_batches_that_follow_the_stages_can_be_asked_for_too() -> None:
    own = "training.batch_by_ratio=[[0.2, 3], [0.4, 6]]"
    for overrides in ((own,), ("training.batch=6", own), (own, "training.batch=6")):
        assert resolve(spec(*overrides)).training.batch_by_ratio == ((0.2, 3), (0.4, 6))
    assert resolve(spec("training.batch_by_ratio=[]", preset="transfer")).training.batch_by_ratio == ()


def test_a_micro_batch_is_cut_to_a_smaller_batch_of_a_stage() -> None:
    overrides = ("training.micro_batch=4", "training.batch=8", "training.batch_by_ratio=[[0.1, 2], [0.5, 8]]")
    assert resolve(spec(*overrides)).training.micro_batch == 4


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["training.batch_by_ratio=[[0.5, 4], [0.5, 8]]"],
            "--set training.batch_by_ratio=[[0.5, 4], [0.5, 8]]: training.batch_by_ratio has the share 0.5 after "
            "0.5; each share stands once, the smallest first.",
        ),
        (
            ["training.batch_by_ratio=[[0.5, 4], [0.1, 8]]"],
            "--set training.batch_by_ratio=[[0.5, 4], [0.1, 8]]: training.batch_by_ratio has the share 0.1 after",
        ),
        (
            ["training.batch_by_ratio=[[0.1, 6]]", "training.micro_batch=4", "training.batch=8"],
            "--set training.batch_by_ratio=[[0.1, 6]]: training.micro_batch 4 does not divide the batch 6 that "
            "training.batch_by_ratio gives from a share of 0.1 on; choose a divisor, or 0 for the whole",
        ),
        (
            [
                "training.batch=8",
                "training.accumulation=2",
                "training.micro_batch=4",
                "training.batch_by_ratio=[[0.1, 4]]",
            ],
            "--set training.batch_by_ratio=[[0.1, 4]]: training.batch_by_ratio changes the batch and "
            "training.accumulation 2 fixes it; leave one of them out.",
        ),
        (
            ["training.batch_by_ratio=[0.1, 2]"],
            "--set training.batch_by_ratio=[0.1, 2]: training.batch_by_ratio[0] is 0.1; it must be a list of 2: "
            "a number, above 0 and at most 1, then a whole number, at least 1.",
        ),
        (
            ["training.batch_by_ratio=[[0, 2]]"],
            "--set training.batch_by_ratio=[[0, 2]]: training.batch_by_ratio[0][0] is 0; it must be a number, "
            "above 0 and at most 1.",
        ),
        (
            ["training.batch_by_ratio=[[0.1, 0]]"],
            "--set training.batch_by_ratio=[[0.1, 0]]: training.batch_by_ratio[0][1] is 0; it must be a whole",
        ),
        (
            ["training.batch_by_ratio=2"],
            "--set training.batch_by_ratio=2: training.batch_by_ratio is 2; it must be a list, each a list of 2:",
        ),
    ],
)
def test_batches_that_do_not_hold_are_named(overrides: list[str], expected: str) -> None:
    assert refusal(*overrides, preset="test").startswith(expected)


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exported").mkdir()
    config = resolve(spec(data="sessions", pretrained="exported"))
    assert config.data.path == str(tmp_path / "sessions")
    assert isinstance(config.model, Encoder)
    assert config.model.pretrained == str(tmp_path / "exported")


def test_a_preset_of_ones_own_is_used_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\ntitle: M\nsummary: S\nhardware: {label: Any}\nmodel: {family: encoder}\n")
    config = resolve(spec(preset=str(file)))
    assert (config.preset, config.data.path) == ("mine", "/data")


KEYS = (
    "model",
    "hidden",
    "training",
    "batch",
    "stages",
    "seed",
    "data",
    "betas",
    "family",
    "device",
    "pretrained",
)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.text(max_size=40),
        st.builds(
            lambda path, value: ".".join(path) + "=" + value,
            st.lists(st.sampled_from(KEYS), min_size=1, max_size=3),
            st.one_of(st.text(max_size=30), st.text(alphabet="[]{}:,&*!|>'\"0123e.-~ \n\t%#", max_size=30)),
        ),
    )
)
@example("seed=" + "9" * 5000)
@example("seed=" + "[" * 3000)
@example('seed="\\UFFFFFFFF"')
@example("training.clip=1e999")
@example("data.templates=\udcff")
@example("=")
@example(".=")
def test_any_override_is_taken_or_refused_by_name(override: str) -> None:
    message = ""
    try:
        assert resolve(spec(override)).data.path == "/data"
    except PresetError as error:
        message = str(error)
    assert not message or (message.startswith("--set ") and "\n" not in message)


ratios = st.none() | st.floats(min_value=1e-9, max_value=1)
paths = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
specs = st.builds(
    RunSpec,
    data=paths,
    run_dir=paths,
    preset=paths,
    progressive=st.none() | st.booleans(),
    pretrained=st.none() | paths,
    start_ratio=ratios,
    step_size=ratios,
    max_ratio=ratios,
    sample_ratio=ratios,
    epochs_per_stage=st.none() | st.integers(),
    max_files=st.none() | st.integers(),
    max_memory_mb=st.none() | st.floats(min_value=1, max_value=1e12),
    device=st.none() | st.sampled_from(["auto", "cpu", "mps", "cuda"]),
    seed=st.none() | st.integers(),
    overrides=st.lists(paths, max_size=3),
)


@settings(deadline=None)
@given(specs)
@example(spec("-x=1", data="-d", progressive=False))
def test_the_command_line_parses_back_to_the_request(request_spec: RunSpec) -> None:
    program, command, *words = command_line(request_spec)
    assert (program, command) == ("logbert-engine", "train")
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    assert train.spec_of(parser.parse_args(words)) == request_spec


def test_the_command_line_names_only_what_was_chosen() -> None:
    chosen = spec(
        "training.batch=4", preset="transfer", progressive=True, max_ratio=0.5, max_memory_mb=4000.0
    )
    assert " ".join(command_line(chosen)) == (
        "logbert-engine train --data /data --run-dir /run --preset transfer --progressive --max-ratio 0.5 "
        "--max-memory-mb 4000 --set training.batch=4"
    )


def test_every_field_of_a_request_has_a_flag() -> None:
    flags = {flag.field for flag in FLAGS} | {"data", "run_dir", "preset", "overrides"}
    assert flags == set(RunSpec.__struct_fields__)


def test_who_asks_for_epochs_means_so_many_times_through_the_sessions() -> None:
    spec = RunSpec(data="/sessions", run_dir="/run", preset="quick")
    assert resolve(spec).training.stage_steps == 4000
    asked = resolve(msgspec.structs.replace(spec, epochs_per_stage=3))
    assert (asked.training.stage_steps, asked.stages.epochs) == (0, 3)
