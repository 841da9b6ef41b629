"""The app: screens by key, leaving, the command line, and a real engine that dies and comes back."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

import psutil
import pytest

from logbert_engine import __version__
from logbert_engine.presets.merging import resolve
from logbert_engine.presets.runfile import write_config
from logbert_engine.protocol.events import Log, RunOpened, StagePlan
from logbert_engine.protocol.locations import program
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.protocol.starting import ensure_engine
from logbert_engine.rundir.journal import JournalWriter
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import held
from logbert_tui.__main__ import main
from logbert_tui.app import LogbertApp
from logbert_tui.link import EngineLink
from logbert_tui.screens.console import ConsoleScreen
from logbert_tui.state import ConsoleState

DEADLINE_S = 30.0


async def until(condition, what):
    """Wait for a condition, with a deadline."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        await asyncio.sleep(0.02)


@pytest.fixture
async def engine():
    """This test's own engine, ended with the test."""
    pids: set[int] = set()

    async def start():
        path = await ensure_engine()
        state = ConsoleState()
        link = EngineLink(state, path)
        link.start()
        await link.connected()
        pids.add(state.engine.pid)
        await link.close()
        return state.engine.pid

    yield start
    for pid in pids:
        end_process(pid)


def end_process(pid):
    """Kill a process that this test started, and wait until it is gone."""
    try:
        process = psutil.Process(pid)
        process.kill()
        process.wait(timeout=DEADLINE_S)
    except psutil.NoSuchProcess:
        return


@pytest.fixture
def journal(tmp_path):
    """The journal of a run that this process has opened and holds, as its worker does."""
    run_dir = tmp_path / "run"
    run = RunLayout(run_dir)
    write_config(run, resolve(RunSpec(data=str(tmp_path), run_dir=str(run_dir), preset="test")))
    with held(run), JournalWriter(run.journal) as writer:
        writer.append(
            RunOpened(
                attempt=1,
                pid=os.getpid(),
                host="here",
                preset="test",
                device="cpu",
                stages=[StagePlan(index=1, name="stage_1_100pct", ratio=1.0, epochs=1)],
            )
        )
        yield run_dir, writer


@pytest.mark.parametrize(
    ("key", "screen"),
    [
        ("1", "picker"),
        ("2", "run"),
        ("t", "run"),
        ("3", "logs"),
        ("4", "inference"),
        ("question_mark", "help"),
    ],
)
async def test_a_key_leads_to_its_screen(console, key, screen):
    async with console(screen="help" if screen != "help" else "run") as pilot:
        await pilot.press(key)
        await pilot.pause()
        assert pilot.app.shown == screen


async def test_escape_walks_back_through_the_screens(console, story):
    async with console(screen="run", events=story()) as pilot:
        await pilot.press("question_mark")
        assert pilot.app.shown == "help"
        await pilot.press("2")
        await pilot.press("escape")
        assert pilot.app.shown == "help"


async def test_leaving_returns_the_line_for_the_terminal(console, story):
    async with console(events=story()) as pilot:
        await pilot.press("q")
    back = f"Training goes on; come back with: {program('logbert-tui')} ~/runs/"
    assert pilot.app.return_value.startswith(back)
    assert pilot.app.return_code == 0


async def test_every_key_of_the_key_line_can_be_clicked(console, story):
    async with console(events=story()) as pilot:
        line = pilot.app.screen.query_one("KeyLine")
        x = line.text.index(" ? help") + 1
        await pilot.click(line, offset=(x, 0))
        await pilot.pause()
        assert pilot.app.shown == "help"


async def test_the_palette_offers_what_the_keys_do(console):
    async with console() as pilot:
        titles = [command.title for command in pilot.app.get_system_commands(pilot.app.screen)]
        assert "Pause" in titles
        assert "Theme" in titles
        assert "Screenshot" not in titles


async def test_the_screen_is_painted_before_any_engine_answers(tmp_path):
    app = LogbertApp(socket=tmp_path / "none.sock")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        text = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
        assert "Presets" in text
        await until(lambda: app.state.connection == "lost", "the loss is told")
        app.screen.tick()
        await pilot.pause()
        assert "no engine" in app.screen._compositor.render_strips()[0].text


def test_without_a_terminal_one_sentence_and_status_1():
    done = subprocess.run(
        [sys.executable, "-m", "logbert_tui"], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("logbert-tui: The console needs a terminal")
    assert done.stderr.count("\n") == 1


async def test_an_engine_that_cannot_be_reached_ends_the_console_with_a_sentence_and_status_1(tmp_path):
    app = LogbertApp(socket=tmp_path / "none.sock", must_connect=True)
    async with app.run_test(size=(80, 24)):
        await until(lambda: app.return_code is not None, "the end")
    assert app.return_code == 1
    assert "none.sock" in app.return_value


def test_inference_without_a_run_directory_is_refused(capsys):
    assert main(["--inference"]) == 1
    assert "RUN_DIR" in capsys.readouterr().err


def test_the_version_is_told_without_a_terminal(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"logbert-tui {__version__}\n"


def test_the_console_imports_neither_torch_nor_transformers():
    code = (
        "import sys, logbert_tui.app, logbert_tui.screens.picker, logbert_tui.screens.run\n"
        "print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


async def test_what_a_real_engine_offers_reaches_the_state(engine):
    await engine()
    app = LogbertApp()
    async with app.run_test(size=(120, 40)):
        await until(lambda: app.state.presets and app.state.hardware, "presets and hardware")
        assert "transfer" in [preset.name for preset in app.state.presets]
        assert app.state.hardware.memory_mb > 0


async def test_a_killed_engine_is_started_again_and_no_event_is_missed(engine, journal):
    run_dir, writer = journal
    pid = await engine()
    state = ConsoleState()
    link = EngineLink(state)
    link.start()
    try:
        await link.follow(str(run_dir))
        assert state.seq == 1
        for number in range(50):
            writer.append(Log(level="info", message=f"before {number}"))
        await until(lambda: state.seq == 51, "the first events")
        end_process(pid)
        for number in range(50):
            writer.append(Log(level="info", message=f"after {number}"))
        await until(lambda: state.connection == "connected" and state.engine.pid != pid, "a new engine")
        for number in range(50):
            writer.append(Log(level="info", message=f"later {number}"))
        await until(lambda: state.seq >= 151, "the events of the gap and after it")
        messages = [log.message for log in state.run.logs]
        expected = [f"{when} {number}" for when in ("before", "after", "later") for number in range(50)]
        assert [message for message in messages if message in set(expected)] == expected
    finally:
        new = state.engine.pid
        await link.close()
        end_process(new)


async def test_a_second_console_gets_the_whole_run(engine, journal):
    run_dir, writer = journal
    await engine()
    for number in range(20):
        writer.append(Log(level="info", message=f"line {number}"))
    first, second = ConsoleState(), ConsoleState()
    links = [EngineLink(first), EngineLink(second)]
    try:
        for link in links:
            link.start()
            await link.follow(str(run_dir))
        writer.append(Log(level="info", message="for both"))
        await until(lambda: first.seq == second.seq and first.run.logs[-1].message == "for both", "both")
        assert first.run == second.run
    finally:
        for link in links:
            await link.close()


async def test_missed_events_are_made_good_by_a_snapshot(engine, journal):
    run_dir, writer = journal
    await engine()
    state = ConsoleState()
    link = EngineLink(state)
    link.start()
    try:
        await link.follow(str(run_dir))
        for number in range(10):
            writer.append(Log(level="info", message=f"line {number}"))
        await until(lambda: state.seq == 11, "the events")
        state.run.seq = 5  # as if six events had been lost on the way
        writer.append(Log(level="info", message="the next"))
        await until(lambda: state.seq == 12, "the snapshot")
        assert [log.message for log in state.run.logs][-2:] == ["line 9", "the next"]
    finally:
        await link.close()


async def test_a_run_that_is_not_there_is_said_in_a_sentence(engine, tmp_path):
    await engine()
    app = LogbertApp(str(tmp_path / "no-such-run"))
    async with app.run_test(size=(80, 24)):
        await until(lambda: app.state.notices, "the sentence")
        assert "no-such-run" in app.state.notices[-1].text
        assert app.state.notices[-1].severity == "error"


async def test_a_read_only_link_refuses_to_steer(engine, journal):
    from logbert_engine.protocol.errors import EngineError
    from logbert_engine.protocol.messages import RunRef

    run_dir, _ = journal
    await engine()
    link = EngineLink(ConsoleState(read_only=True))
    link.start()
    try:
        await link.follow(str(run_dir))
        for method in ("pause", "resume", "restart_stage", "stop"):
            with pytest.raises(EngineError, match="read-only"):
                await link.call(method, RunRef(run_dir=str(run_dir)))
    finally:
        await link.close()


async def test_a_screen_asked_for_under_the_palette_does_not_take_its_place(console, story):
    async with console(size=(120, 40), events=story()) as pilot:
        app = pilot.app
        for name in ("logs", "inference", "help", "picker"):
            before = app.shown
            await pilot.press("ctrl+p")
            await app.show(name)
            await app.action_back()
            assert app.shown == before
            await pilot.press("escape")
            assert isinstance(app.screen, ConsoleScreen)
        await app.show("logs")
        assert app.shown == "logs"
