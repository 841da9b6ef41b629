"""What the run screen says of loss, memory, attempts and processes, and of how a run ended."""

from __future__ import annotations

import msgspec
import pytest

from logbert_engine.protocol.events import BackedOff, Health, Log, RunEnded, RunOpened, StageStarted
from logbert_engine.protocol.runstate import RunState
from logbert_tui.screens import run_notes as notes
from logbert_tui.screens import run_panels as panels
from logbert_tui.screens.run import LatestLines, MachineLines

SIZES = [(120, 40), (120, 30), (80, 24), (60, 20)]
RISING = (
    "the training loss has risen to 3.4210 at step 61 of the stage, 24% above the 2.7589 that it had reached. "
    "Lower the learning rate (--set training.learning_rate=…) and restart the stage."
)
STALLING = "the training loss does not fall: it is 5.1, and guessing by how frequent events are gives 5.0."
DISK = (
    "disk full: no room to write /home/ana/runs/checkpoints_transfer/stage_3_30pct/checkpoints/resume.pt; nothing "
    "already saved is lost. Free some space and try again; a run resumes where it was."
)
WHERE = "stage_3_30pct, from its last saved state"


def with_batch(events, batch=8, world_size=1):
    """The story with the batch in its plans, as a run of today has it."""
    told = []
    for event in events:
        if hasattr(event, "stages"):
            event = msgspec.structs.replace(
                event, stages=[msgspec.structs.replace(plan, batch=batch) for plan in event.stages]
            )
        if isinstance(event, RunOpened):
            event = msgspec.structs.replace(event, world_size=world_size)
        if isinstance(event, StageStarted):
            event = msgspec.structs.replace(event, micro_batch=-(-batch // world_size))
        told.append(event)
    return told


def numbered(seq, *events):
    return [
        msgspec.structs.replace(event, seq=number, t=1_760_000_000.0 + number)
        for number, event in enumerate(events, seq + 1)
    ]


def back_off(micro_batch=4, before=8, step=37, cause="out_of_memory"):
    return BackedOff(
        stage=3,
        step=step,
        micro_batch=micro_batch,
        before=before,
        cause=cause,
        message="out of host memory",
        device="cpu",
    )


def health(finding, message, step=60):
    return Health(stage=3, step=step, finding=finding, message=message)


def opened_again(run, attempt=2):
    return RunOpened(
        attempt=attempt,
        pid=4242,
        host="train-01",
        preset=run.preset,
        device="cpu",
        device_name=run.device_name,
        precision="fp32",
        stages=[stage.plan for stage in run.stages],
        resumes=WHERE,
    )


def folded(events):
    run = RunState()
    for event in events:
        run.apply(event)
    return run


def flat(text):
    """What is on the screen as one line, without the marks at the left edge of a panel."""
    return " ".join(text.replace("█", " ").split())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("finding", "message", "mark"),
    [("rising", RISING, "▲ Loss rising"), ("stalling", STALLING, "▬ Loss stalling")],
)
async def test_a_finding_about_the_loss_is_shown_with_its_sentence_and_goes_when_it_has_passed(
    console, story, text_of, uncut, settle, size, finding, message, mark
):
    async with console(size=size, events=story()) as pilot:
        screen, state = pilot.app.screen, pilot.app.state
        before = text_of(screen)
        assert "Loss rising" not in before
        assert state.apply(state.run_dir, numbered(state.seq, health(finding, message)))
        await settle(pilot)
        uncut(screen)
        assert f"{mark}: {message}" in flat(text_of(screen))
        well = "the training loss is well again: 1.0, below 2.0."
        assert state.apply(state.run_dir, numbered(state.seq, health("recovered", well, 70)))
        await settle(pilot)
        assert text_of(screen) == before


@pytest.mark.parametrize("size", SIZES)
async def test_memory_that_ran_short_is_shown_with_the_micro_batch_and_the_reason(
    console, story, text_of, uncut, settle, size
):
    async with console(size=size, events=with_batch(story())) as pilot:
        screen, state = pilot.app.screen, pilot.app.state
        assert "backed off" not in text_of(screen)
        assert state.apply(state.run_dir, numbered(state.seq, back_off()))
        await settle(pilot)
        uncut(screen)
        assert "▲ Micro-batch 4 of 8 (backed off: out of memory after step 37)" in flat(text_of(screen))


async def test_the_figures_tell_how_many_sessions_are_on_the_device_at_once(console, story, settle):
    async with console(events=with_batch(story())) as pilot:
        machine, state = pilot.app.screen.query_one(MachineLines), pilot.app.state
        assert "at once    8 of 8 sessions" in machine.text
        assert "▲" not in machine.text.split("at once")[1].splitlines()[0]
        assert state.apply(state.run_dir, numbered(state.seq, back_off(cause="budget")))
        await settle(pilot)
        assert "at once    4 of 8 sessions ▲" in machine.text


@pytest.mark.parametrize("size", SIZES)
async def test_a_relaunch_by_the_supervisor_is_told_with_the_attempt_and_where_it_resumed(
    console, story, text_of, uncut, settle, size
):
    async with console(size=size, events=with_batch(story())) as pilot:
        screen, state = pilot.app.screen, pilot.app.state
        said = "no sign of life for 600 s: the worker hangs and is started again"
        events = numbered(
            state.seq,
            Log(level="warning", message=said, source="supervisor"),
            opened_again(state.run),
            StageStarted(stage=3, step=40, total_step=160, micro_batch=8),
        )
        assert state.apply(state.run_dir, events)
        await settle(pilot)
        uncut(screen)
        text = text_of(screen)
        assert "▶ training" in text
        assert f"› Attempt 2: resumed at {WHERE}"[:50] in text
        assert "▲ supervisor: no sign of life" in text
        assert "supervisor: stage 3 begins" not in screen.query_one(LatestLines).text


async def test_processes_are_counted_where_there_are_several(console, story, text_of):
    async with console(events=with_batch(story(), world_size=2)) as pilot:
        text = text_of(pilot.app.screen)
        assert "transfer  2 ranks  AMD EPYC 9B14  fp32" in text.splitlines()[2]
        assert "at once    4 of 4 sessions" in text
    async with console(size=(80, 24), events=with_batch(story(), world_size=2)) as pilot:
        assert text_of(pilot.app.screen).splitlines()[1].rstrip().endswith("2 ranks")
    async with console(events=story()) as pilot:
        assert "ranks" not in text_of(pilot.app.screen)


@pytest.mark.parametrize("size", SIZES)
async def test_a_run_paused_by_a_full_disk_says_so_whole_and_offers_the_resume(
    console, story, text_of, uncut, settle, size
):
    async with console(size=size, events=story()) as pilot:
        screen, state = pilot.app.screen, pilot.app.state
        end = RunEnded(state="paused", exit_code=1, reason=DISK, resumes=WHERE)
        assert state.apply(state.run_dir, numbered(state.seq, end))
        await settle(pilot)
        uncut(screen)
        text = text_of(screen)
        assert "‖ paused: disk full" in text
        assert "‖ Paused: disk full" in text
        assert DISK.replace(" ", "") in flat(text).replace(" ", "")
        assert f"A resume: {WHERE}" in flat(text)
        assert "exit status" not in text
        line = text.splitlines()[-1]
        assert "r resume" in line
        assert "p pause" not in line


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("reason", "signal"),
    [
        ("rank 1 was killed (signal 9, SIGKILL)", 9),
        (
            "no sign of life for 600 s, 3 times in a row without a step between; the worker was killed each time",
            None,
        ),
        (
            "the loss of stage_3_30pct is not finite at step 61; training stopped before that update and the best "
            "model so far is untouched. Train into another --run-dir with a lower learning rate "
            "(--set training.learning_rate=…).",
            None,
        ),
    ],
)
async def test_a_failure_is_told_whole_with_what_a_resume_will_do(
    console, story, text_of, uncut, settle, size, reason, signal
):
    async with console(size=size, events=story()) as pilot:
        screen, state = pilot.app.screen, pilot.app.state
        end = RunEnded(
            state="failed", exit_code=None if signal else 1, signal=signal, reason=reason, resumes=WHERE
        )
        assert state.apply(state.run_dir, numbered(state.seq, health("rising", RISING), end))
        await settle(pilot)
        uncut(screen)
        text = flat(text_of(screen))
        assert "✗ Failed" in text
        assert reason in text
        assert f"A resume: {WHERE}" in text
        assert "▲ Loss rising" in text


@pytest.mark.parametrize("size", SIZES)
async def test_a_reason_beyond_all_room_is_cut_with_the_place_where_it_stands_whole(
    console, story, text_of, uncut, size
):
    reason = "ValueError: " + "one thing led to another and " * 120
    async with console(size=size, events=story(end="failed", reason=reason)) as pilot:
        uncut(pilot.app.screen)
        text = text_of(pilot.app.screen)
        assert "(whole: logbert-engine status RUN_DIR)" in text
        assert "r resume" in text
        assert "loss, nats" in text or size == (60, 20)


async def test_a_run_that_failed_in_a_later_attempt_says_in_which(story):
    run = folded(with_batch(story()))
    for event in numbered(run.seq, opened_again(run, 3), RunEnded(state="failed", reason="x")):
        run.apply(event)
    head = "".join(text for text, _ in notes.card_rows(run, 80)[0])
    assert head.endswith(", in attempt 3")
    assert not any("Attempt" in text for row in notes.note_rows(run, 80, 6) for text, _ in row)


@pytest.mark.parametrize("width", [40, 56, 76, 116])
@pytest.mark.parametrize("most", [0, 1, 2, 3, 6])
def test_notes_keep_to_their_rows_and_their_width_whatever_there_is_to_say(story, width, most):
    run = folded(with_batch(story()))
    resumed = StageStarted(stage=3, step=40, total_step=160, micro_batch=4)
    for event in numbered(run.seq, back_off(), opened_again(run, 12), resumed, health("rising", RISING * 3)):
        run.apply(event)
    rows = notes.note_rows(run, width, most)
    assert len(rows) <= most
    assert all(sum(len(text) for text, _ in row) <= width for row in rows)
    if most:
        assert "▲ Loss rising" in "".join(text for text, _ in rows[0])
    if most >= 6:
        told = "\n".join("".join(text for text, _ in row) for row in rows)
        assert " …" in told
        assert "Micro-batch 4" in told
        assert "Attempt 12" in told


@pytest.mark.parametrize("width", [56, 78, 116, 160])
def test_the_headline_of_several_ranks_fits_its_line(story, width):
    run = folded(with_batch(story(), world_size=8))
    row = panels.headline(run, width)
    assert sum(len(text) for text, _ in row) <= width


def test_hostile_text_in_a_finding_or_a_reason_cannot_steer_the_terminal(story):
    run = folded(story())
    evil = "\x1b[2J\x1b]0;title\x07 gone\r\n"
    for event in numbered(
        run.seq, health("rising", evil), RunEnded(state="failed", reason=evil, resumes=evil)
    ):
        run.apply(event)
    text = "".join(
        part for row in [*notes.note_rows(run, 80, 6), *notes.card_rows(run, 80)] for part, _ in row
    )
    assert "\x1b" not in text
    assert "\r" not in text
    assert text.count("gone") == 3


@pytest.mark.parametrize("size", SIZES)
async def test_a_message_and_a_finding_have_room_beside_one_another(
    console, story, text_of, uncut, settle, size
):
    async with console(size=size, events=story()) as pilot:
        screen, state = pilot.app.screen, pilot.app.state
        state.notice(
            "The engine is gone; it is being started again, and the run goes on meanwhile.", "warning"
        )
        assert state.apply(state.run_dir, numbered(state.seq, health("stalling", STALLING)))
        await settle(pilot)
        uncut(screen)
        text = flat(text_of(screen))
        assert "the run goes on meanwhile." in text
        assert "▬ Loss stalling" in text


def test_a_run_whose_journal_is_gone_says_what_is_there():
    lost = RunState(reason="journal.ndjson is gone or empty; there are still stage_1_10pct")
    text = " ".join(part for row in notes.card_rows(lost, 80) for part, _ in row)
    assert "stage_1_10pct" in text
    assert "resume" in text
    assert notes.card_rows(RunState(), 80) == []
