"""Tails that fall off exponentially are said to fit, others not; and inference says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from logbert_engine.commands import main
from logbert_engine.detection.calibration import calibrate
from logbert_engine.detection.inference import infer
from logbert_engine.detection.tails import FITS, LEAST_VALUES, misfit, misfits, tails_in_words
from logbert_engine.models.checkpoint import Calibration, ModelRecord, save_model
from logbert_engine.models.encoder import MaskedModel

Write = Callable[..., Path]
BARE = Calibration(median=0, deviation=1, sessions=99, highest={}, scores=[], evidence=[1.0] * 99)


@pytest.mark.parametrize("n", [LEAST_VALUES, 60, 400])
def test_one_in_a_hundred_exponential_laws_is_taken_for_another(n: int) -> None:
    rng = np.random.default_rng(5)
    found = np.array([misfit(rng.exponential(7.0, n)) for _ in range(4000)])
    assert 0.003 <= (found > FITS).mean() <= 0.02
    assert np.quantile(found, 0.95) == pytest.approx(1.094, abs=0.05), "Stephens' point"


def test_a_misfit_is_the_distance_of_the_steps_from_the_law() -> None:
    values = np.array([1.0, 3.0])
    law = [1 - np.exp(-0.5), 1 - np.exp(-1.5)]
    distance = max(law[0], 0.5 - law[0], law[1] - 0.5, 1 - law[1])
    root = np.sqrt(2)
    assert misfit(values) == pytest.approx((distance - 0.1) * (root + 0.26 + 0.5 / root))
    assert misfit(values[::-1] * 100) == pytest.approx(misfit(values)), "neither order nor unit matter"


@pytest.mark.parametrize(("law", "fits"), [("exponential", True), ("pareto", False), ("uniform", False)])
def test_tails_are_told_apart(law: str, fits: bool) -> None:
    rng = np.random.default_rng(6)
    drawn = {
        "exponential": lambda: rng.exponential(0.2, 4000),
        "pareto": lambda: rng.pareto(1.5, 4000),
        "uniform": lambda: rng.random(4000),
    }
    told = [misfits({"order.mean": np.sort(drawn[law]()).tolist()})["order.mean"] <= FITS for _ in range(40)]
    assert np.mean(told) >= 0.9 if fits else np.mean(told) <= 0.1


def test_sessions_that_are_alike_count_once_and_few_values_tell_nothing() -> None:
    rng = np.random.default_rng(7)
    values = np.sort(rng.exponential(1.0, 300))
    often = np.repeat(values, rng.integers(1, 2, 300) * 3)
    once, thrice = (misfits({"a": np.sort(each).tolist()}) for each in (values, often))
    assert once["a"] == pytest.approx(thrice["a"], rel=0.2)
    assert misfits({"a": [0.0] * 1000 + values[:19].tolist(), "b": [0.5] * 50, "c": [1.0]}) == {}


def test_what_does_not_fit_is_said_in_one_line() -> None:
    fitting = msgspec.structs.replace(BARE, tails={"order.mean": 0.9, "bag.rms": 1.2})
    assert tails_in_words(BARE) == tails_in_words(fitting) == ""
    one = msgspec.structs.replace(BARE, tails={"order.mean": 0.9, "bag.rms": 1.5})
    assert tails_in_words(one) == (
        "far out the values of bag.rms do not fall off as assumed: which sessions alarm does not depend on it, but "
        "the order among those rarer than 1/100 is rough"
    )
    all_of_them = msgspec.structs.replace(BARE, tails={"order.mean": 9, "bag.rms": 1.5, "counts.distance": 2})
    assert "values of order.mean, bag.rms and counts.distance do not" in tails_in_words(all_of_them)


def test_the_calibration_keeps_the_fit() -> None:
    rng = np.random.default_rng(8)
    ones, once = np.ones(1000), np.ones(1000, dtype=np.int64)
    statistics = {"order.mean": rng.exponential(1, 1000), "bag.rms": rng.pareto(1, 1000)}
    tails = calibrate(ones, once, {}, statistics).tails
    assert tails["order.mean"] <= FITS < tails["bag.rms"]
    assert calibrate(ones, once, {}).tails == {}


def test_inference_says_so_where_it_ranks_by_evidence(
    model: MaskedModel, record: ModelRecord, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record.calibration is not None
    checkpoint, output = tmp_path / "model.pt", tmp_path / "results.json"
    file = write("sessions/preprocessed_logs_2025-04-03.json", [[0, "E1", 5]])
    for tails, says in (
        ({"order.mean": 9.0}, "far out the values of order.mean do not"),
        ({"order.mean": 1.0}, ""),
    ):
        calibration = msgspec.structs.replace(record.calibration, tails=tails)
        save_model(checkpoint, model, msgspec.structs.replace(record, calibration=calibration))
        assert infer(checkpoint, [file], output).tails.startswith(says)
        assert infer(checkpoint, [file], output, threshold=1.0).tails == ""
        main(["infer", "--checkpoint", str(checkpoint), "--input", str(file), "--output", str(output)])
        assert ("mind: far out" in capsys.readouterr().out) == bool(says)
