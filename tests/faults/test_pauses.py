"""Row 24: pause, hammered and in mid-save. The run pauses once, and goes on with the very next step."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from logbert_engine.daemon.server import serving
from logbert_engine.protocol.client import EngineClient
from logbert_engine.protocol.errors import RunError
from logbert_engine.protocol.events import RunEnded
from logbert_engine.protocol.locations import socket_path
from logbert_engine.protocol.messages import RunRef
from logbert_engine.rundir import control, registry
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from tests.faults.exact import (
    DEADLINE_S,
    SMALL,
    assert_same,
    assert_whole,
    begin,
    came_to,
    complete,
    end_of,
    goes_on_exactly,
    is_exact,
    last_end,
    new_run,
    reference,
)
from tests.faults.harness import Fault, command, environment, eventually

pytestmark = [pytest.mark.row(24), pytest.mark.timeout(1200)]
COMMANDS, CLIENTS, FROM_EACH, FILES = 6, 4, 20, 14
PHASES = ("training", "paused")
"""Of the run when it is too late: the engine may not have read how it ended yet."""
SAVE = "logbert_engine.models.payload:write_payload"
SAVES_STATE = "args[0].name == 'resume.pt'"


async def hammer(run: RunLayout) -> tuple[list[tuple[int | None, str]], int]:
    """A hundred requests to pause, by commands, by clients of an engine, and by the control file itself.

    Returns:
        How the commands ended, and how many requests of clients were taken.
    """
    commands = [
        await asyncio.create_subprocess_exec(
            *command("pause", run.root), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(COMMANDS)
    ]
    taken, refused = 0, set[str]()
    async with serving(socket_path()):
        clients = [await EngineClient.connect(socket_path(), f"client {i}") for i in range(CLIENTS)]

        async def ask(client: EngineClient) -> None:
            nonlocal taken
            for _ in range(FROM_EACH):
                try:
                    await client.call("pause", RunRef(run_dir=str(run.root)))
                    taken += 1
                except RunError as error:  # too late
                    refused.add(str(error))

        def ask_by_file() -> None:
            for _ in range(FILES):
                control.request(run, "pause")

        await asyncio.gather(*(ask(client) for client in clients), asyncio.to_thread(ask_by_file))
        ended = []
        for one in commands:
            said, _ = await asyncio.wait_for(one.communicate(), DEADLINE_S)
            ended.append((one.returncode, said.decode().strip()))
        for client in clients:
            await client.close()
    assert refused <= {f"no worker is at work on {run.root}: the run is {phase}." for phase in PHASES}
    return ended, taken


async def test_a_hundred_requests_to_pause_are_one_pause(
    real_run: RunLayout,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    record_property: Callable[[str, object], None],
) -> None:
    new_run(tmp_path_factory, real_run, SMALL)
    registry.remember(real_run.root)
    # The first state that is saved once steps are made takes long enough for all requests to come.
    slow = Fault(SAVE, "sleep", tmp_path / "marks", when=SAVES_STATE, step=5, amount=3.0)
    supervisor = begin(real_run, environment(slow))
    await asyncio.to_thread(eventually, slow.happened, "it trains and saves", DEADLINE_S)
    ended, taken = await hammer(real_run)
    assert await asyncio.to_thread(end_of, supervisor) == 0
    ends = [event for event in read_journal(real_run.journal) if isinstance(event, RunEnded)]
    assert [end.state for end in ends] == ["paused"]
    for status, said in ended:
        late = f"logbert-engine: no worker is at work on {real_run.root}: the run is paused."
        assert (status, said) == (1, late) or (status == 0 and said.startswith(f"{real_run.root} is paused"))
    assert taken > 0
    assert any(status == 0 for status, _ in ended)
    assert_whole(real_run)
    assert is_exact(real_run)
    record_property("requests", COMMANDS + CLIENTS * FROM_EACH + FILES)


def test_a_pause_that_is_asked_for_during_a_save_waits_for_it_and_is_one(
    real_run: RunLayout, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    undisturbed = reference(tmp_path_factory, SMALL)
    new_run(tmp_path_factory, real_run, SMALL)
    in_passing = Fault(SAVE, "sleep", tmp_path / "first", when=SAVES_STATE, step=5, amount=1.0)
    asked = f"{SAVES_STATE} and (args[0].parents[2] / 'control').exists()"
    of_the_pause = Fault(SAVE, "sleep", tmp_path / "second", when=asked, step=5, amount=1.0)
    supervisor = begin(real_run, environment(in_passing, of_the_pause))
    eventually(in_passing.happened, "it saves", DEADLINE_S)
    control.request(real_run, "pause")
    eventually(of_the_pause.happened, "it saves to pause", DEADLINE_S)
    control.request(real_run, "pause")
    begun = time.monotonic()
    assert end_of(supervisor) == 0
    assert time.monotonic() - begun < 10
    assert last_end(real_run).state == "paused"
    assert not real_run.control.exists()
    assert_whole(real_run)
    assert is_exact(real_run)
    complete(real_run)
    ends = [event.state for event in read_journal(real_run.journal) if isinstance(event, RunEnded)]
    assert ends == ["paused", "finished"]
    assert goes_on_exactly(real_run)
    assert_same(came_to(real_run), undisturbed)
