"""Row 13: a hang-up, or a terminal that is closed, stops neither training nor the engine."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil
import pytest

from logbert_engine.presets.merging import command_line
from logbert_engine.protocol.client import EngineClient
from logbert_engine.protocol.errors import EngineError
from logbert_engine.protocol.events import Metric, RunOpened
from logbert_engine.protocol.locations import socket_path
from logbert_engine.protocol.starting import ensure_engine
from logbert_engine.rundir.journal import last_event, read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import holder
from tests.faults.exact import (
    DEADLINE_S,
    SMALL,
    assert_same,
    begin,
    came_to,
    end_of,
    last_end,
    new_run,
    reference,
    sessions_of,
    spec,
    until_trains,
    whole_team,
)
from tests.faults.harness import command, eventually, is_alive

pytestmark = [pytest.mark.row(13), pytest.mark.timeout(1200)]

IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def hang_ups_end_processes() -> Iterator[None]:
    """As they do where nobody has said otherwise: what this test was started from may have (``nohup``)."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


class Terminal:
    """A shell in a terminal of its own, which runs a command and then waits for the next one."""

    def __init__(self, words: list[str]) -> None:
        self._ours, theirs = os.openpty()
        shell = ["/bin/sh", "-c", f"{shlex.join(words)}; read -r next"]
        self.shell = subprocess.Popen(
            [sys.executable, "-c", IN_TERMINAL, *shell],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self.screen = ""

    def shows(self, text: str) -> bool:
        """Whether it has come on the screen."""
        with suppress(BlockingIOError, OSError):
            self.screen += os.read(self._ours, 1 << 16).decode(errors="replace")
        return text in self.screen

    def close(self) -> None:
        """The window is closed: the kernel hangs up on the shell, and on what runs in it."""
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1


@pytest.fixture
def terminal() -> Iterator[Callable[[list[str]], Terminal]]:
    opened: list[Terminal] = []

    def open_it(words: list[str]) -> Terminal:
        opened.append(Terminal(words))
        return opened[-1]

    yield open_it
    for one in opened:
        one.close()
        one.shell.kill()
        one.shell.wait()


Open = Callable[[list[str]], Terminal]


def has_trained(run: RunLayout) -> bool:
    return isinstance(last_event(run.journal), Metric)


@pytest.mark.parametrize("where", ["background", "foreground"])
def test_a_run_goes_on_when_the_terminal_it_was_started_in_is_closed(
    real_run: RunLayout, tmp_path_factory: pytest.TempPathFactory, terminal: Open, where: str
) -> None:
    undisturbed = reference(tmp_path_factory, SMALL)
    request = spec(sessions_of(tmp_path_factory, SMALL), real_run.root, SMALL)
    words = command(*command_line(request)[1:])
    if where == "foreground":
        window = terminal([*words, "--foreground"])
        eventually(lambda: window.shows("stage_1_") and has_trained(real_run), "it trains", DEADLINE_S)
    else:
        window = terminal(words)
        eventually(lambda: window.shows("training in the background"), "it is started", DEADLINE_S)
    supervisor = holder(real_run)
    assert supervisor is not None
    window.close()
    window.shell.wait(DEADLINE_S)
    if where == "background":
        eventually(lambda: has_trained(real_run), "it trains", DEADLINE_S)
    os.killpg(os.getpgid(supervisor.pid), signal.SIGHUP)  # and once more, by hand, to each of its processes
    assert supervisor.alive()
    eventually(lambda: not supervisor.alive(), "it ends", DEADLINE_S)
    end = last_end(real_run)
    assert (end.state, end.exit_code) == ("finished", 0)
    assert sum(isinstance(event, RunOpened) for event in read_journal(real_run.journal)) == 1
    assert_same(came_to(real_run), undisturbed)


@pytest.mark.slow
def test_a_hang_up_of_all_processes_of_a_team_stops_none(
    real_run: RunLayout, tmp_path_factory: pytest.TempPathFactory
) -> None:
    size = SMALL._replace(nproc=2)
    undisturbed = reference(tmp_path_factory, size)
    new_run(tmp_path_factory, real_run, size)
    supervisor = begin(real_run)
    team = whole_team(supervisor, size)
    os.killpg(os.getpgid(supervisor.pid), signal.SIGHUP)
    until_trains(real_run, supervisor)
    for _ in range(5):
        os.killpg(os.getpgid(supervisor.pid), signal.SIGHUP)
    assert all(is_alive(process) for process in team.all())
    assert end_of(supervisor) == 0
    assert sum(isinstance(event, RunOpened) for event in read_journal(real_run.journal)) == 1
    assert_same(came_to(real_run), undisturbed)


async def answering() -> EngineClient:
    """A connection to the engine, as soon as one answers."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await EngineClient.connect(socket_path(), "test")
            except EngineError:
                await asyncio.sleep(0.05)


async def still_serves(client: EngineClient) -> None:
    """Assert that the engine answers on an old connection and on a new one, then end it."""
    await client.call("list_runs")
    other = await answering()
    assert other.welcome.engine_id == client.welcome.engine_id
    await other.close()
    await client.call("shutdown")
    await asyncio.wait_for(client.closed.wait(), DEADLINE_S)
    await client.close()


async def test_the_engine_serves_on_when_the_terminal_it_was_started_in_is_closed(terminal: Open) -> None:
    window = terminal(command("serve"))
    client = await answering()
    window.close()
    await asyncio.to_thread(window.shell.wait, DEADLINE_S)
    await still_serves(client)


async def test_a_hang_up_does_not_end_the_engine_that_a_console_has_started() -> None:
    client = await EngineClient.connect(await ensure_engine(), "test")
    process = psutil.Process(client.welcome.pid)
    assert os.getsid(process.pid) != os.getsid(0), "it has no terminal"
    for _ in range(3):
        process.send_signal(signal.SIGHUP)
    await still_serves(client)
