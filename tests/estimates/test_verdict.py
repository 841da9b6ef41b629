"""Whether presets fit machines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from logbert_engine.estimates.asking import config_of, with_settings
from logbert_engine.estimates.estimate import estimate
from logbert_engine.estimates.learned import Learned
from logbert_engine.estimates.machine import Machine
from logbert_engine.estimates.verdict import judge, smaller
from logbert_engine.protocol.messages import DataSummary, RunSpec
from tests.hardware.machines import machine

SIXTEEN = [16, *smaller(16, 16)]


def need(micro_batch: int, checkpointing: bool) -> float:
    """100 MB, and for each session 50, or 10 with checkpointing."""
    return 100.0 + micro_batch * (10.0 if checkpointing else 50.0)


@pytest.mark.parametrize(
    ("room", "fit", "micro_batch", "checkpointing"),
    [
        (1000, "fits", 16, False),
        (600, "adjusted", 8, False),
        (160, "adjusted", 1, False),  # 152 MB may be taken
        (150, "adjusted", 4, True),
        (117, "adjusted", 1, True),
        (110, "too large", 1, True),
    ],
)
def test_a_smaller_micro_batch_is_tried_before_checkpointing(
    room: float, fit: str, micro_batch: int, checkpointing: bool
) -> None:
    verdict = judge(need, SIXTEEN, False, room, "here")
    assert (verdict.fit, verdict.micro_batch, verdict.checkpointing) == (fit, micro_batch, checkpointing)


def test_what_does_not_fit_says_by_how_much() -> None:
    assert judge(need, SIXTEEN, False, 100, "here").lacking_mb == pytest.approx(110 - 95)


def test_a_micro_batch_divides_the_batch() -> None:
    assert smaller(24, 24) == [12, 8, 6, 4, 3, 2, 1]
    assert smaller(24, 8) == [6, 4, 3, 2, 1]


def known(name: str) -> Machine:
    return Machine(machine(name), Learned(None), {})


@pytest.mark.parametrize(
    ("preset", "where", "fit", "device"),
    [
        ("full", "container-4gb", "adjusted", "cpu"),
        ("quick", "container-4gb", "fits", "cpu"),
        ("m4max-large", "container-4gb", "no device", "mps"),
        ("transfer", "m4-pro-24", "fits", "mps"),
        ("small", "m4-pro-24", "fits", "mps"),
        ("m4max-medium", "m4-max-36", "adjusted", "mps"),
        ("m4max-large", "m4-max-36", "adjusted", "mps"),
        ("dgx", "dgx-station-v100", "fits", "cuda"),
        ("full", "dgx-a100", "fits", "cuda"),
        ("full", "colab-t4", "fits", "cuda"),
        ("full", "dgx-spark", "fits", "cuda"),
        ("m4max-large", "dgx-spark", "no device", "mps"),
    ],
)
def test_presets_on_recorded_machines(preset: str, where: str, fit: str, device: str) -> None:
    spec = RunSpec(data="", run_dir="", preset=preset)
    found = estimate(config_of(spec), known(where))
    assert (found.verdict.fit, found.device) == (fit, device), found.verdict.words
    assert bool(found.verdict.settings) == (fit == "adjusted")
    if fit == "adjusted":
        again = estimate(config_of(with_settings(spec, found.verdict)), known(where))
        assert again.verdict.fit == "fits", again.verdict.words


def test_precisions_are_those_that_training_takes() -> None:
    config = config_of(RunSpec(data="", run_dir="", preset="full"))
    found = {
        name: estimate(config, known(name)).precision
        for name in ("dgx-station-v100", "dgx-a100", "m4-pro-24")
    }
    assert found == {"dgx-station-v100": "fp16", "dgx-a100": "bf16", "m4-pro-24": "fp32"}


def test_several_gpus_share_a_batch_where_the_preset_takes_them_all() -> None:
    config = config_of(RunSpec(data="", run_dir="", preset="dgx"))
    found = estimate(config, known("dgx-station-v100"))
    assert found.devices == 4
    assert found.micro_batch == found.batch // 4


def test_the_documents_rate_on_an_m4_max_cannot_be_reached() -> None:
    found = estimate(config_of(RunSpec(data="", run_dir="", preset="m4max-medium")), known("m4-max-36"))
    assert found.parameters == 397_722_624
    assert found.elsewhere is not None
    assert "2–3 steps/s of 131,072 tokens. That cannot be reached" in found.elsewhere.words
    rate = found.elsewhere.steps_per_s
    assert rate is not None
    assert rate.high < 0.05  # a step is more than 2.8e14 FLOP, on 14 TFLOP/s


@pytest.mark.parametrize(
    ("where", "changed", "words"),
    [
        ("container-4gb", {"overrides": ["training.precision=fp16"]}, "trains in fp16, which is for GPUs"),
        ("dgx-station-v100", {"overrides": ["training.precision=bf16"]}, "bf16, which Tesla V100"),
        ("dgx-station-v100", {"nproc": 8}, "asks for 8 processes, each with a device, of which there are 4"),
        ("m4-pro-24", {"nproc": 2}, "asks for 2 processes"),
        ("m4-pro-24", {"device": "cuda"}, "needs cuda, which this machine does not have"),
    ],
)
def test_what_training_would_refuse_has_no_time(where: str, changed: dict[str, Any], words: str) -> None:
    found = estimate(config_of(RunSpec(data="", run_dir="", preset="full", **changed)), known(where))
    assert (found.verdict.fit, found.step_s) == ("no device", None)
    assert words in found.verdict.words


def test_a_gpu_that_torch_cannot_use_is_not_taken() -> None:
    config = config_of(RunSpec(data="", run_dir="", preset="full"))
    machine_there = replace(known("dgx-station-v100"), usable={"cpu": 1})
    assert estimate(config, machine_there).device == "cpu"
    two = replace(known("dgx-station-v100"), usable={"cpu": 1, "cuda": 2})
    assert estimate(config_of(RunSpec(data="", run_dir="", preset="dgx")), two).devices == 2


def test_processes_on_one_processor_share_its_memory() -> None:
    one, two = (
        estimate(config_of(RunSpec(data="", run_dir="", preset="small", nproc=n)), known("container-4gb"))
        for n in (1, 2)
    )
    twice = ("weights", "optimizer", "libraries")  # each has half of the batch, and all of these
    assert [two.memory_parts[name] for name in twice] == [2 * one.memory_parts[name] for name in twice]
    assert two.memory_parts["activations"] == pytest.approx(one.memory_parts["activations"], rel=0.01)


def test_settings_of_a_verdict_are_ones_that_presets_take() -> None:
    """Also where batches follow the stages: the micro-batch divides all of them."""
    spec = RunSpec(
        data="", run_dir="", preset="full", overrides=["training.batch_by_ratio=[[0.1,3],[0.5,6]]"]
    )
    small = msgspec.structs.replace(machine("container-4gb"), memory_available_mb=2600)
    found = estimate(config_of(spec), Machine(small, Learned(None)))
    assert found.verdict.fit == "adjusted"
    assert config_of(with_settings(spec, found.verdict)).training.micro_batch == found.verdict.micro_batch


def test_a_run_on_a_rented_machine_costs_its_hours() -> None:
    data = DataSummary(
        path="/logs",
        files=1,
        bytes=1,
        peeked_sessions=1000,
        peeked_distinct=800,
        peeked_distinct_half=420,
        mean_length=30.0,
        distinct_mean_length=30.0,
        longest=200,
        distinct_events=100,
        estimated_sessions=2_000_000,
    )
    found = estimate(config_of(RunSpec(data="", run_dir="", preset="cloud-v100")), known("m4-pro-24"), data)
    there = found.elsewhere
    assert there is not None
    assert there.cost is not None
    assert there.seconds is not None
    assert there.cost.value == pytest.approx(3.06 * there.seconds.value / 3600)
    assert found.seconds is not None
    assert there.seconds.value < found.seconds.value / 3  # a V100 beside the GPU of a laptop


def test_the_documents_rate_is_theirs_whatever_is_set() -> None:
    spec = RunSpec(
        data="",
        run_dir="",
        preset="m4max-medium",
        overrides=["training.batch=16", "training.accumulation=1"],
    )
    found = estimate(config_of(spec), known("m4-max-36"))
    assert found.elsewhere is not None
    assert "2–3 steps/s of 131,072 tokens" in found.elsewhere.words
