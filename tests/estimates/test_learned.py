"""What was measured replaces what was computed, and makes the rest better."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from logbert_engine.estimates.asking import config_of
from logbert_engine.estimates.estimate import estimate
from logbert_engine.estimates.learned import Learned, Measured, learned_on, model_key
from logbert_engine.estimates.machine import Machine
from logbert_engine.estimates.rates import CPU_CORE
from logbert_engine.estimates.work import USUAL_EVENTS
from logbert_engine.presets.shape import shape_of
from logbert_engine.presets.types import RunConfig
from logbert_engine.protocol.estimates import Estimate
from logbert_engine.protocol.messages import DataSummary, Hardware, RunSpec
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
        "rate": 2 * CPU_CORE,
        "rows": shape_of(of.model, USUAL_EVENTS).rows,
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


def test_a_comparison_with_another_rate_tells_nothing(hardware: Hardware) -> None:
    guess = estimate(config(), Machine(hardware, Learned(None)))
    other = config("medium")
    found = after(a_measurement(config(), guess, slower=3, rate=CPU_CORE), other, hardware)
    assert found.step_s == estimate(other, Machine(hardware, Learned(None))).step_s


def test_sizes_far_off_are_not_taken_for_measured(hardware: Hardware) -> None:
    guess = estimate(config(), Machine(hardware, Learned(None)))
    found = after(a_measurement(config(), guess, tokens=3, micro_batch=1), config(), hardware)
    assert found.step_s is not None
    assert found.step_s.origin == "calibrated"


def test_what_was_measured_with_few_events_grows_with_many(hardware: Hardware) -> None:
    guess = estimate(config(), Machine(hardware, Learned(None)))
    measured = a_measurement(config(), guess)
    few, many = (shape_of(config().model, events).parameters for events in (USUAL_EVENTS, 10_000))
    data = DataSummary(
        path="/logs",
        files=1,
        bytes=1,
        peeked_sessions=10,
        peeked_all=True,
        distinct_events=10_000,
        mean_length=guess.tokens - 2,
        longest=guess.longest - 2,
        estimated_sessions=10,
    )
    found = estimate(config(), Machine(hardware, Learned(None, (measured,))), data)
    assert found.memory.origin == "measured"
    assert found.memory.value > 1234 + 16 * (many - few) / (1 << 20)  # weights, gradients and two moments


def test_a_step_of_several_micro_batches_is_not_one_of_as_many_updates(hardware: Hardware) -> None:
    guess = estimate(config(), Machine(hardware, Learned(None)))
    measured = a_measurement(config(), guess, micro_s=2.0, update_s=0.5)
    one, two = (after(measured, config(batch=n, micro_batch=4), hardware) for n in (4, 8))
    assert one.step_s is not None
    assert two.step_s is not None
    assert (one.step_s.value, two.step_s.value) == (pytest.approx(2.5), pytest.approx(4.5))


def test_who_learns_meanwhile_is_not_forgotten(hardware: Hardware) -> None:
    """As the stages of a run, which know what was kept when it began, and a measurement beside it."""
    guess = estimate(config(), Machine(hardware, Learned(None)))
    at_first = learned_on(hardware)
    at_first.with_(a_measurement(config(), guess))
    at_first.with_(a_measurement(config(), guess, micro_batch=2))
    assert {m.micro_batch for m in learned_on(hardware).measured} == {guess.micro_batch, 2}


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
