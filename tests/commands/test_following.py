"""What a run in the foreground says, line by line, while a real process journals it."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from logbert_engine.commands.following import follow
from logbert_engine.presets.merging import resolve
from logbert_engine.presets.runfile import write_config
from logbert_engine.protocol.events import (
    BackedOff,
    DataReady,
    EpochEnded,
    Expected,
    Health,
    Log,
    Metric,
    RunEnded,
    RunOpened,
    StageEnded,
    StagePlan,
    StageStarted,
    encode_event,
)
from logbert_engine.protocol.expectation import Figure, StageExpectation
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.rundir.journal import JournalWriter, last_event
from logbert_engine.rundir.layout import RunLayout

JOURNALS = """
import sys
from pathlib import Path
from logbert_engine.protocol.events import decode_event
from logbert_engine.rundir.journal import JournalWriter
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import held

run = RunLayout(Path(sys.argv[1]))
with held(run), JournalWriter(run.journal) as journal:
    for line in sys.stdin.buffer:
        journal.append(decode_event(line))
sys.exit(int(sys.argv[2]))
"""
"""Takes the run, journals what it reads from its input, and ends."""

FOLLOWS = """
import signal, sys, threading, time
from pathlib import Path
from logbert_engine.commands.following import follow
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.supervision.launch import launch

run = RunLayout(Path(sys.argv[1]))
def tell():
    while signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        time.sleep(0.01)
    Path(run.root, "listens").touch()
threading.Thread(target=tell, daemon=True).start()
sys.exit(follow(run, launch(run, command=[sys.executable, *sys.argv[2:]]), sys.stdout, 0))
"""
"""Follows a worker in a process of its own, which signals can be sent to."""
LATE = """
import runpy, sys, time
from pathlib import Path
while not Path(sys.argv[2], "signalled").exists():
    time.sleep(0.01)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""A worker that has just been started, and gets to its work when the signal has been sent."""
SMALL_WORKER = str(Path(__file__).parents[1] / "daemon" / "small_worker.py")

PLAN = StagePlan(
    index=1, name="stage_1_100pct", ratio=1.0, epochs=1, sessions=90, unique=9, steps=40, batch=8
)
DATA = DataReady(files=1, sessions=100, unique=9, events=5, train=90, valid=10, stages=[PLAN])
RISING = "the training loss has risen to 3.0 at step 20 of the stage. Lower the learning rate."
NO_MEMORY = "out of host memory at step 31 of stage_1_100pct"


def opened(attempt, resumes="", world_size=1):
    return RunOpened(
        attempt=attempt,
        pid=1,
        host="h",
        preset="test",
        device="cpu",
        world_size=world_size,
        stages=[PLAN],
        resumes=resumes,
    )


def metric(step):
    return Metric(stage=1, epoch=1, step=step, steps=40, total_step=step, loss=1 / step, lr=0.1, stage_s=1.0)


RELAUNCHED = [
    opened(1),
    DATA,
    StageStarted(stage=1, parent="new", micro_batch=8),
    metric(10),
    metric(30),
    Log(level="error", message=NO_MEMORY),
    Log(level="warning", message=f"{NO_MEMORY}; going on with 4 sessions at once", source="supervisor"),
    BackedOff(
        stage=1, step=30, micro_batch=4, before=8, cause="out_of_memory", message=NO_MEMORY, device="cpu"
    ),
    opened(2, "stage_1_100pct, from its last saved state"),
    DATA,
    StageStarted(stage=1, parent="new", step=30, total_step=30, micro_batch=4),
    metric(40),
]
DONE = [
    EpochEnded(
        stage=1,
        epoch=1,
        total_step=40,
        train_loss=0.5,
        valid_loss=0.4,
        seconds=2.0,
        checkpoint="epoch_1.pt",
        best=True,
    ),
    StageEnded(
        stage=1,
        sessions=90,
        steps=40,
        best_epoch=1,
        train_loss=0.5,
        best_valid_loss=0.4,
        seconds=4.0,
        checkpoint="best_model.pt",
        sha256="0",
    ),
    RunEnded(state="finished", exit_code=0),
]


@pytest.fixture
def run(tmp_path):
    layout = RunLayout(tmp_path / "run")
    write_config(layout, resolve(RunSpec(data=str(tmp_path), run_dir=str(layout.root), preset="test")))
    return layout


@pytest.fixture
def followed(run):
    """Follows a process that journals these events and ends with a status: (status, lines)."""

    def go(events, status=0):
        last = last_event(run.journal) if run.journal.exists() else None
        with subprocess.Popen(
            [sys.executable, "-c", JOURNALS, str(run.root), str(status)], stdin=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            process.stdin.write(b"".join(encode_event(event) + b"\n" for event in events))
            process.stdin.close()
            process.stdin = None
            out = io.StringIO()
            code = follow(run, process, out, last.seq if last is not None else 0)
        return code, out.getvalue().splitlines()

    return go


def test_a_relaunch_after_memory_ran_out_is_told_and_followed_to_the_end(followed):
    code, lines = followed([*RELAUNCHED, *DONE])
    assert code == 0
    assert lines == [
        "1 files, 100 sessions (9 distinct), 5 events; training on 90, held out 10",
        "stage_1_100pct: 90 sessions, 40 steps, from new",
        f"warning: {NO_MEMORY}; going on with 4 sessions at once",
        "  micro-batch 4 of 8 (backed off: out of memory after step 30)",
        "attempt 2: stage_1_100pct, from its last saved state",
        "stage_1_100pct: 90 sessions, 40 steps after step 30, from new, "
        "micro-batch 4 of 8 (backed off: out of memory after step 30)",
        "  epoch 1: train 0.5000 valid 0.4000 (best), 2.0 s",
        "  complete in 4.0 s: best_model.pt",
    ]


def test_what_is_expected_is_told_before_the_first_stage(followed):
    stage = StageExpectation(
        stage=1,
        memory=Figure(value=500.0, low=425.0, high=575.0, origin="computed"),
        seconds=Figure(value=80.0, low=40.0, high=100.0, origin="measured"),
    )
    _, lines = followed([opened(1), DATA, Expected(stages=[stage]), *DONE])
    told = "expected: 80 s (40 s–100 s) of training, measured; 500 MB (425 MB–575 MB) at the peak, computed"
    assert lines[1] == told


def test_a_finding_about_the_loss_is_a_line_said_once_and_so_is_its_end(followed):
    well = "the training loss is well again: 1.0, below 2.0."
    code, lines = followed(
        [
            *RELAUNCHED[:4],
            Log(level="warning", message=RISING),
            Health(stage=1, step=20, finding="rising", message=RISING),
            Log(level="info", message=well),
            Health(stage=1, step=24, finding="recovered", message=well),
            Health(stage=1, step=30, finding="stalling", message="it does not fall."),
            *DONE,
        ]
    )
    assert code == 0
    assert [line for line in lines if "loss" in line] == [
        f"warning: {RISING}",
        f"  loss well again: {well}",
        "warning: loss stalling: it does not fall.",
    ]


def test_several_processes_are_told(followed):
    _, lines = followed([opened(1, world_size=2), DATA, *DONE])
    assert lines[0] == "2 ranks on cpu"
    _, lines = followed([opened(2, "stage_1_100pct, from its beginning", world_size=2), DATA, *DONE])
    assert lines[0] == "attempt 2, 2 ranks on cpu: stage_1_100pct, from its beginning"


def test_a_run_paused_by_a_full_disk_says_so_and_how_to_go_on_and_fails(run, followed, capsys):
    reason = "disk full: no room to write /x; nothing already saved is lost."
    end = RunEnded(
        state="paused", exit_code=1, reason=reason, resumes="stage_1_100pct, from its last saved state"
    )
    code, lines = followed([*RELAUNCHED[:4], end], status=1)
    assert code == 1
    assert capsys.readouterr().err == f"logbert-engine: paused: {reason}\n"
    assert lines[-1] == (
        f"paused; go on with: logbert-engine resume {run.root}  (stage_1_100pct, from its last saved state)"
    )


def test_a_failure_says_why_and_how_to_go_on(run, followed, capsys):
    reason = "rank 1 was killed (signal 9, SIGKILL)"
    end = RunEnded(state="failed", signal=9, reason=reason, resumes="stage_1_100pct, from its beginning")
    code, lines = followed([*RELAUNCHED[:4], end], status=1)
    assert code == 1
    assert capsys.readouterr().err == f"logbert-engine: {reason}\n"
    assert lines[-1].startswith("failed; go on with: logbert-engine resume ")


def test_what_an_earlier_supervisor_did_is_not_told_again(run, followed):
    with JournalWriter(run.journal) as journal:
        for event in [*RELAUNCHED, RunEnded(state="paused", exit_code=0)]:
            journal.append(event)
    resumed = "stage_1_100pct, from its last saved state"
    _, lines = followed([opened(3, resumed), DATA, *DONE])
    assert lines[0] == f"attempt 3: {resumed}"
    assert not any("attempt 2" in line or NO_MEMORY in line for line in lines)


def test_a_supervisor_that_is_gone_without_a_word_is_journaled_as_failed(run, followed, capsys):
    code, _ = followed(RELAUNCHED[:4], status=3)
    assert code == 3
    end = last_event(run.journal)
    assert isinstance(end, RunEnded)
    assert (end.state, end.exit_code) == ("failed", 3)
    assert "exit status 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "phase", "said"),
    [(signal.SIGINT, "paused", "pausing"), (signal.SIGTERM, "stopped", "stopping")],
)
@pytest.mark.parametrize("early", [False, True], ids=["training", "starting"])
def test_a_signal_ends_the_run_with_its_state_saved_before_the_command_ends(run, number, phase, said, early):
    worker = ["-c", LATE, SMALL_WORKER] if early else [SMALL_WORKER]
    with subprocess.Popen(
        [sys.executable, "-c", FOLLOWS, str(run.root), *worker, str(run.root), "--steps", "4000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        try:
            deadline = time.monotonic() + 30
            while not (
                (run.root / "listens").exists() and (early or isinstance(last_event(run.journal), Metric))
            ):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            command.send_signal(number)
            (run.root / "signalled").touch()
            out, errors = command.communicate(timeout=30)
        finally:
            command.kill()
            (run.root / "signalled").touch()  # no worker waits for it any more
    assert command.returncode == 128 + number
    assert f"{said}: the exact state is being saved" in errors
    assert out.splitlines()[-1].startswith(f"{phase}; go on with: logbert-engine resume {run.root}")
    end = last_event(run.journal)
    assert isinstance(end, RunEnded)
    assert end.state == phase
    assert not run.control.exists()
