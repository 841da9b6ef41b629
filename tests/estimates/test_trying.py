"""Trials are real processes that take real steps."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import psutil
import pytest

from logbert_engine.estimates import trying
from logbert_engine.estimates.asking import Measurement, estimates_of, this_machine
from logbert_engine.estimates.trying import Trial, TrialError, TrialSpec
from logbert_engine.presets.types import Decoder, Encoder, Training
from logbert_engine.protocol.errors import LogbertError
from logbert_engine.protocol.estimates import EstimateQuery
from logbert_engine.protocol.messages import RunSpec

SMALL = Encoder(hidden=32, layers=2, heads=2, max_length=64, views=("next", "bag"))
SPEC = TrialSpec(
    model=SMALL, training=Training(), device="cpu", events=50, micro_batch=4, length=16, longest=64, steps=5
)
SMALLER = ["model.hidden=32", "model.layers=1", "model.heads=2", "model.max_length=32", "training.batch=2"]


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE", "CACHE"):
        monkeypatch.setenv(f"LOGBERT_{name}_DIR", str(tmp_path / name))


def test_it_takes_the_steps_and_tells_of_each() -> None:
    seen: list[tuple[int, int]] = []
    trial = Trial(SPEC)
    try:
        found = trial.result(lambda done, steps: seen.append((done, steps)))
    finally:
        trial.close()
    assert seen == [(n, 5) for n in range(1, 6)]
    assert (found.device, found.precision, found.steps) == ("cpu", "fp32", 5)
    assert 0 < found.update_s < found.micro_s < 10
    assert found.peak_mb > found.empty_mb > 50


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_decoder_is_tried_too(checkpointing: bool) -> None:
    sizes = Decoder(
        vocabulary=60,
        hidden=32,
        layers=2,
        heads=2,
        kv_heads=1,
        ffn=64,
        max_length=32,
        gradient_checkpointing=checkpointing,
    )
    trial = Trial(msgspec.structs.replace(SPEC, model=sizes, length=32, longest=32, accumulates=True))
    try:
        assert trial.result().steps == 5
    finally:
        trial.close()


def test_one_that_takes_too_long_makes_do_with_fewer_steps() -> None:
    trial = Trial(msgspec.structs.replace(SPEC, steps=10_000, patience_s=0.2))
    try:
        assert 2 <= trial.result().steps < 10_000
    finally:
        trial.close()


def test_memory_that_runs_out_is_told_apart() -> None:
    """Matrices of every token with every other, of half a terabyte: more than any machine of a test has."""
    sizes = msgspec.structs.replace(SMALL, max_length=1 << 17, dropout=0.1, views=("order",))
    spec = msgspec.structs.replace(SPEC, model=sizes, longest=1 << 17, micro_batch=4)
    trial = Trial(spec)
    try:
        with pytest.raises(TrialError) as refused:
            trial.result()
    finally:
        trial.close()
    assert refused.value.out_of_memory
    assert "smaller micro-batch" in str(refused.value)


def test_a_device_that_is_not_there_is_one_sentence() -> None:
    trial = Trial(msgspec.structs.replace(SPEC, device="mps"))
    try:
        with pytest.raises(TrialError, match="no mps device on this machine"):
            trial.result()
    finally:
        trial.close()


def test_one_that_is_killed_says_so() -> None:
    trial = Trial(msgspec.structs.replace(SPEC, steps=1_000_000))
    try:
        with pytest.raises(TrialError, match="killed"):
            trial.result(lambda _done, _steps: trial.kill())
    finally:
        trial.close()


def test_a_crash_says_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "_MODULE", "logbert_engine.no_such_module")
    trial = Trial(SPEC)
    try:
        with pytest.raises(TrialError, match=r"exit status 1\): .*no_such_module"):
            trial.result()
    finally:
        trial.close()


def request(**changed: object) -> RunSpec:
    return RunSpec(data="", run_dir="", preset="test", overrides=SMALLER, **changed)  # type: ignore[arg-type]


def test_a_measurement_replaces_the_estimate() -> None:
    before = estimates_of(EstimateQuery(spec=request()), this_machine()).estimates[0]
    Measurement(request(), None, this_machine()).run(lambda _done, _steps: None)
    after = estimates_of(EstimateQuery(spec=request()), this_machine()).estimates[0]
    assert before.step_s is not None
    assert after.step_s is not None
    assert (before.step_s.origin, after.step_s.origin, after.memory.origin) == (
        "computed",
        "measured",
        "measured",
    )


def test_a_cancelled_measurement_leaves_no_process_and_no_figure() -> None:
    begun = threading.Event()
    measurement = Measurement(request(), None, this_machine())

    def progress(_done: int, _steps: int) -> None:
        begun.set()
        measurement.cancel()

    with pytest.raises(TrialError, match="cancelled"):
        measurement.run(progress)
    assert begun.is_set()
    assert not [
        child for child in psutil.Process().children() if "training.trial" in " ".join(child.cmdline())
    ]
    assert this_machine().learned.measured == ()


def test_what_does_not_fit_is_not_tried() -> None:
    with pytest.raises(LogbertError, match=r"cannot be measured here: it needs mps"):
        Measurement(RunSpec(data="", run_dir="", preset="m4max-medium"), None, this_machine())
