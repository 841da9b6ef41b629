"""Spans hold the share that alarms as often as they say, where alarms come in clusters too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import beta

from logbert_engine.commands import main
from logbert_engine.data.store import Store
from logbert_engine.detection.calibration import Times, calibrate
from logbert_engine.detection.evidence import limit_of
from logbert_engine.detection.inference import infer
from logbert_engine.evaluation.proportions import LEVEL, effective_sessions, share_span
from tests.detection.drawing import NAMES, alarming, drawn, findings

Write = Callable[..., Path]


def test_a_span_is_that_of_clopper_and_pearson() -> None:
    low, high = share_span(5, 1000)
    assert low == pytest.approx(beta.ppf(0.025, 5, 996))
    assert high == pytest.approx(beta.ppf(0.975, 6, 995))
    assert share_span(0, 100) == (0.0, pytest.approx(1 - 0.025 ** (1 / 100)))
    assert share_span(100, 100) == (pytest.approx(0.025 ** (1 / 100)), 1.0)


def test_a_limit_read_off_held_out_sessions_keeps_its_span() -> None:
    rng = np.random.default_rng(3)
    inside = []
    for _ in range(400):
        statistics = drawn(rng, 1000, NAMES[:2])
        ones = np.ones(1000, dtype=np.int64)
        calibration = calibrate(np.ones(1000), ones, {}, statistics, findings(1000), {})
        limit = limit_of(calibration, 0.02)
        share = alarming(calibration, limit, drawn(rng, 20_000, NAMES[:2]))
        low, high = limit.span
        inside.append(low <= share <= high)
    assert np.mean(inside) >= LEVEL - 0.015


def clustered(rng: np.random.Generator, parts: int, each: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Alarms of sessions in parts of time, a few of which hold most of them; 2% alarm in the long run."""
    rate = rng.choice([0.0, 0.4], parts, p=[0.95, 0.05])
    return rng.random(parts * each) < np.repeat(rate, each), np.repeat(np.arange(parts), each)


def test_alarms_in_clusters_tell_as_much_as_fewer_sessions() -> None:
    rng = np.random.default_rng(4)
    kept, taken_for_independent = [], []
    for _ in range(300):
        alarms, part = clustered(rng, 200, 50)
        oddest_first = part[np.argsort(~alarms, kind="stable")].tolist()
        k = int(alarms.sum())
        sessions = effective_sessions(oddest_first, k)
        low, high = share_span(k / len(part) * sessions, sessions)
        kept.append(low <= 0.02 <= high)
        low, high = share_span(k, len(part))
        taken_for_independent.append(low <= 0.02 <= high)
    assert np.mean(kept) >= 0.9
    assert np.mean(taken_for_independent) <= 0.6


def test_alarms_at_random_tell_as_much_as_all_sessions() -> None:
    rng = np.random.default_rng(5)
    found = [
        effective_sessions(rng.permutation(np.repeat(np.arange(60), 50)).tolist(), 60) for _ in range(50)
    ]
    assert np.median(found) >= 0.8 * 3000
    assert max(found) == 3000, "never more than there are"


def test_all_alarms_of_one_part_tell_little() -> None:
    assert effective_sessions([0] * 50 + [1] * 50 + [2] * 50, 50) == pytest.approx(3 * 2 / 3)
    for alarms in (0, 4):
        assert effective_sessions([0, 0, 1, 1], alarms) == 4
    assert effective_sessions([7] * 9, 3) == 9, "a single part cannot differ from others"


def test_a_calibration_knows_when_its_oddest_sessions_were(store: Store) -> None:
    sessions = np.arange(store.n_sessions)
    when = Times.of(store, sessions)
    assert when.sequence.tolist() == np.asarray(store.sequence_of).tolist()
    odd = np.arange(store.n_unique, dtype=np.float64)  # the last sequence is the oddest
    nothing = findings(store.n_unique)
    calibration = calibrate(np.ones(store.n_unique), store.counts, {}, {"order.mean": odd}, nothing, {}, when)
    expected = sorted(sessions.tolist(), key=lambda session: -int(store.sequence_of[session]))
    assert calibration.parts == [when.part[session] for session in expected]
    assert len(calibration.parts) == len(calibration.left_out)


def test_infer_says_how_far_its_share_may_be_off(
    checkpoint: Path, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    input_, output = write("some.json", [[5, 5, 22]] * 20), tmp_path / "found.json"
    infer(checkpoint, [input_], output, budget=0.2, device="cpu")
    meta = msgspec.json.decode((tmp_path / "found.meta.json").read_bytes())
    low, high = meta["false_alarm_span"]
    assert 0 <= low < meta["false_alarm_rate"] < high < 1
    words = ["infer", "--checkpoint", str(checkpoint), "--input", str(input_), "--output", str(output)]
    assert main([*words, "--alert-budget", "20%"]) == 0
    assert f"({low:.2%} to {high:.2%} with 95% confidence)" in capsys.readouterr().out
    assert main([*words, "--threshold", "2.0"]) == 0
    assert "confidence" not in capsys.readouterr().out
