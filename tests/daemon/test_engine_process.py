"""The engine as a process: its start, its end, and what survives both."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from logbert_engine.protocol import starting
from logbert_engine.protocol.client import EngineClient
from logbert_engine.protocol.errors import EngineError
from logbert_engine.protocol.locations import socket_path
from logbert_engine.protocol.messages import RunRef
from logbert_engine.protocol.starting import ensure_engine
from logbert_engine.rundir.journal import read_journal

LIGHT = """
import asyncio, json, sys
from pathlib import Path
from logbert_engine.daemon.server import serving
from logbert_engine.protocol.client import EngineClient
from logbert_engine.protocol.messages import Subscribe

async def main():
    async with serving(Path(sys.argv[1])):
        client = await EngineClient.connect(Path(sys.argv[1]), "test")
        await client.call("subscribe", Subscribe(run_dir=sys.argv[2]))
        await client.close()
    print(json.dumps(sorted(sys.modules)))

asyncio.run(main())
"""


async def stopped(path: Path) -> int:
    """End the engine at a socket; returns its process."""
    client = await EngineClient.connect(path, "test")
    await client.call("shutdown")
    await asyncio.wait_for(client.closed.wait(), 10)
    await client.close()
    return client.welcome.pid


def test_a_served_hello_and_subscription_import_neither_torch_nor_transformers(run, own_folders):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, str(socket_path()), str(run.root)], capture_output=True, check=True
    )
    modules = set(json.loads(done.stdout))
    assert "logbert_engine.daemon.server" in modules
    assert not modules & {"torch", "transformers", "numpy", "textual"}


async def test_the_engine_is_up_in_about_a_second_and_outlives_its_starter():
    start = time.monotonic()
    path = await ensure_engine()
    took = time.monotonic() - start
    print(f"the engine answered after {took:.2f} s")
    assert took < 5, "generous: the machine may be busy"
    pid = await stopped(path)
    assert pid != os.getpid()
    assert not path.exists()


async def test_an_engine_that_runs_is_used():
    path = await ensure_engine()
    first = await EngineClient.connect(path, "test")
    assert await ensure_engine() == path
    second = await EngineClient.connect(path, "test")
    assert first.welcome.engine_id == second.welcome.engine_id
    await first.close()
    await second.close()
    await stopped(path)


async def test_consoles_that_start_at_once_end_up_with_one_engine_and_leave_no_other(loop_until):
    paths = await asyncio.gather(*(ensure_engine() for _ in range(3)))
    assert len(set(paths)) == 1
    clients = [await EngineClient.connect(paths[0], f"console {i}") for i in range(3)]
    assert len({client.welcome.pid for client in clients}) == 1
    for client in clients:
        await client.close()
    pid = await stopped(paths[0])

    def engines() -> list[int]:
        return [
            process.pid
            for process in psutil.process_iter()
            if process.pid != pid and str(paths[0]) in _words_of(process)
        ]

    await loop_until(lambda: not engines())


def _words_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


async def test_an_engine_whose_socket_is_taken_away_leaves(engine_process, wait_until):
    one = engine_process()
    await (await one.client()).close()
    one.socket.unlink()
    assert one.process.wait(20) == 0


async def test_an_engine_that_cannot_start_says_why(monkeypatch, own_folders):
    (own_folders / "runtime" / "engine.lock").mkdir()
    with pytest.raises(EngineError, match=r"could not be started: logbert-engine: cannot make .*engine\.log"):
        await ensure_engine()


async def test_what_listens_and_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr("logbert_engine.protocol.client.HELLO_DEADLINE_S", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(socket_path()))
        silent.listen()
        with pytest.raises(EngineError, match="does not answer"):
            await ensure_engine()


def test_a_second_engine_leaves_quietly_and_names_the_first(engine_process, wait_until):
    first = engine_process()
    wait_until(first.socket.exists)
    second = subprocess.run(
        [sys.executable, "-m", "logbert_engine", "serve"], capture_output=True, text=True, check=False
    )
    assert second.returncode == 0
    assert f"process {first.process.pid}" in second.stdout
    assert first.process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stopped_engine_leaves_its_worker_alone(engine_process, run, number, wait_until):
    one = engine_process("--steps", "150")
    client = await one.client()
    await client.call("resume", RunRef(run_dir=str(run.root)))
    assert one.kill(number) == 0
    assert not one.socket.exists()
    await asyncio.wait_for(client.closed.wait(), 10)
    await client.close()
    wait_until(lambda: list(read_journal(run.journal))[-1:] != [] and "run_ended" in run.journal.read_text())
    assert '"state":"finished"' in run.journal.read_text()


async def test_a_killed_engine_is_replaced_and_its_worker_adopted_without_a_gap(engine_process, follow, run):
    one = engine_process("--steps", "300")
    await (await one.client()).close()
    first = await follow(one.socket)
    await first.subscribe(run)
    await first.client.call("resume", RunRef(run_dir=str(run.root)))
    await first.until(lambda: first.state.seq > 30)
    worker = first.state.pid
    one.kill()
    await asyncio.wait_for(first.client.closed.wait(), 10)
    seen = first.state.seq
    assert one.socket.exists(), "left behind by the kill"

    two = engine_process("--steps", "300")
    await (await two.client()).close()
    second = await follow(two.socket)
    answer = await second.subscribe(run, since_seq=seen)
    assert answer.snapshot is None
    second.state = first.state
    await second.until(lambda: second.state.phase == "finished")
    assert second.state.pid == worker
    assert second.state.attempt == 1
    whole = [*first.events, *second.events]
    assert whole == list(read_journal(run.journal))
    assert [e.seq for e in whole] == list(range(1, len(whole) + 1))


def test_an_idle_engine_takes_no_time(engine_process, wait_until):
    one = engine_process()
    wait_until(one.socket.exists)
    process = psutil.Process(one.process.pid)

    def used() -> float:
        times = process.cpu_times()
        return times.user + times.system

    wait_until(lambda: process.status() == psutil.STATUS_SLEEPING)
    before, begin = used(), time.monotonic()
    wait_until(lambda: time.monotonic() - begin > 2)
    share = (used() - before) / (time.monotonic() - begin)
    assert share <= 0.02, f"{share:.1%} of a processor"


async def test_the_socket_is_private(engine, follow):
    path = socket_path()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="needs the right to become another user")
async def test_a_process_of_another_user_is_turned_away(engine, own_folders):
    path = socket_path()
    for folder in (own_folders, path.parent):
        folder.chmod(0o755)
    path.chmod(0o666)
    knock = (
        "import os, socket, sys\n"
        "os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.connect(sys.argv[1])\n"
        "try:\n"
        '    s.sendall(b\'{"jsonrpc":"2.0","id":1,"method":"hello","params":{}}\\n\')\n'
        "    print(len(s.recv(100)))\n"
        "except OSError:\n"
        "    print(0)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", knock, str(path), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out.strip() == b"0"


def test_the_log_is_begun_anew_when_it_has_grown(monkeypatch):
    monkeypatch.setattr(starting, "_MOST_LOG", 10)
    starting.engine_log().write_text("x" * 100)

    async def start_and_stop() -> None:
        await stopped(await ensure_engine())

    asyncio.run(start_and_stop())
    assert starting.engine_log().with_suffix(".log.1").read_text() == "x" * 100
    assert "listens at" in starting.engine_log().read_text()
