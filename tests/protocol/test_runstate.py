"""The fold over a run's journal."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.protocol.events import (
    BackedOff,
    DataReady,
    EpochEnded,
    Expected,
    Health,
    JournalEvent,
    Log,
    Metric,
    ModelReady,
    Progress,
    RunEnded,
    RunOpened,
    StageEnded,
    StagePlan,
    StageStarted,
    decode_event,
    encode_event,
)
from logbert_engine.protocol.expectation import Figure, StageExpectation
from logbert_engine.protocol.runstate import KEPT_LOG_LINES, RunState


def plans(sessions: int = 0) -> list[StagePlan]:
    steps, batch = (10, 8) if sessions else (0, 0)
    return [
        StagePlan(
            index=i, name=f"stage_{i}", ratio=i / 2, epochs=2, sessions=i * sessions, steps=steps, batch=batch
        )
        for i in (1, 2)
    ]


def opened(attempt: int = 1, device: str = "cpu", world_size: int = 1) -> RunOpened:
    return RunOpened(
        attempt=attempt,
        pid=7,
        host="here",
        preset="test",
        device=device,
        world_size=world_size,
        stages=plans(),
    )


def data_ready() -> DataReady:
    return DataReady(files=1, sessions=20, unique=9, events=5, train=18, valid=2, stages=plans(9))


def backed_off(micro_batch: int, before: int, step: int = 4, world_size: int = 1) -> BackedOff:
    return BackedOff(
        stage=1,
        step=step,
        micro_batch=micro_batch,
        before=before,
        cause="out_of_memory",
        message="out of host memory",
        device="cpu",
        world_size=world_size,
    )


def health(finding: str, step: int = 4, stage: int = 1) -> Health:
    return Health(stage=stage, step=step, finding=finding, message=f"it is {finding}")


def metric(stage: int, step: int, total: int, **more: float) -> Metric:
    return Metric(
        stage=stage,
        epoch=1,
        step=step,
        steps=10,
        total_step=total,
        loss=1.0 / total,
        lr=0.1,
        stage_s=step * 2.0,
        **more,
    )


def epoch_ended(stage: int, epoch: int, total: int, valid: float, best: bool) -> EpochEnded:
    return EpochEnded(
        stage=stage,
        epoch=epoch,
        total_step=total,
        train_loss=1.0,
        valid_loss=valid,
        seconds=1,
        checkpoint="c",
        best=best,
    )


def stage_ended(stage: int) -> StageEnded:
    return StageEnded(
        stage=stage,
        sessions=9,
        steps=10,
        best_epoch=2,
        train_loss=1.0,
        best_valid_loss=0.5,
        seconds=20.0,
        peak_rss_mb=300.0,
        checkpoint=f"stage_{stage}/best",
        sha256="abc",
    )


def folded(*events: JournalEvent, state: RunState | None = None) -> RunState:
    state = state or RunState()
    for event in events:
        state.apply(msgspec.structs.replace(event, seq=state.seq + 1, t=100.0 + state.seq))
    return state


def test_a_whole_run():
    state = folded(opened(), Progress(phase="reading", done=1, total=2))
    assert (state.phase, state.active, state.progress.done) == ("preparing", True, 1)
    folded(data_ready(), ModelReady(parameters=5, architecture="bert", source="new"), state=state)
    assert [s.plan.steps for s in state.stages] == [10, 10]
    folded(StageStarted(stage=1), metric(1, 5, 5, rss_mb=200.0), state=state)
    assert (state.phase, state.progress, state.current().step) == ("training", None, 5)
    assert state.time_left() == (10.0, 30.0)
    folded(epoch_ended(1, 1, 5, 0.7, best=True), metric(1, 10, 10, rss_mb=150.0), state=state)
    folded(epoch_ended(1, 2, 10, 0.9, best=False), state=state)
    assert state.current().best_valid_loss == 0.7
    folded(stage_ended(1), StageStarted(stage=2, parent="stage_1/best", total_step=10), state=state)
    assert [s.phase for s in state.stages] == ["done", "running"]
    assert state.stages[0].checkpoint == "stage_1/best"
    folded(metric(2, 10, 20), stage_ended(2), RunEnded(state="finished"), state=state)
    assert (state.phase, state.active) == ("finished", False)
    assert [s.phase for s in state.stages] == ["done", "done"]
    assert state.curve.step == [5, 10, 20]
    assert state.curve.valid_loss == [0.7, 0.9]
    assert state.peak_rss_mb == 200.0
    assert state.time_left() == (None, None)
    assert (state.started_at, state.updated_at) == (100.0, 100.0 + state.seq - 1)


def expected(*of_steps: float, end_s: float = 3.0) -> Expected:
    """Of stages from the first on, by the seconds of their steps."""
    return Expected(
        stages=[
            StageExpectation(
                stage=index,
                memory=_about(100.0 * index),
                step_s=_about(step_s),
                end_s=end_s,
                seconds=_about(10 * step_s + 2 * end_s),
            )
            for index, step_s in enumerate(of_steps, 1)
        ]
    )


def _about(value: float) -> Figure:
    return Figure(value=value, low=value / 2, high=value * 2, origin="computed")


def timed(stage: int, step: int, total: int, ends_s: float = 0.0) -> Metric:
    """Steps of 2 s each, and what the ends of epochs took so far."""
    return msgspec.structs.replace(
        metric(stage, step, total), stage_s=step * 2.0 + ends_s, steps_s=step * 2.0
    )


def test_the_time_left_counts_the_ends_of_epochs_and_the_batches_of_later_stages():
    state = folded(opened(), data_ready(), expected(1.0, 3.0), StageStarted(stage=1), timed(1, 5, 5))
    # steps take twice as long as expected, and so will ends of epochs; those of stage 2 three times as long
    assert state.time_left() == (5 * 2.0 + 2 * 6.0, 5 * 2.0 + 2 * 6.0 + 10 * 6.0 + 2 * 6.0)
    ended = msgspec.structs.replace(epoch_ended(1, 1, 5, 0.7, best=True), end_s=4.0)
    folded(ended, timed(1, 6, 6, ends_s=4.0), state=state)
    assert state.time_left() == (4 * 2.0 + 4.0, 4 * 2.0 + 4.0 + 10 * 6.0 + 2 * 4.0)
    assert state.current().step_s == 2.0, "ends of epochs are no part of a step"


def test_the_time_left_goes_on_from_stage_to_stage():
    state = folded(opened(), data_ready(), expected(1.0, 3.0), StageStarted(stage=1), timed(1, 10, 10))
    folded(stage_ended(1), StageStarted(stage=2, total_step=10), state=state)
    assert state.time_left() == (10 * 6.0 + 2 * 6.0, 10 * 6.0 + 2 * 6.0), (
        "before stage 2 has a figure of its own"
    )
    folded(timed(2, 5, 15), state=state)
    assert state.time_left()[0] == 5 * 2.0 + 2 * 2.0, "then by its own steps, a third shorter than expected"
    folded(RunEnded(state="paused"), opened(2), state=state)
    assert state.time_left() == (None, None)


def test_expectations_last_and_a_later_attempt_brings_those_of_what_is_left():
    state = folded(opened(), data_ready(), expected(1.0, 3.0), StageStarted(stage=1), timed(1, 10, 10))
    assert (state.expected_seconds.value, state.expected_memory.value) == (16.0 + 36.0, 200.0)
    folded(stage_ended(1), StageStarted(stage=2, total_step=10), RunEnded(state="paused"), state=state)
    again = Expected(stages=[msgspec.structs.replace(expected(1.0, 5.0).stages[1])])
    folded(opened(2), data_ready(), again, StageStarted(stage=2, total_step=10), state=state)
    assert [stage.expected.step_s.value for stage in state.stages] == [1.0, 5.0]
    assert state.expected_left.value == 56.0, "stage 1 is complete"
    folded(StageStarted(stage=1), state=state)
    assert [stage.expected.step_s.value for stage in state.stages] == [1.0, 5.0], "as a stage begins again"


def test_the_peak_is_that_of_training_and_validation_where_it_trains():
    state = folded(opened(), data_ready(), StageStarted(stage=1), metric(1, 5, 5, rss_mb=200.0))
    assert state.peak_mb == 200.0
    folded(metric(1, 6, 6, rss_mb=200.0, peak_rss_mb=260.0), state=state)
    assert state.peak_mb == 260.0
    on_gpu = folded(
        opened(device="cuda"), StageStarted(stage=1), metric(1, 5, 5, rss_mb=900.0, peak_device_mb=70.0)
    )
    assert on_gpu.peak_mb == 70.0


def test_a_resume_in_mid_stage_cuts_what_is_trained_again():
    state = folded(
        opened(), data_ready(), StageStarted(stage=1), metric(1, 4, 4), epoch_ended(1, 1, 4, 0.6, best=True)
    )
    folded(
        metric(1, 8, 8),
        epoch_ended(1, 2, 8, 0.4, best=True),
        RunEnded(state="failed", reason="killed"),
        state=state,
    )
    assert (state.phase, state.stages[0].phase, state.reason) == ("failed", "interrupted", "killed")
    folded(opened(2), StageStarted(stage=1, step=5, total_step=5), state=state)
    assert (state.phase, state.reason, state.ended, state.attempt) == ("training", "", None, 2)
    assert state.curve.step == [4]
    assert state.curve.valid_step == [4]
    stage = state.stages[0]
    assert [(e.epoch, e.total_step) for e in stage.epochs] == [(1, 4)]
    assert (stage.best_valid_loss, stage.step, stage.plan.steps) == (0.6, 5, 10)


def test_a_stage_that_begins_again_forgets_what_it_had_and_what_came_after():
    state = folded(opened(), data_ready(), StageStarted(stage=1), metric(1, 10, 10), stage_ended(1))
    folded(StageStarted(stage=2, total_step=10), metric(2, 9, 19), stage_ended(2), state=state)
    folded(opened(2), StageStarted(stage=1), state=state)
    for stage in state.stages:
        assert (stage.step, stage.epochs, stage.seconds, stage.checkpoint, stage.sha256) == (
            0,
            [],
            0.0,
            "",
            "",
        )
        assert (stage.best_valid_loss, stage.loss, stage.peak_rss_mb) == (None, None, None)
    assert [s.phase for s in state.stages] == ["running", "planned"]
    assert state.curve.step == []
    assert state.stages[0].plan.steps == 10, "the plan is kept"


def test_a_worker_that_left_no_word_leaves_no_running_stage_to_the_next_one():
    state = folded(opened(), data_ready(), StageStarted(stage=1), metric(1, 5, 5), opened(2))
    assert [s.phase for s in state.stages] == ["interrupted", "planned"]
    assert [s.plan.steps for s in state.stages] == [10, 10], "known sizes outlive an attempt"


def test_events_that_are_in_change_nothing():
    state = folded(opened(), data_ready(), StageStarted(stage=1), metric(1, 5, 5))
    before = msgspec.json.encode(state)
    state.apply(msgspec.structs.replace(metric(1, 9, 9), seq=state.seq))
    state.apply(msgspec.structs.replace(RunEnded(state="failed"), seq=1))
    assert msgspec.json.encode(state) == before


def test_only_the_latest_log_lines_are_kept():
    state = folded(*(Log(level="info", message=str(i)) for i in range(KEPT_LOG_LINES + 7)))
    assert len(state.logs) == KEPT_LOG_LINES
    assert state.logs[0].message == "7"


def test_two_runs_share_no_state():
    one, other = RunState(), RunState()
    folded(
        opened(),
        data_ready(),
        StageStarted(stage=1),
        metric(1, 5, 5),
        Log(level="info", message="x"),
        state=one,
    )
    assert (other.stages, other.logs, other.curve.step) == ([], [], [])


def test_a_back_off_holds_over_attempts_and_stages_on_the_same_terms():
    state = folded(opened(), data_ready(), StageStarted(stage=1, micro_batch=8), metric(1, 4, 4))
    assert (state.micro_batch, state.back_off) == (8, None)
    folded(backed_off(4, 8), state=state)
    assert (state.micro_batch, state.largest_micro_batch) == (4, 8)
    folded(opened(2), data_ready(), state=state)
    assert state.back_off is not None
    folded(StageStarted(stage=1, step=4, total_step=4, micro_batch=4), state=state)
    assert (state.micro_batch, state.back_off.step, state.attempt) == (4, 4, 2)
    folded(stage_ended(1), StageStarted(stage=2, total_step=10, micro_batch=4), state=state)
    assert state.back_off is not None
    folded(RunEnded(state="paused"), state=state)
    assert state.back_off is not None, "a resume will train so"


def test_a_back_off_ends_on_another_device_with_other_processes_or_where_the_batch_is_as_small():
    one = folded(opened(), data_ready(), StageStarted(stage=1, micro_batch=8), backed_off(4, 8))
    folded(opened(2, device="cuda"), data_ready(), StageStarted(stage=1, micro_batch=8), state=one)
    assert one.back_off is None
    two = folded(opened(), data_ready(), StageStarted(stage=1, micro_batch=8), backed_off(4, 8))
    folded(opened(2, world_size=2), data_ready(), StageStarted(stage=1, micro_batch=4), state=two)
    assert (two.world_size, two.largest_micro_batch, two.back_off) == (2, 4, None)
    small = data_ready()
    small.stages[1] = msgspec.structs.replace(small.stages[1], batch=4)
    three = folded(opened(), small, StageStarted(stage=1, micro_batch=8), backed_off(4, 8))
    folded(stage_ended(1), StageStarted(stage=2, total_step=10, micro_batch=4), state=three)
    assert three.back_off is None


def test_a_finding_about_the_loss_stays_until_it_has_passed():
    state = folded(opened(), data_ready(), StageStarted(stage=1), metric(1, 4, 4), health("rising"))
    assert state.health.finding == "rising"
    folded(health("recovered", step=6), state=state)
    assert state.health is None
    folded(health("stalling", step=8), RunEnded(state="paused"), state=state)
    folded(opened(2), StageStarted(stage=1, step=8, total_step=8), state=state)
    assert state.health.finding == "stalling", "a resume goes on with what the worker knew"
    folded(stage_ended(1), StageStarted(stage=2, total_step=10), state=state)
    assert state.health is None


def test_a_finding_about_steps_that_are_trained_again_is_forgotten_with_them():
    state = folded(opened(), data_ready(), StageStarted(stage=1), metric(1, 9, 9), health("rising", step=9))
    folded(opened(2), state=state)
    assert state.health is not None
    folded(StageStarted(stage=1, step=5, total_step=5), state=state)
    assert state.health is None


OLDER = [
    b'{"kind":"run_opened","seq":1,"t":1.5,"attempt":1,"pid":7,"host":"here","preset":"test","device":"cpu",'
    b'"stages":[{"index":1,"name":"stage_1_100pct","ratio":1.0,"epochs":2}]}',
    b'{"kind":"data_ready","seq":2,"files":1,"sessions":20,"unique":9,"events":5,"train":18,"valid":2,'
    b'"stages":[{"index":1,"name":"stage_1_100pct","ratio":1.0,"epochs":2,"sessions":18,"unique":9,"steps":10}]}',
    b'{"kind":"stage_started","seq":3,"stage":1,"parent":"new"}',
    b'{"kind":"metric","seq":4,"stage":1,"epoch":1,"step":5,"steps":10,"total_step":5,"loss":0.5,"lr":0.1}',
    b'{"kind":"run_ended","seq":5,"state":"failed","reason":"killed","signal":9}',
]
"""Lines of a journal from before there were several processes and a memory policy."""


def test_a_journal_without_the_later_fields_loads():
    state = RunState()
    for line in OLDER:
        state.apply(decode_event(line))
    assert (state.phase, state.attempt, state.stages[0].step) == ("failed", 1, 5)
    assert (state.world_size, state.micro_batch, state.largest_micro_batch) == (1, 0, 0)
    assert (state.back_off, state.health) == (None, None)
    assert (state.expected_seconds, state.expected_memory, state.stages[0].steps_s) == (None, None, None)
    again = msgspec.json.decode(msgspec.json.encode(state), type=RunState)
    assert msgspec.json.encode(again) == msgspec.json.encode(state)


_floats = st.none() | st.floats(0, 100)
_stages = st.integers(-1, 4)
_events = st.one_of(
    st.builds(opened, st.integers(1, 3), st.sampled_from(["cpu", "cuda"]), st.integers(1, 3)),
    st.builds(data_ready),
    st.builds(expected, st.floats(-1, 9), st.floats(0, 9), st.floats(0, 9), end_s=st.floats(0, 9)),
    st.builds(Progress, phase=st.text(max_size=5), done=st.floats(0, 1), total=st.floats(0, 1)),
    st.builds(
        StageStarted,
        stage=_stages,
        step=st.integers(0, 9),
        total_step=st.integers(0, 30),
        micro_batch=st.integers(0, 9),
    ),
    st.builds(backed_off, st.integers(1, 9), st.integers(1, 9), st.integers(0, 9), st.integers(1, 3)),
    st.builds(health, st.sampled_from(["rising", "stalling", "recovered"]), st.integers(0, 9), _stages),
    st.builds(
        Metric,
        stage=_stages,
        epoch=st.integers(1, 2),
        step=st.integers(0, 10),
        steps=st.just(10),
        total_step=st.integers(0, 30),
        loss=_floats,
        lr=st.floats(0, 1),
        rss_mb=_floats,
        steps_s=_floats,
        peak_device_mb=_floats,
    ),
    st.builds(
        EpochEnded,
        stage=_stages,
        epoch=st.integers(1, 2),
        total_step=st.integers(0, 30),
        train_loss=_floats,
        valid_loss=_floats,
        seconds=st.floats(0, 9),
        end_s=_floats,
        checkpoint=st.just("c"),
        best=st.booleans(),
    ),
    st.builds(stage_ended, _stages),
    st.builds(Log, level=st.just("info"), message=st.text(max_size=5)),
    st.builds(RunEnded, state=st.sampled_from(["finished", "paused", "stopped", "failed"])),
)


@given(st.lists(_events, max_size=40), st.integers(0, 40))
def test_a_snapshot_and_the_rest_equal_the_whole_whatever_the_journal_holds(events, cut):
    """Also of a damaged journal: stages that no plan has, ends without a beginning."""
    stamped = [msgspec.structs.replace(e, seq=i + 1) for i, e in enumerate(events)]
    whole = RunState()
    for event in stamped:
        whole.apply(event)
        whole.time_left()
        assert whole.back_off is None or whole.back_off.micro_batch == whole.micro_batch
    part = RunState()
    for event in stamped[:cut]:
        part.apply(event)
    there = msgspec.json.decode(msgspec.json.encode(part), type=RunState)
    for event in stamped:  # the overlap changes nothing
        there.apply(decode_event(encode_event(event)))
    assert msgspec.json.encode(there) == msgspec.json.encode(whole)
