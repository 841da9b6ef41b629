"""Row 15: memory runs out in a process that trains. All stop, half the sessions at once, and the same result."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import msgspec
import pytest

from logbert_engine.presets.runfile import read_config, write_config
from logbert_engine.presets.types import Workers
from logbert_engine.protocol.events import (
    BackedOff,
    EpochEnded,
    Log,
    RunEnded,
    RunOpened,
    StageStarted,
)
from logbert_engine.rundir.journal import JournalWriter, read_journal
from logbert_engine.rundir.layout import RunLayout
from tests.faults.harness import (
    Fault,
    Happening,
    engine,
    environment,
    eventually,
    kill_all,
    losses,
    none_left,
    trains,
    without_gap,
)
from tests.faults.small_runs import BATCH, PER_STAGE, STEPS, same_up_to, small_words, to_its_end, told

pytestmark = [pytest.mark.row(15), pytest.mark.timeout(600)]

Record = Callable[[str, object], None]
FORWARD = "logbert_engine.training.step:read"
BACKWARD = "torch:Tensor.backward"
SCORED = "logbert_engine.models.surprisal:read"
UPDATE = "logbert_engine.training.step:Updater.update"
PAIR = ("--nproc", "2")


def starts(run: RunLayout) -> list[tuple[int, int, int]]:
    """Stage, steps done and sessions at once of each beginning."""
    return [(event.stage, event.step, event.micro_batch) for event in told(run, StageStarted)]


def last_epoch(step: int) -> int:
    """The step since stage 1 at which the last epoch before another step ended; a stage has two."""
    before = 0 if step < PER_STAGE[0] else PER_STAGE[0]
    epoch = PER_STAGE[bool(before)] // 2
    return before + (step - before) // epoch * epoch


def went_on_with_half(
    run: RunLayout, fault: Fault, step: int, *, ranks: int, saved: int | None = None
) -> BackedOff:
    """Assert that the run backed off once, at a step since stage 1, and finished by itself from that one, or from
    another that was saved before."""
    assert len(fault.happened()) == 1
    (found,) = told(run, BackedOff)
    first, share = PER_STAGE[0], BATCH // ranks
    stage, done = (1, step) if step < first else (2, step - first)
    begins = done if saved is None else saved - (step - done)
    assert (found.stage, found.step, found.cause) == (stage, done, "out_of_memory")
    assert (found.before, found.micro_batch, found.world_size) == (share, share // 2, ranks)
    assert "out of host memory" in found.message
    assert any(
        line.level == "warning"
        and found.message in line.message
        and f"with {share // 2} sessions" in line.message
        for line in told(run, Log)
    )
    again = [(stage, begins, share // 2)]
    before = [(1, 0, share)] if stage == 1 else [(1, 0, share), (2, 0, share)]
    after = [(2, 0, share // 2)] if stage == 1 else []
    assert starts(run) == before + again + after, "from the exact step, and in the stages to come"
    assert [event.attempt for event in told(run, RunOpened)] == [1, 2]
    (end,) = told(run, RunEnded)
    assert (end.state, end.exit_code) == ("finished", 0)
    plans = told(run, RunOpened)[-1].stages
    assert len(plans) == 2
    assert len(losses(run)) == STEPS, "the effective batch is as it was: as many steps"
    return found


def test_a_lone_worker_goes_on_from_the_exact_step_and_to_the_same_losses(
    varied: Path, real_run: RunLayout, undisturbed: RunLayout, tmp_path: Path, record_property: Record
) -> None:
    fault = Fault(FORWARD, "cpu_memory", tmp_path / "marks", step=3)
    done = to_its_end(small_words(varied, real_run), environment(fault))
    assert done.returncode == 0, done.stderr
    went_on_with_half(real_run, fault, 3, ranks=1)
    same_up_to(real_run, undisturbed, 3)
    none_left(real_run)
    assert without_gap(list(read_journal(real_run.journal)))
    record_property("back-offs", 1)


def test_memory_that_runs_out_on_one_rank_of_two_stops_both_at_one_step(
    varied: Path, real_run: RunLayout, undisturbed_pair: RunLayout, tmp_path: Path, record_property: Record
) -> None:
    fault = Fault(BACKWARD, "device_memory", tmp_path / "marks", step=13, rank=1)
    done = to_its_end(small_words(varied, real_run, *PAIR), environment(fault))
    assert done.returncode == 0, done.stderr
    found = went_on_with_half(real_run, fault, 13, ranks=2)
    assert "on rank 1" in found.message
    same_up_to(real_run, undisturbed_pair, 13)
    none_left(real_run)
    record_property("back-offs", 1)


def test_memory_that_never_suffices_is_halved_down_to_one_session_and_then_fails_clearly(
    varied: Path, real_run: RunLayout, tmp_path: Path
) -> None:
    fault = Fault(FORWARD, "cpu_memory", tmp_path / "marks", times=99)
    done = to_its_end(small_words(varied, real_run, training__micro_batch=2), environment(fault))
    assert done.returncode == 1
    assert [(event.before, event.micro_batch) for event in told(real_run, BackedOff)] == [(2, 1)]
    assert len(fault.happened()) == 2, "one attempt with each"
    (end,) = told(real_run, RunEnded)
    assert (end.state, end.exit_code) == ("failed", 1)
    assert re.match(r"out of host memory at step 1 of stage_1_34pct .*with a single session", end.reason)
    assert end.reason in done.stderr
    assert "Traceback" not in done.stderr
    none_left(real_run)


def test_out_of_memory_outside_of_a_step_fails_at_once_and_says_where(
    varied: Path, real_run: RunLayout, tmp_path: Path
) -> None:
    fault = Fault("logbert_engine.training.run:new_model", "cpu_memory", tmp_path / "marks", times=99)
    done = to_its_end(small_words(varied, real_run), environment(fault))
    assert done.returncode == 1
    assert len(fault.happened()) == 1, "it is not tried again"
    (end,) = told(real_run, RunEnded)
    assert end.reason.startswith("out of host memory while the model of stage_1_34pct was loaded (")
    assert end.reason.endswith("; a smaller micro-batch would not help there")
    assert (end.state, end.exit_code, told(real_run, BackedOff)) == ("failed", 1, [])
    none_left(real_run)


PHASES = {
    "forward": (FORWARD, False),
    "backward": (BACKWARD, False),
    "after backward": (BACKWARD, True),
    "before the update": (UPDATE, False),
    "after the update": (UPDATE, True),
}
LACKS: tuple[Happening, ...] = ("cpu_memory", "device_memory", "memory_error")


CASES = [
    (phase, who, (11 * number + 5) % STEPS)  # all over the run, the first step of a stage among them
    for number, (phase, who) in enumerate(product(PHASES, ["the lone worker", "rank 0", "rank 1"]))
]


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "who", "step"), CASES)
def test_any_phase_of_any_step_on_any_rank(
    phase: str,
    who: str,
    step: int,
    varied: Path,
    real_run: RunLayout,
    undisturbed: RunLayout,
    undisturbed_pair: RunLayout,
    tmp_path: Path,
    record_property: Record,
) -> None:
    at, after = PHASES[phase]
    does = LACKS[(step + len(phase) + len(who)) % len(LACKS)]
    rank, ranks = int(who == "rank 1"), 1 if who == "the lone worker" else 2
    fault = Fault(at, does, tmp_path / "marks", step=step, after=after, rank=rank)
    done = to_its_end(small_words(varied, real_run, *(PAIR if ranks == 2 else ())), environment(fault))
    assert done.returncode == 0, done.stderr
    saved = last_epoch(step) if at == UPDATE else step  # in part the weights may be the new ones
    went_on_with_half(real_run, fault, step, ranks=ranks, saved=saved)
    same_up_to(real_run, undisturbed if ranks == 1 else undisturbed_pair, saved)
    none_left(real_run)
    record_property("back-offs", 1)


@pytest.mark.slow
def test_two_ranks_are_halved_again_and_again_until_one_session_each(
    varied: Path, real_run: RunLayout, undisturbed_pair: RunLayout, tmp_path: Path, record_property: Record
) -> None:
    """Both at the same step, then one, then the other, each in another phase."""
    faults = [
        Fault(FORWARD, "cpu_memory", tmp_path / "first", step=2, rank=None, times=2),
        Fault(BACKWARD, "memory_error", tmp_path / "second", step=14, rank=0),
    ]
    done = to_its_end(small_words(varied, real_run, *PAIR), environment(*faults))
    assert done.returncode == 0, done.stderr
    found = [(event.before, event.micro_batch) for event in told(real_run, BackedOff)]
    assert found == [(4, 2), (2, 1)]
    same_up_to(real_run, undisturbed_pair, 2)
    record_property("back-offs", len(found))


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_memory_that_runs_out_in_validation_is_what_another_attempt_has(
    ranks: int,
    varied: Path,
    real_run: RunLayout,
    undisturbed: RunLayout,
    undisturbed_pair: RunLayout,
    tmp_path: Path,
    record_property: Record,
) -> None:
    """A lone worker goes straight on to the validation; of two ranks the other could not save with it."""
    fault = Fault(SCORED, "cpu_memory", tmp_path / "marks", step=14, times=2, rank=ranks - 1)
    words = small_words(varied, real_run, "--nproc", str(ranks), data__valid_most=2)
    other = RunLayout(tmp_path / "other")
    assert to_its_end(small_words(varied, other, "--nproc", str(ranks), data__valid_most=2)).returncode == 0
    done = to_its_end(words, environment(fault))
    assert done.returncode == 0, done.stderr
    found = told(real_run, BackedOff)
    assert "in validation after epoch 1 of stage_2_67pct" in found[0].message
    assert all("in validation after epoch" in event.message for event in found)
    first, share = PER_STAGE[0], BATCH // ranks
    begins = PER_STAGE[1] // 2 if ranks == 1 else 0
    assert starts(real_run)[:3] == [(1, 0, share), (2, 0, share), (2, begins, share // 2)]
    same_up_to(real_run, other, first + begins)
    record_property("back-offs", len(found))


@pytest.mark.slow
def test_memory_that_never_suffices_to_validate_is_a_clear_failure(
    varied: Path, real_run: RunLayout, tmp_path: Path
) -> None:
    fault = Fault(SCORED, "cpu_memory", tmp_path / "marks", times=99)
    done = to_its_end(small_words(varied, real_run, training__micro_batch=2), environment(fault))
    assert done.returncode == 1
    (end,) = told(real_run, RunEnded)
    assert "in validation after epoch 1 of stage_1_34pct" in end.reason
    assert "with a single session" in end.reason
    assert [event.micro_batch for event in told(real_run, BackedOff)] == [1]
    none_left(real_run)


@pytest.mark.slow
def test_memory_that_suffices_for_one_session_is_enough_to_validate(
    varied: Path, real_run: RunLayout, undisturbed: RunLayout, tmp_path: Path
) -> None:
    fault = Fault(SCORED, "cpu_memory", tmp_path / "marks", times=10_000, when="len(args[1]) > 4")
    done = to_its_end(small_words(varied, real_run), environment(fault))
    assert done.returncode == 0, done.stderr
    assert fault.happened()
    assert losses(real_run) == losses(undisturbed), "training knows nothing of it"
    ours, theirs = told(real_run, EpochEnded), told(undisturbed, EpochEnded)
    for one, other in zip(ours, theirs, strict=True):
        assert one.valid_loss == pytest.approx(other.valid_loss, rel=1e-6)


# What one attempt has learned


@pytest.fixture
def paused(varied: Path, real_run: RunLayout, tmp_path: Path) -> Iterator[RunLayout]:
    """A run that has backed off from 8 to 2 sessions at once and was paused after it."""
    fault = Fault(FORWARD, "cpu_memory", tmp_path / "marks", step=3, times=2)
    words = small_words(varied, real_run, stages__epochs=400)
    done = engine(*words, env=environment(fault))
    assert done.returncode == 0, done.stderr
    eventually(lambda: len(told(real_run, BackedOff)) == 2 and trains(real_run), "it goes on", 200)
    assert engine("pause", real_run.root).returncode == 0
    none_left(real_run)
    assert starts(real_run)[-1][2] == 2
    yield real_run
    kill_all(real_run)


def resumed(run: RunLayout) -> int:
    """The sessions at once of the next attempt, which is then stopped."""
    done = engine("resume", run.root)
    assert done.returncode == 0, done.stderr
    eventually(lambda: trains(run), "it trains again", 200)
    assert engine("stop", run.root).returncode == 0
    none_left(run)
    return starts(run)[-1][2]


@pytest.mark.slow
def test_what_was_learned_holds_after_a_pause_but_for_another_device_or_world_size(paused: RunLayout) -> None:
    assert resumed(paused) == 2
    with JournalWriter(paused.journal) as journal:  # as an attempt on a GPU would have left it
        found = told(paused, BackedOff)[-1]
        journal.append(
            BackedOff(
                stage=found.stage,
                step=found.step,
                before=2,
                micro_batch=1,
                cause="out_of_memory",
                message="out of device memory",
                device="cuda",
                world_size=1,
            )
        )
    assert resumed(paused) == 2, "the GPU's memory is not the CPU's"
    config = read_config(paused)
    write_config(paused, msgspec.structs.replace(config, workers=Workers(nproc=2)))
    assert resumed(paused) == BATCH // 2, (
        "each of two ranks has half of the batch, and nothing is known of them"
    )
    write_config(paused, config)
    assert resumed(paused) == 2
