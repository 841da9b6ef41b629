"""What a run trains with and how it fares, in words."""

from __future__ import annotations

from typing import get_args, get_type_hints

import msgspec
import pytest

from logbert_engine.protocol import wording
from logbert_engine.protocol.events import BackedOff, Health, RunEnded, RunOpened, StagePlan, StageStarted
from logbert_engine.protocol.messages import PresetInfo
from logbert_engine.protocol.runstate import RunState


def run_of(*events, world_size=1, batch=8, micro_batch=8):
    plans = [StagePlan(index=i, name=f"s{i}", ratio=i / 2, epochs=1, steps=50, batch=batch) for i in (1, 2)]
    first = [
        RunOpened(
            attempt=1, pid=1, host="h", preset="test", device="cpu", world_size=world_size, stages=plans
        ),
        StageStarted(stage=1, micro_batch=micro_batch),
    ]
    state = RunState()
    for seq, event in enumerate([*first, *events], 1):
        state.apply(msgspec.structs.replace(event, seq=seq))
    return state


def short_of_memory(cause="out_of_memory", micro_batch=4, world_size=1):
    return BackedOff(
        stage=1,
        step=37,
        micro_batch=micro_batch,
        before=2 * micro_batch,
        cause=cause,
        message="no memory",
        device="cpu",
        world_size=world_size,
    )


def test_the_micro_batch_stands_beside_the_batch_once_it_is_smaller():
    assert wording.micro_batch(RunState()) == ""
    assert wording.micro_batch(run_of()) == "micro-batch 8"
    assert wording.micro_batch(run_of(micro_batch=2)) == "micro-batch 2 of 8", (
        "the preset's own is no back-off"
    )
    assert (
        wording.micro_batch(run_of(short_of_memory()))
        == "micro-batch 4 of 8 (backed off: out of memory after step 37)"
    )


def test_of_several_ranks_each_has_its_share_of_the_batch():
    state = run_of(short_of_memory(micro_batch=2, world_size=2), world_size=2, micro_batch=4)
    assert wording.micro_batch(state).startswith("micro-batch 2 of 4 a rank (backed off")
    assert wording.processes(state.world_size) == "2 ranks"
    assert wording.processes(1) == ""


def test_a_back_off_in_an_earlier_stage_names_it():
    state = run_of(short_of_memory("budget"), StageStarted(stage=2, micro_batch=4))
    assert wording.micro_batch(state).endswith(
        "(backed off: close to the memory budget after step 37 of stage 1)"
    )


def test_every_cause_and_every_finding_has_words():
    assert set(wording.CAUSES) == set(get_args(get_type_hints(BackedOff)["cause"]))
    assert set(wording.FINDINGS) == set(get_args(get_type_hints(Health)["finding"]))


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (RunEnded(state="paused", exit_code=1, reason="disk full: no room to write /x"), "paused: disk full"),
        (RunEnded(state="paused", exit_code=0, reason="asked to pause"), "paused"),
        (RunEnded(state="failed", exit_code=1, reason="no: it failed"), "failed"),
        (
            RunEnded(state="paused", exit_code=1, reason="a reason that is one long sentence without end"),
            "paused",
        ),
    ],
)
def test_a_pause_that_was_not_asked_for_says_why_beside_the_phase(end, words):
    assert wording.phase(run_of(end)) == words


def preset(**more):
    return PresetInfo(
        name="p",
        title="P",
        summary="",
        hardware="",
        family="encoder",
        architecture="bert",
        max_length=8,
        sample_ratio=1.0,
        max_files=0,
        epochs=1,
        batch=4,
        progressive=True,
        start_ratio=0.1,
        step_size=0.1,
        max_ratio=1.0,
        **more,
    )


def test_batches_that_follow_the_stages_are_a_range_or_a_schedule():
    assert (wording.batches(preset()), wording.batch_schedule(preset())) == ("4", "4")
    following = preset(batch_by_ratio=[(0.1, 2), (0.5, 4), (1.0, 8)])
    assert wording.batches(following) == "2–8"
    assert wording.batch_schedule(following) == "2, from 50% of the data on 4, from 100% on 8"
    assert wording.batches(preset(batch_by_ratio=[(0.1, 2), (0.5, 2)])) == "2"


def test_processes_that_a_preset_asks_for():
    assert wording.wanted_processes("auto") == "one for each CUDA device"
    assert (wording.wanted_processes(1), wording.wanted_processes(4)) == ("1", "4, together")
