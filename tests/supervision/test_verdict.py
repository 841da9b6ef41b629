"""What an attempt's end means: each way that it can end, as the supervisor sees it."""

from __future__ import annotations

import signal
from typing import Any, Literal

import pytest

from logbert_engine.protocol.events import (
    BackedOff,
    Metric,
    RunEnded,
    RunOpened,
    StagePlan,
    StageStarted,
)
from logbert_engine.protocol.runstate import RunState
from logbert_engine.rundir.outcome import AGENT, Outcome
from logbert_engine.supervision.verdict import MOST_HANGS, Again, End, judge

PLAN = StagePlan(index=2, name="stage_2_20pct", ratio=0.2, epochs=2, steps=40, batch=8)
FIRST = StagePlan(index=1, name="stage_1_10pct", ratio=0.1, epochs=2, steps=20, batch=8)
KILLED = -signal.SIGKILL
LEFT_WORD = 75
SHORT = Outcome(kind="out_of_memory", message="out of host memory at step 13", stage=2, step=12, in_step=True)


def state(
    *, micro_batch: int = 8, step: int = 12, training: bool = True, world_size: int = 1, device: str = "cpu"
) -> RunState:
    """Of a run in its second stage, folded from events as the supervisor does; or still reading its data."""
    opened = RunOpened(
        attempt=1,
        pid=1,
        host="h",
        preset="test",
        device=device,
        world_size=world_size,
        stages=[FIRST, PLAN],
    )
    events: list[Any] = [opened]
    if training:
        events.append(StageStarted(stage=2, step=0, total_step=20, micro_batch=micro_batch))
        metric = Metric(stage=2, epoch=1, step=step, steps=40, total_step=20 + step, loss=1.0, lr=0.1)
        events += [metric] if step else []
    folded = RunState()
    for seq, event in enumerate(events, 1):
        folded.apply(type(event)(**{**{n: getattr(event, n) for n in event.__struct_fields__}, "seq": seq}))
    return folded


def ended(verdict: Again | RunEnded) -> RunEnded:
    assert isinstance(verdict, RunEnded)
    assert verdict.state == "failed"
    return verdict


def backed_off(verdict: Again | RunEnded) -> BackedOff:
    assert isinstance(verdict, Again)
    assert verdict.backed_off is not None
    return verdict.backed_off


# Memory ran out


@pytest.mark.parametrize(("before", "after"), [(8, 4), (7, 4), (5, 3), (3, 2), (2, 1)])
def test_out_of_memory_in_a_step_halves_the_micro_batch_rounding_up(before: int, after: int) -> None:
    now = state(micro_batch=before, world_size=2, device="cuda")
    verdict = judge(End(status=1, state=now, outcomes={"rank1": SHORT}))
    assert backed_off(verdict) == BackedOff(
        stage=2,
        step=12,
        micro_batch=after,
        before=before,
        cause="out_of_memory",
        message=SHORT.message,
        device="cuda",
        world_size=2,
    )
    assert isinstance(verdict, Again)
    words = f"going on with {after} session{'s' if after > 1 else ''} at once instead of {before}"
    assert verdict.message == f"{SHORT.message}; {words}"


def test_of_several_ranks_the_one_that_ran_short_decides_not_the_one_that_lost_it() -> None:
    left = {
        "rank0": Outcome(kind="failed", message="rank 0: connection closed by peer"),
        "rank1": SHORT,
        AGENT: Outcome(kind="ranks_ended", statuses={0: 1, 1: LEFT_WORD}),
    }
    assert backed_off(judge(End(status=1, state=state(), outcomes=left))).cause == "out_of_memory"


def test_the_step_is_the_one_that_the_rank_had_done_though_the_journal_tells_an_earlier_one() -> None:
    """Metrics come every few steps."""
    verdict = judge(End(status=LEFT_WORD, state=state(step=10), outcomes={"rank0": SHORT}))
    assert backed_off(verdict).step == 12


def test_out_of_memory_with_a_single_session_is_a_failure_that_says_what_to_do() -> None:
    end = ended(judge(End(status=LEFT_WORD, state=state(micro_batch=1), outcomes={"rank0": SHORT})))
    assert end.reason.startswith("out of host memory at step 13, with a single session on the device at once")
    assert "--set model.max_length" in end.reason
    assert end.exit_code == 1


def test_out_of_memory_outside_a_step_fails_at_once() -> None:
    short = Outcome(kind="out_of_memory", message="out of host memory while loading the model")
    for now in (state(), state(training=False)):
        end = ended(judge(End(status=LEFT_WORD, state=now, outcomes={"rank0": short})))
        assert end.reason == f"{short.message}; a smaller micro-batch would not help there"
        assert end.exit_code == 1, "not the status by which workers tell supervisors to read their word"


def test_out_of_memory_before_a_stage_has_begun_fails_and_names_what_needs_less() -> None:
    end = ended(judge(End(status=LEFT_WORD, state=state(training=False), outcomes={"rank0": SHORT})))
    assert "before training began" in end.reason
    assert "--max-files" in end.reason


# Killed by the kernel


@pytest.mark.parametrize(
    ("cause", "whose"), [("cgroup", "of its control group"), ("machine", "of the machine")]
)
def test_a_worker_that_the_kernel_killed_for_memory_goes_on_with_half(
    cause: Literal["cgroup", "machine"], whose: str
) -> None:
    verdict = judge(End(status=KILLED, state=state(), out_of_memory=cause))
    found = backed_off(verdict)
    assert (found.micro_batch, found.before, found.cause) == (4, 8, "killed")
    assert found.message == f"out of host memory: the kernel killed the worker, as the memory {whose} ran out"


def test_a_rank_that_the_kernel_killed_for_memory_is_named() -> None:
    left = {AGENT: Outcome(kind="ranks_ended", statuses={0: LEFT_WORD, 1: KILLED})}
    found = backed_off(judge(End(status=1, state=state(), outcomes=left, out_of_memory="cgroup")))
    assert found.message.startswith("out of host memory: the kernel killed rank 1,")


def test_an_agent_that_the_kernel_killed_for_memory_counts_as_well() -> None:
    found = backed_off(judge(End(status=KILLED, state=state(), out_of_memory="machine")))
    assert found.cause == "killed"


def test_a_worker_that_somebody_killed_is_not_one_that_ran_out_of_memory() -> None:
    end = ended(judge(End(status=KILLED, state=state())))
    assert "SIGKILL" in end.reason
    assert end.signal == signal.SIGKILL
    assert end.exit_code is None


def test_a_kill_for_memory_elsewhere_does_not_explain_a_worker_that_failed() -> None:
    end = ended(judge(End(status=1, state=state(), out_of_memory="machine", said="TypeError: no")))
    assert end.reason == "the worker ended with exit status 1: TypeError: no"


def test_a_kill_for_memory_at_a_single_session_or_before_training_is_a_failure() -> None:
    end = ended(judge(End(status=KILLED, state=state(micro_batch=1), out_of_memory="cgroup")))
    assert end.reason.startswith("out of host memory: the kernel killed the worker")
    assert "with a single session" in end.reason
    end = ended(judge(End(status=KILLED, state=state(training=False), out_of_memory="cgroup")))
    assert "before training began" in end.reason


# Hung


def test_a_hung_attempt_is_started_again() -> None:
    verdict = judge(End(status=KILLED, state=state(), hung_s=612.3, hangs=1))
    assert isinstance(verdict, Again)
    assert verdict.backed_off is None
    assert verdict.message == "no sign of life for 612 s: the worker hangs and is started again"


def test_a_run_that_hangs_again_and_again_without_a_step_is_over() -> None:
    assert isinstance(judge(End(status=KILLED, state=state(), hung_s=9.0, hangs=MOST_HANGS - 1)), Again)
    end = ended(judge(End(status=KILLED, state=state(), hung_s=9.0, hangs=MOST_HANGS)))
    assert f"{MOST_HANGS} times in a row" in end.reason


def test_the_supervisors_own_kill_of_a_hung_worker_is_not_taken_for_the_kernels() -> None:
    verdict = judge(End(status=KILLED, state=state(), hung_s=9.0, hangs=1, out_of_memory="machine"))
    assert isinstance(verdict, Again)
    assert verdict.backed_off is None


# Failed


def test_a_rank_that_failed_tells_why() -> None:
    left = {
        "rank1": Outcome(kind="failed", message="rank 1: disk on fire"),
        AGENT: Outcome(kind="ranks_ended", statuses={0: LEFT_WORD, 1: LEFT_WORD}),
    }
    end = ended(judge(End(status=1, state=state(), outcomes=left)))
    assert (end.reason, end.exit_code) == ("rank 1: disk on fire", 1)


def test_a_killed_rank_is_named() -> None:
    left = {AGENT: Outcome(kind="ranks_ended", statuses={0: LEFT_WORD, 1: KILLED})}
    end = ended(judge(End(status=1, state=state(), outcomes=left)))
    assert end.reason == "rank 1 was killed (signal 9, SIGKILL)"


def test_ranks_that_crashed_without_a_word_are_named_with_what_was_said_last() -> None:
    left = {AGENT: Outcome(kind="ranks_ended", statuses={0: LEFT_WORD, 1: -signal.SIGSEGV})}
    end = ended(judge(End(status=1, state=state(), outcomes=left, said="Fatal Python error")))
    assert end.reason == "rank 1 was killed (signal 11, SIGSEGV): Fatal Python error"
    left = {AGENT: Outcome(kind="ranks_ended", statuses={0: LEFT_WORD, 1: 3})}
    end = ended(judge(End(status=1, state=state(), outcomes=left, said="ImportError: no")))
    assert end.reason == "rank 1 ended with exit status 3: ImportError: no"


@pytest.mark.parametrize(
    ("status", "said", "reason"),
    [
        (-signal.SIGSEGV, "", "the worker was killed (signal 11, SIGSEGV)"),
        (3, "ImportError: no", "the worker ended with exit status 3: ImportError: no"),
    ],
)
def test_a_worker_that_left_no_word_is_described_by_its_status(status: int, said: str, reason: str) -> None:
    end = ended(judge(End(status=status, state=state(), said=said)))
    assert end.reason == reason
    assert (end.exit_code, end.signal) == ((status, None) if status > 0 else (None, -status))


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    assert "signal 63" in ended(judge(End(status=-63, state=state()))).reason
