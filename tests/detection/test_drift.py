"""Whether the calibration holds is told by the sessions themselves, without labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.data.contract import EventId
from logbert_engine.detection.adapting import SMALLEST_BLOCK
from logbert_engine.detection.drift import LEAST_SESSIONS, Drift, drift_of
from logbert_engine.detection.inference import infer

Write = Callable[..., Path]


def drift(
    p: list[float], unseen: list[bool] | None = None, sessions: list[int] | None = None
) -> Drift | None:
    values = np.array(p)
    return drift_of(
        values,
        values <= 0.001,
        np.array(unseen or [False] * len(p)),
        np.array(sessions or [1] * len(p)),
        0.002,
        0.001,
    )


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.1))
def test_sessions_like_the_ordinary_ones_and_some_anomalies_are_no_drift(seed: int, anomalies: float) -> None:
    rng = np.random.default_rng(seed)
    p = np.where(rng.random(2000) < anomalies, 1e-4, rng.random(2000))
    found = drift(p.tolist())
    assert found is not None
    assert not found.found
    assert found.in_words() == ""


def test_sessions_that_all_lie_further_out_are() -> None:
    rng = np.random.default_rng(5)
    found = drift((0.3 * rng.random(2000)).tolist())
    assert found is not None
    assert found.in_words().startswith("the calibration does not hold for these sessions: 3")
    assert "never saw" not in found.in_words()


def test_new_events_are_named_as_the_reason() -> None:
    found = drift([1e-4] * 900 + [0.5] * 100, [True] * 900 + [False] * 100)
    assert found is not None
    assert (found.low, found.unseen, found.alarms) == (0.9, 0.9, 0.9)
    assert (
        "90.0% of the sessions hold an event that training never saw, where 0.20% were expected"
        in found.in_words()
    )


def test_sequences_count_as_often_as_they_occur() -> None:
    found = drift([1e-4, 0.5], [True, False], [30, 70])
    assert found is not None
    assert (found.low, found.alarms, found.unseen) == (0.3, 0.3, 0.3)


def test_of_few_sessions_nothing_is_said() -> None:
    assert drift([1e-4] * (LEAST_SESSIONS - 1)) is None


@pytest.mark.parametrize("new", [False, True])
def test_infer_says_when_the_logs_have_changed(
    checkpoint: Path, write: Write, ordinary: list[list[EventId]], tmp_path: Path, new: bool
) -> None:
    later = [[*events, "new"] if new else events for events in ordinary * 3]
    summary = infer(
        checkpoint, [write("sessions/preprocessed_logs_2025-04-03.json", later)], tmp_path / "results.json"
    )
    assert bool(summary.drift) == new
    if new:
        assert "100.0% of the sessions hold an event that training never saw" in summary.drift
        assert "--adapt" in summary.drift


def test_after_adapting_the_banner_is_that_of_what_was_adapted(
    checkpoint: Path, write: Write, ordinary: list[list[EventId]], tmp_path: Path
) -> None:
    later = [[*events, "new"] for events in ordinary * 8]
    input_ = write("sessions/preprocessed_logs_2025-04-03.json", later)
    assert len(later) > SMALLEST_BLOCK
    summary = infer(checkpoint, [input_], tmp_path / "results.json", adapting=True)
    assert summary.adapted is not None
    assert summary.adapted.learnt == ["new"]
    assert summary.adapted.alarms_before == len(later)
    assert summary.drift == ""
    assert 0 < summary.calibration_sessions < len(later), "those held out from the later sessions"
    few = infer(
        checkpoint,
        [write("few/preprocessed_logs_2025-04-04.json", later[:150])],
        tmp_path / "few.json",
        adapting=True,
    )
    assert few.adapted is not None
    assert (few.adapted.blocks, few.adapted.needed, few.adapted.learnt) == (0, SMALLEST_BLOCK, [])
    assert "--adapt" not in few.drift, "it was asked for"
    assert few.drift
