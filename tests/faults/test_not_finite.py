"""Row 17: a loss or gradient that is no number stops training before the update; nothing is saved from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from logbert_engine.protocol.events import BackedOff, EpochEnded, Log, RunEnded, RunOpened
from logbert_engine.rundir.checksums import recorded, sha256_of
from logbert_engine.rundir.layout import RunLayout
from tests.faults.harness import Fault, environment, losses, none_left, same_bits, weights
from tests.faults.small_runs import PER_STAGE, small_words, to_its_end, told

pytestmark = [pytest.mark.row(17), pytest.mark.timeout(600)]

Record = Callable[[str, object], None]
STEP = "logbert_engine.training.stage:accumulate"
VALID = "logbert_engine.models.surprisal:read"
EPOCH = PER_STAGE[1] // 2
"""Steps of an epoch of stage 2."""
PAIR = ("--nproc", "2")


def failed(run: RunLayout, status: int) -> str:
    """Assert that the run ended once and for all, with one sentence; returns it."""
    assert status == 1
    (end,) = told(run, RunEnded)
    assert (end.state, end.exit_code) == ("failed", 1)
    assert len(told(run, RunOpened)) == 1, "it is not tried again"
    assert told(run, BackedOff) == []
    assert any(line.level == "error" and end.reason in line.message for line in told(run, Log))
    none_left(run)
    return end.reason


def untouched(run: RunLayout, undisturbed: RunLayout, epochs: int) -> None:
    """Assert that stage 1 and the first epochs of stage 2 are those of an undisturbed run, and that there is no
    other model; and that no saved state has a weight that is no number."""
    for ours, theirs, done in zip(run.stages(), undisturbed.stages(), (2, epochs), strict=True):
        models = [ours.best] if done else []
        models += [ours.epoch(number) for number in range(1, done + 1)]
        states = [ours.resume, ours.resume_previous]
        there = {path.name for path in ours.checkpoints.glob("*.pt")}
        assert there - {state.name for state in states} == {model.name for model in models}
        for path in models:
            if path != ours.best or done == 2:
                assert same_bits(weights(path), weights(theirs.checkpoints / path.name)), path
        for path in [*models, *(state for state in states if state.exists())]:
            assert sha256_of(path) in recorded(path)
            assert all(torch.isfinite(tensor).all() for tensor in weights(path).values()), path


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_loss_that_is_no_number_stops_before_the_update(
    ranks: int,
    varied: Path,
    real_run: RunLayout,
    undisturbed: RunLayout,
    undisturbed_pair: RunLayout,
    tmp_path: Path,
    record_property: Record,
) -> None:
    """On the second of two ranks, or on the only one; metrics come later, so that it is met unseen at first."""
    k = PER_STAGE[0] + EPOCH + 2
    fault = Fault(STEP, "nan", tmp_path / "marks", step=k, rank=ranks - 1)
    more = PAIR if ranks == 2 else ()
    done = to_its_end(small_words(varied, real_run, *more, training__log_every=5), environment(fault))
    assert len(fault.happened()) == 1
    reason = failed(real_run, done.returncode)
    assert reason.startswith(f"the loss of stage_2_67pct is not finite at step {EPOCH + 3};")
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    untouched(real_run, undisturbed if ranks == 1 else undisturbed_pair, epochs=1)
    assert None not in losses(real_run).values()
    record_property("not finite", 1)


@pytest.mark.slow
@pytest.mark.parametrize("who", ["the lone worker", "rank 0", "rank 1"])
@pytest.mark.parametrize(
    ("at", "does", "what"), [(STEP, "nan", "loss"), (STEP, "infinite_gradient", "gradient")]
)
@pytest.mark.parametrize("k", [0, 3, PER_STAGE[0], PER_STAGE[0] + EPOCH - 1])
def test_any_step_on_any_rank(
    who: str,
    at: str,
    does: str,
    what: str,
    k: int,
    varied: Path,
    real_run: RunLayout,
    undisturbed: RunLayout,
    undisturbed_pair: RunLayout,
    tmp_path: Path,
    record_property: Record,
) -> None:
    """The first step of all, one in mid-epoch, the first of a stage, and the last before a validation."""
    rank, ranks = int(who == "rank 1"), 1 if who == "the lone worker" else 2
    assert does in ("nan", "infinite_gradient")
    fault = Fault(
        at, "nan" if does == "nan" else "infinite_gradient", tmp_path / "m", step=k, rank=rank, after=True
    )
    more = PAIR if ranks == 2 else ()
    done = to_its_end(small_words(varied, real_run, *more, training__log_every=3), environment(fault))
    first = PER_STAGE[0]
    stage, step = ("stage_1_34pct", k + 1) if k < first else ("stage_2_67pct", k - first + 1)
    assert failed(real_run, done.returncode).startswith(
        f"the {what} of {stage} is not finite at step {step};"
    )
    if k >= first:
        untouched(real_run, undisturbed if ranks == 1 else undisturbed_pair, epochs=0)
    else:
        (only,) = real_run.stages()
        assert not only.best.exists()
        assert not only.resume.exists()
    record_property("not finite", 1)


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_validation_loss_that_is_no_number_saves_no_model(
    ranks: int,
    varied: Path,
    real_run: RunLayout,
    undisturbed: RunLayout,
    undisturbed_pair: RunLayout,
    tmp_path: Path,
    record_property: Record,
) -> None:
    fault = Fault(VALID, "nan", tmp_path / "marks", step=PER_STAGE[0] + 2 * EPOCH, rank=ranks - 1)
    done = to_its_end(small_words(varied, real_run, "--nproc", str(ranks)), environment(fault))
    reason = failed(real_run, done.returncode)
    assert reason.startswith("the validation loss of stage_2_67pct is not finite after epoch 2;")
    assert "Traceback" not in done.stderr
    assert "RuntimeWarning" not in done.stderr
    untouched(real_run, undisturbed if ranks == 1 else undisturbed_pair, epochs=1)
    assert len(told(real_run, EpochEnded)) == 3
    record_property("not finite", 1)
