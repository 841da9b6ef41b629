"""What status says of runs, read from real journals."""

from __future__ import annotations

import json

import msgspec
import pytest

from logbert_engine.commands.dispatch import main
from logbert_engine.presets.merging import resolve
from logbert_engine.presets.runfile import write_config
from logbert_engine.protocol.events import (
    BackedOff,
    Expected,
    Health,
    Metric,
    RunEnded,
    RunOpened,
    StagePlan,
    StageStarted,
)
from logbert_engine.protocol.expectation import Figure, StageExpectation
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.rundir import registry
from logbert_engine.rundir.journal import JournalWriter
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import held

PLAN = StagePlan(
    index=1, name="stage_1_100pct", ratio=1.0, epochs=1, sessions=90, unique=9, steps=40, batch=16
)
RISING = "the training loss has risen to 3.0 at step 20 of the stage. Lower the learning rate."
REASON = "disk full: no room to write /runs/a; nothing already saved is lost."


def opened(attempt, resumes=""):
    return RunOpened(
        attempt=attempt,
        pid=1,
        host="h",
        preset="test",
        device="cuda",
        world_size=2,
        stages=[PLAN],
        resumes=resumes,
    )


STORY = [
    opened(1),
    StageStarted(stage=1, micro_batch=8),
    Metric(stage=1, epoch=1, step=30, steps=40, total_step=30, loss=0.5, lr=0.1, sessions_per_s=100.0),
    BackedOff(
        stage=1,
        step=30,
        micro_batch=4,
        before=8,
        cause="killed",
        message="no memory",
        device="cuda",
        world_size=2,
    ),
    opened(2, "stage_1_100pct, from its last saved state"),
    StageStarted(stage=1, step=30, total_step=30, micro_batch=4),
    Metric(stage=1, epoch=1, step=32, steps=40, total_step=32, loss=0.5, lr=0.1, sessions_per_s=100.0),
    Health(stage=1, step=32, finding="rising", message=RISING),
]
BACKED_OFF = "micro-batch 4 of 8 a rank (backed off: killed by the kernel, out of host memory after step 30)"


@pytest.fixture
def run(tmp_path):
    layout = RunLayout(tmp_path / "run")
    write_config(layout, resolve(RunSpec(data=str(tmp_path), run_dir=str(layout.root), preset="test")))
    registry.remember(layout.root)
    return layout


def journal(run, *events):
    with JournalWriter(run.journal) as writer:
        for event in events:
            writer.append(event)


def test_a_run_at_work_is_told_in_one_line_and_by_name_in_full(run, capsys):
    journal(run, *STORY)
    with held(run):
        assert main(["status"]) == 0
        first, line = capsys.readouterr().out.splitlines()
        assert first.startswith("engine: not running")
        assert line == (
            f"{run.root}: training, stage 1/1, step 32/40, loss 0.5000, 100 sessions/s, 2 ranks, attempt 2, "
            f"{BACKED_OFF}, loss rising"
        )
        assert main(["status", str(run.root)]) == 0
        lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{run.root}: training, stage 1/1, step 32/40, loss 0.5000, 100 sessions/s"
    assert lines[1] == "  attempt 2, resumed at stage_1_100pct, from its last saved state"
    assert lines[2].startswith("  2 ranks on cuda, supervised by process ")
    assert lines[3:] == [f"  {BACKED_OFF}", f"  loss rising: {RISING}"]


def test_a_full_disk_is_named_as_the_cause_with_the_whole_sentence_and_the_way_on(run, capsys):
    end = RunEnded(
        state="paused", exit_code=1, reason=REASON, resumes="stage_1_100pct, from its last saved state"
    )
    journal(run, *STORY, end)
    assert main(["status"]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.startswith(f"{run.root}: paused: disk full, stage 1/1, ")
    assert line.endswith(REASON)
    assert main(["status", str(run.root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"  reason: {REASON}"
    assert lines[-1] == "  a resume: stage_1_100pct, from its last saved state"
    assert not any("supervised" in line for line in lines)


def test_a_pause_that_was_asked_for_has_no_cause_beside_it(run, capsys):
    journal(run, *STORY, RunEnded(state="paused", exit_code=0, reason="asked to pause"))
    main(["status"])
    line = capsys.readouterr().out.splitlines()[1]
    assert line.startswith(f"{run.root}: paused, ")
    assert "asked to pause" not in line


def test_json_has_each_part_by_itself(run, capsys):
    journal(run, *STORY, RunEnded(state="paused", exit_code=1, reason=REASON, resumes="here"))
    assert main(["status", "--json", str(run.root)]) == 0
    (found,) = json.loads(capsys.readouterr().out)["runs"]
    assert (found["phase"], found["phase_words"]) == ("paused", "paused: disk full")
    assert (found["attempt"], found["processes"], found["device"]) == (2, 2, "cuda")
    assert (found["micro_batch"], found["batch"], found["memory"]) == (4, 16, BACKED_OFF)
    assert (found["health"], found["health_message"]) == ("rising", RISING)
    assert (found["reason"], found["resumes"], found["worker_pid"]) == (REASON, "here", None)


def test_a_folder_that_holds_no_run_is_named_and_the_others_are_told(run, tmp_path, capsys):
    journal(run, *STORY, RunEnded(state="stopped", exit_code=0))
    assert main(["status", str(tmp_path), str(run.root)]) == 1
    found = capsys.readouterr()
    assert "is not a run directory" in found.err
    assert found.out.startswith(f"{run.root}: stopped")


def test_a_run_whose_journal_is_gone_tells_what_is_there(run, capsys):
    journal(run, *STORY, RunEnded(state="stopped", exit_code=0))
    (run.root / "stage_1_50pct").mkdir()
    (run.root / "stage_2_100pct").mkdir()
    run.stage("stage_1_50pct").metrics.write_text("{}")
    assert main(["status", str(run.root)]) == 0
    assert "stopped" in capsys.readouterr().out
    run.journal.unlink()
    assert main(["status", str(run.root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{run.root}: new",
        f"  reason: {run.journal} is gone or empty, and with it what it told of the run; there are still "
        "stage_1_50pct with its figures, stage_2_100pct, and a resume goes on from there.",
    ]


def test_a_run_that_is_to_end_before_where_it_came_to_counts_what_is_planned(run, capsys):
    two = msgspec.structs.replace(opened(1), stages=[PLAN, msgspec.structs.replace(PLAN, index=2, name="s2")])
    journal(run, two, StageStarted(stage=2, micro_batch=8), opened(2), RunEnded(state="finished"))
    assert main(["status", str(run.root)]) == 0
    assert ": finished, stage 1/1, " in capsys.readouterr().out


def test_time_and_memory_are_told_beside_what_was_expected(run, capsys):
    expected = StageExpectation(
        stage=1,
        memory=Figure(value=500.0, low=425.0, high=575.0, origin="computed"),
        step_s=Figure(value=2.0, low=1.0, high=4.0, origin="measured"),
        seconds=Figure(value=80.0, low=40.0, high=160.0, origin="measured"),
    )
    at_work = Metric(
        stage=1,
        epoch=1,
        step=30,
        steps=40,
        total_step=30,
        loss=0.5,
        lr=0.1,
        stage_s=90.0,
        peak_device_mb=620.0,
    )
    budgeted = msgspec.structs.replace(opened(1), memory_budget_mb=800.0)
    journal(run, budgeted, Expected(stages=[expected]), StageStarted(stage=1, micro_batch=8), at_work)
    with held(run):
        assert main(["status", str(run.root)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert main(["status", "--json", str(run.root)]) == 0
        (found,) = json.loads(capsys.readouterr().out)["runs"]
    assert (
        "  time: 90 s of training so far; left: stage 30 s, run 30 s; "
        "expected 80 s (40 s–3 min) in all, measured"
    ) in lines
    assert ("  memory: peak 620 MB; budget 800 MB; expected 500 MB (425 MB–575 MB), computed") in lines
    assert (found["seconds"], found["stage_left_s"], found["run_left_s"]) == (90.0, 30.0, 30.0)
    assert (found["expected_s"]["value"], found["expected_memory_mb"]["value"]) == (80.0, 500.0)
