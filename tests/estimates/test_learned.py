"""What was measured replaces what was computed, and makes the rest better."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from logbert_engine.estimates.asking import config_of
from logbert_engine.estimates.estimate import estimate
from logbert_engine.estimates.learned import Learned, Measured, learned_on, model_key
from logbert_engine.estimates.machine import Machine
from logbert_engine.presets.shape import shape_of
from logbert_engine.presets.types import RunConfig
from logbert_engine.protocol.estimates import Estimate
from logbert_engine.protocol.messages import Hardware, RunSpec
from tests.hardware.machines import machine


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGBERT_STATE_DIR", str(tmp_path))


@pytest.fixture
def hardware() -> Hardware:
    return machine("container-4gb")


def config(preset: str = "small", **changed: object) -> RunConfig:
    found = config_of(RunSpec(data="", run_dir="", preset=preset))
    training = msgspec.structs.replace(found.training, **changed)
    return msgspec.structs.replace(found, training=training)


def after(measured: Measured, wanted: RunConfig, hardware: Hardware) -> Estimate:
    return estimate(wanted, Machine(hardware, Learned(None, (measured,)), {}))


def a_measurement(of: RunConfig, guess: Estimate, slower: float = 1.0, **changed: object) -> Measured:
    assert guess.step_s is not None
    plain: dict[str, object] = {
        "model": model_key(shape_of(of.model)),
        "device": "cpu",
        "precision": "fp32",
        "micro_batch": guess.micro_batch,
        "tokens": guess.tokens,
        "micro_s": guess.step_s.value * slower,
        "update_s": 0.0,
        "expected_s": guess.step_s.value,
        "spread": 0.02,
        "longest": guess.longest,
        "peak_mb": 1234.0,
        "empty_mb": 300.0,
    }
    return Measured(**(plain | changed))  # type: ignore[arg-type]


def test_a_measurement_at_the_same_sizes_replaces_time_and_memory(hardware: Hardware) -> None:
    guess = estimate(config(), Machine(hardware, Learned(None), {}))
    found = after(a_measurement(config(), guess, slower=3), config(), hardware)
    assert guess.step_s is not None
    assert found.step_s is not None
    assert (guess.step_s.origin, found.step_s.origin, found.memory.origin) == (
        "computed",
        "measured",
        "measured",
    )
    assert found.step_s.value == pytest.approx(3 * guess.step_s.value, rel=0.01)
    assert found.memory.value == pytest.approx(1234)
    assert found.step_s.high / found.step_s.low < guess.step_s.high / guess.step_s.low


def test_the_same_model_at_other_sizes_is_scaled(hardware: Hardware) -> None:
    guess = estimate(config(), Machine(hardware, Learned(None), {}))
    measured = a_measurement(config(), guess, slower=3)
    larger = config(batch=8)
    before, found = estimate(larger, Machine(hardware, Learned(None), {})), after(measured, larger, hardware)
    assert before.step_s is not None
    assert found.step_s is not None
    assert found.step_s.origin == "measured"
    assert found.step_s.value == pytest.approx(3 * before.step_s.value, rel=0.05)
    assert found.memory.origin == "computed"


def test_other_models_are_calibrated(hardware: Hardware) -> None:
    guess = estimate(config(), Machine(hardware, Learned(None), {}))
    other = config("medium")
    before = estimate(other, Machine(hardware, Learned(None), {}))
    found = after(a_measurement(config(), guess, slower=3), other, hardware)
    assert before.step_s is not None
    assert found.step_s is not None
    assert found.step_s.origin == "calibrated"
    assert found.step_s.value == pytest.approx(3 * before.step_s.value, rel=0.01)


def test_another_device_or_precision_tells_nothing(hardware: Hardware) -> None:
    guess = estimate(config(), Machine(hardware, Learned(None), {}))
    for changed in ({"device": "cuda"}, {"precision": "bf16"}):
        found = after(a_measurement(config(), guess, slower=3, **changed), config(), hardware)
        assert found.step_s == guess.step_s


def test_it_is_kept_for_this_machine_alone(hardware: Hardware) -> None:
    guess = estimate(config(), Machine(hardware, Learned(None), {}))
    measured = a_measurement(config(), guess)
    learned_on(hardware).with_(measured)
    assert learned_on(hardware).measured == (measured,)
    assert learned_on(machine("colab-t4")).measured == ()


def test_the_latest_takes_the_place_of_one_at_the_same_sizes(hardware: Hardware) -> None:
    guess = estimate(config(), Machine(hardware, Learned(None), {}))
    learned_on(hardware).with_(a_measurement(config(), guess)).with_(a_measurement(config(), guess, slower=2))
    (kept,) = learned_on(hardware).measured
    assert guess.step_s is not None
    assert kept.micro_s == pytest.approx(2 * guess.step_s.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"measured": [{"model": 1}]}', b"\xff\xfe"])
def test_a_damaged_file_is_begun_anew(content: bytes, hardware: Hardware) -> None:
    path = learned_on(hardware).path
    assert path is not None
    path.write_bytes(content)
    assert learned_on(hardware).measured == ()


def test_where_it_cannot_be_written_it_still_counts(hardware: Hardware, tmp_path: Path) -> None:
    guess = estimate(config(), Machine(hardware, Learned(None), {}))
    learned = Learned(tmp_path / "not there" / "measured.json").with_(a_measurement(config(), guess))
    assert len(learned.measured) == 1
