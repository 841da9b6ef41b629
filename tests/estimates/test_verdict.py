"""Whether presets fit machines."""

from __future__ import annotations

import pytest

from logbert_engine.estimates.asking import config_of, with_settings
from logbert_engine.estimates.estimate import estimate
from logbert_engine.estimates.learned import Learned
from logbert_engine.estimates.machine import Machine
from logbert_engine.estimates.verdict import judge, smaller
from logbert_engine.protocol.messages import RunSpec
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
