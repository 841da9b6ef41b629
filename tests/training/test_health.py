"""What is noticed about losses: in recorded runs of the real trainer, in curves made up, and in noise.

``loss_curves.json`` holds runs of presets test and demo on labelled session files and on simulated logs, at
learning rates from sane to absurd: pairs of a step and a training loss, and alone the validation loss of an epoch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from logbert_engine.training.health import Finding, HealthState, HealthWatch

RUNS: dict[str, Any] = {
    run["name"]: run for run in json.loads(Path(__file__).with_name("loss_curves.json").read_text())
}
SANE = [name for name, run in RUNS.items() if run["learning_rate"] <= 1e-3]
BLIND, FREQUENCIES = 5.0, 3.0


def watch(state: HealthState | None = None, **changed: Any) -> HealthWatch:
    return HealthWatch(**{"blind": BLIND, "frequencies": FREQUENCIES, "state": state} | changed)


def findings(run: dict[str, Any], *, interrupted: bool = False) -> list[list[Finding]]:
    """Of each stage; ``interrupted``: as if the run were resumed after every loss."""
    parent: float | None = None
    said: list[list[Finding]] = []
    for stage in run["stages"]:
        levels = {"blind": run["blind"], "frequencies": run["frequencies"], "parent_valid": parent}
        found, at_work = [], watch(**levels)
        epochs = sum(not isinstance(loss, list) for loss in stage["losses"])
        epoch = 0
        for loss in stage["losses"]:
            if interrupted:
                saved = msgspec.json.encode(at_work.state)
                at_work = watch(msgspec.json.decode(saved, type=HealthState), **levels)
            if isinstance(loss, list):
                finding = at_work.metric(loss[0], stage["steps"], loss[1])
            else:
                epoch += 1
                finding = at_work.epoch(epoch, epochs, loss)
            found += [finding] if finding is not None else []
        parent = at_work.state.best_valid
        said.append(found)
    return said


def kinds(found: Iterable[Finding]) -> list[str]:
    return [finding.kind for finding in found]


def feed(at_work: HealthWatch, losses: Iterable[float], steps: int = 1000) -> list[Finding]:
    found = [at_work.metric(10 * i, steps, loss) for i, loss in enumerate(losses, start=1)]
    return [finding for finding in found if finding is not None]


@pytest.mark.parametrize("name", SANE)
def test_a_healthy_run_gives_no_finding(name: str) -> None:
    assert [kinds(stage) for stage in findings(RUNS[name])] == [[]] * len(RUNS[name]["stages"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hdfs_test_1e-1", [["stalling"]]),
        ("hdfs_test_1.0", [["rising", "recovered"]]),
        ("bgl_test_1e-1", [["stalling"]]),
        ("adfa_demo_1e-1", [["stalling"]]),
        ("adfa_demo_1.0", [["rising"]]),
        ("demo_1e-1", [["stalling"]] * 3),
        ("hdfs_prog_1e-1", [[], [], [], ["stalling"]]),
        ("hdfs_prog_1.0", [["rising"]] * 3 + [["rising", "recovered"]]),
    ],
)
def test_an_absurd_learning_rate_is_noticed(name: str, expected: list[list[str]]) -> None:
    found = findings(RUNS[name])
    assert [kinds(stage) for stage in found] == expected
    for finding in chain.from_iterable(found):
        assert "\n" not in finding.message
        assert finding.message.endswith(".")
        if finding.kind != "recovered":
            assert "--set training.learning_rate=" in finding.message


@pytest.mark.parametrize("name", RUNS)
def test_a_resumed_run_says_what_an_uninterrupted_one_says(name: str) -> None:
    assert findings(RUNS[name], interrupted=True) == findings(RUNS[name])


def test_divergence_is_noticed_within_five_metrics() -> None:
    found = feed(watch(), [6, 9, 14, 40, 90, 200, 300])
    assert kinds(found) == ["rising"]
    assert "at step 50 of the stage, above the 5.00 that guessing blindly gives" in found[0].message


def test_a_high_loss_at_the_very_start_is_not_divergence() -> None:
    assert feed(watch(), [12, 9, 7, 5, 4, 3, 2.5, 2, 1.5, 1.2, 1.0, 0.9]) == []


def test_a_loss_that_rises_again_is_noticed_once_and_its_recovery_too() -> None:
    down, up = np.linspace(4, 1, 30), np.linspace(1, 2.5, 20)
    found = feed(watch(), [*down, *up, *up[::-1], *np.full(20, 1.0)])
    assert kinds(found) == ["rising", "recovered"]
    assert "34% above the 1.1579 that it had reached" in found[0].message


def test_a_slow_small_rise_within_the_noise_is_not_noticed() -> None:
    rng = np.random.default_rng(3)
    losses = np.linspace(0.5, 0.56, 100) * np.exp(rng.normal(0, 0.4, 100))
    assert feed(watch(), losses) == []


def test_a_rise_of_a_third_stands_out_of_ordinary_noise() -> None:
    rng = np.random.default_rng(4)
    losses = np.where(np.arange(100) < 60, 0.5, 0.67) * np.exp(rng.normal(0, 0.1, 100))
    assert kinds(feed(watch(), losses)) == ["rising"]


def test_a_stage_from_a_trained_model_may_rise_while_its_learning_rate_does() -> None:
    warm_restart = [*np.linspace(0.3, 0.9, 20), *np.linspace(0.9, 0.3, 80)]
    assert feed(watch(parent_valid=0.3), warm_restart) == []
    assert kinds(feed(watch(parent_valid=None), warm_restart)) == ["rising", "recovered"]


def test_a_stage_that_unlearns_what_its_parent_knew_is_noticed() -> None:
    found = feed(watch(parent_valid=0.4), [0.5, 1.0, 2.0, *[3.1] * 30])
    assert kinds(found) == ["rising"]
    assert "no lower than the 3.0000 that guessing by frequency gives" in found[0].message


def test_a_new_model_that_learns_only_frequencies_stalls_and_recovers() -> None:
    plateau = [4.5, 4.0, 3.5, *[3.0] * 60]
    found = feed(watch(), [*plateau, *np.linspace(3.0, 1.0, 37)])
    assert kinds(found) == ["stalling", "recovered"]
    assert "(--epochs-per-stage)" in found[0].message


def test_a_loss_still_on_its_way_down_does_not_stall() -> None:
    assert feed(watch(), np.linspace(5, 2.9, 100)) == []


def test_a_flat_loss_below_what_guessing_gives_does_not_stall() -> None:
    assert feed(watch(), [4.0, 2.0, *[0.8] * 98]) == []


def test_a_later_stage_is_flat_by_nature() -> None:
    assert feed(watch(parent_valid=0.8), [0.8] * 100) == []


def test_a_later_stage_whose_parent_learned_nothing_stalls_too() -> None:
    assert kinds(feed(watch(parent_valid=3.0), [3.0] * 100)) == ["stalling"]


def epochs(at_work: HealthWatch, *losses: float) -> list[Finding]:
    found = [at_work.epoch(i, len(losses), loss) for i, loss in enumerate(losses, start=1)]
    return [finding for finding in found if finding is not None]


def test_a_validation_loss_that_rises_is_noticed_until_it_is_met_again() -> None:
    found = epochs(watch(), 1.0, 0.8, 0.9, 0.95, 0.79)
    assert kinds(found) == ["rising", "recovered"]
    assert "0.9000 in epoch 3, 12% above the 0.8000 that it had reached" in found[0].message


def test_a_validation_loss_that_moves_by_little_is_not_noticed() -> None:
    assert epochs(watch(), 1.0, 0.8, 0.83, 0.8, 0.82) == []


def test_a_stage_that_ends_worse_than_the_one_before_is_noticed_at_its_end() -> None:
    assert epochs(watch(parent_valid=0.5), 0.65, 0.51) == []
    found = epochs(watch(parent_valid=0.5), 0.65, 0.6)
    assert kinds(found) == ["rising"]
    assert "0.6000 after epoch 2 of 2, 20% above the 0.5000 of the stage before" in found[0].message


def test_a_stage_far_worse_than_the_one_before_is_noticed_at_once() -> None:
    assert kinds(epochs(watch(parent_valid=0.5), 1.6, 0.6, 0.49)) == ["rising", "recovered"]


def test_a_stage_too_short_for_windows_is_judged_by_its_validation() -> None:
    at_work = watch()
    assert feed(at_work, [90.0, 70.0], steps=20) == []
    assert kinds(epochs(at_work, 60.0, 40.0)) == ["rising"]


def test_losses_that_are_no_numbers_are_left_to_the_run_that_stops_at_them() -> None:
    at_work = watch()
    before = msgspec.json.encode(at_work.state)
    assert feed(at_work, [math.nan, math.inf]) == epochs(at_work, math.nan) == []
    assert msgspec.json.encode(at_work.state) == before


def test_what_it_remembers_does_not_grow() -> None:
    at_work, sizes = watch(), []
    for length in (100, 100_000):
        feed(at_work, np.linspace(4, 0.5, length).tolist(), steps=10 * length)
        sizes.append(len(msgspec.msgpack.encode(at_work.state)))
    assert sizes[1] <= sizes[0] + 48


def falling(
    rng: np.random.Generator, metrics: int, noise: float, end: float, pace: float
) -> NDArray[np.float64]:
    """A healthy curve from blind guessing down to ``end``; what nobody has learned yet is equally hard to all."""
    mean = end + (BLIND - end) * np.exp(-np.arange(1, metrics + 1) / metrics / pace)
    amount = noise * np.clip(1.5 * (1 - mean / BLIND), 0, 1)
    return np.asarray(mean * np.exp(rng.normal(-(amount**2) / 2, amount)))


@settings(max_examples=25)
@given(
    st.integers(2, 300),
    st.floats(0.0, 0.6),
    st.floats(0.1, 2.0),
    st.floats(0.02, 0.3),
    st.booleans(),
    st.integers(0),
)
def test_noise_about_a_falling_curve_is_noticed_in_fewer_than_one_run_of_twenty(
    metrics: int, noise: float, end: float, pace: float, later: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    parent = end if later else None
    runs = [
        np.full(metrics, end) * np.exp(rng.normal(0, noise, metrics))
        if later
        else falling(rng, metrics, noise, end, pace)
        for _ in range(60)
    ]
    noticed = sum(bool(feed(watch(parent_valid=parent), run, steps=10 * metrics)) for run in runs)
    assert noticed <= 3  # measured: one in 200 where the noise is 0.6, one in 1,000 where it is 0.3


@given(
    st.lists(
        st.one_of(st.floats(min_value=0), st.just(math.nan), st.floats(0, 100), st.just(1.0)),
        max_size=120,
    ),
    st.none() | st.floats(0, 10),
)
def test_any_losses_change_the_state_one_step_at_a_time(losses: list[float], parent: float | None) -> None:
    at_work = watch(parent_valid=parent)
    state = ""
    for i, loss in enumerate(losses, start=1):
        found = [at_work.metric(i, len(losses), loss)]
        if i % 30 == 0:
            found.append(at_work.epoch(i // 30, 4, loss))
        for finding in found:
            if finding is not None:
                assert finding.kind != state
                assert (finding.kind == "recovered") <= (state != "")
                state = "" if finding.kind == "recovered" else finding.kind
        assert at_work.state.finding == state
        msgspec.json.decode(msgspec.json.encode(at_work.state), type=HealthState)
