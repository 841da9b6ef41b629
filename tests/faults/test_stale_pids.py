"""Row 12: a pid that is left behind, or that another process has by now, is not taken for ours."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from logbert_engine.daemon.server import serving
from logbert_engine.protocol.errors import RunError
from logbert_engine.protocol.events import RunEnded, RunOpened
from logbert_engine.protocol.locations import socket_path
from logbert_engine.protocol.messages import RunRef
from logbert_engine.rundir.journal import JournalWriter, read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import held, holder
from logbert_engine.rundir.processes import ProcessIdentity, identify
from tests.faults.harness import ended, engine, eventually, sentence

pytestmark = pytest.mark.row(12)

BYSTANDER = """
import signal, sys
received = []
def note(number, frame):
    print(number, flush=True)
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    signal.signal(number, note)
print("ready", flush=True)
while True:
    signal.pause()
"""
DAY_S = 86_400.0


class Bystander:
    """A process that has nothing to do with us and tells of every signal that it gets."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", BYSTANDER], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        self.identity = identify(self.process.pid)

    def was_left_alone(self) -> bool:
        """Whether it lives and was sent nothing, up to a signal that we send it ourselves now."""
        assert self.process.stdout is not None
        os.kill(self.process.pid, signal.SIGUSR2)
        return self.process.stdout.readline() == f"{int(signal.SIGUSR2)}\n" and self.identity.alive()


@pytest.fixture
def bystander() -> Iterator[Bystander]:
    one = Bystander()
    yield one
    one.process.kill()
    one.process.communicate()


@pytest.fixture
def stale(run: RunLayout, bystander: Bystander) -> RunLayout:
    """What a machine that lost its power leaves: pid file, lock and journal name a pid that others have by now."""
    run.pid.write_text(f"{bystander.process.pid}\n")
    run.lock.write_bytes(msgspec.json.encode(bystander.identity))
    opened = RunOpened(
        attempt=1,
        pid=bystander.process.pid,
        host=socket.gethostname(),
        preset="test",
        device="cpu",
        stages=[],
    )
    with JournalWriter(run.journal) as journal:
        journal.append(opened)
    return run


@pytest.mark.parametrize("wish", ["pause", "stop"])
def test_commands_find_no_worker_and_signal_nobody(stale: RunLayout, bystander: Bystander, wish: str) -> None:
    assert holder(stale) is None
    assert f"no worker is at work on {stale.root}" in sentence(engine(wish, stale.root))
    status = engine("status", "--json")
    (listed,) = msgspec.json.decode(status.stdout)["runs"]
    assert (listed["phase"], listed["worker_pid"]) == ("failed", None)
    assert bystander.was_left_alone()


async def test_the_engine_finds_no_worker_signals_nobody_and_starts_one(
    stale: RunLayout, bystander: Bystander, follow, workers
) -> None:
    ref = RunRef(run_dir=str(stale.root))
    async with serving(socket_path(), launcher=workers.launcher()) as serving_engine:
        follower = await follow()
        (listed,) = (await follower.client.call("list_runs")).runs
        assert listed.phase == "failed"
        await follower.subscribe(stale)
        for method in ("pause", "stop"):
            with pytest.raises(RunError, match="no worker is at work"):
                await follower.client.call(method, ref)
        assert (await serving_engine.runs.get(ref.run_dir)).worker_pid is None
        await follower.client.call("resume", ref)
        await follower.until(lambda: follower.state.phase == "finished")
    assert follower.state.attempt == 2
    end = next(event for event in read_journal(stale.journal) if isinstance(event, RunEnded))
    assert (end.state, end.signal) == ("failed", None)
    assert bystander.was_left_alone()


def test_a_resume_from_the_command_line_takes_the_directory(
    stale: RunLayout, bystander: Bystander, tmp_path: Path
) -> None:
    """The real supervisor and worker, who get as far as the data, which are not there."""
    done = engine("resume", stale.root)
    assert "at work" not in done.stderr
    eventually(lambda: ended(stale), "the attempt has ended")
    end = ended(stale)
    assert end is not None
    assert (end.state, str(tmp_path / "data") in end.reason) == ("failed", True)
    opened = [event for event in read_journal(stale.journal) if isinstance(event, RunOpened)]
    assert opened[-1].attempt == 2
    assert opened[-1].pid != bystander.process.pid
    assert not stale.pid.exists()
    assert bystander.was_left_alone()


def test_a_lock_that_is_taken_and_still_names_the_one_before_tells_of_nobody(
    run: RunLayout, bystander: Bystander
) -> None:
    """Who has taken the lock writes its name a moment later; until then the file names a process of the past."""
    gone = ProcessIdentity(
        pid=bystander.process.pid, started=0.0, host=socket.gethostname(), ticks=1, boot="x"
    )
    with held(run):
        run.lock.write_bytes(msgspec.json.encode(gone))
        found = holder(run)
        assert found is not None
        assert found.pid == 0
        with pytest.raises(RunError, match="held by another process"), held(run):
            pass
        status = engine("status", "--json")
        (listed,) = msgspec.json.decode(status.stdout)["runs"]
        assert not listed["worker_pid"]
    assert bystander.was_left_alone()


def test_an_engine_takes_over_from_a_lock_that_names_somebody(
    bystander: Bystander, engine_process: Callable, wait_until: Callable
) -> None:
    path = socket_path()
    path.with_suffix(".lock").write_bytes(msgspec.json.encode(bystander.identity))
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))  # and not listened at: its engine was killed
    one = engine_process()
    eventually(lambda: f"process {one.process.pid}," in engine("status").stdout, "it serves")
    assert engine("stop").returncode == 0
    assert one.process.wait(20) == 0
    assert bystander.was_left_alone()


def test_an_entry_of_the_registry_is_no_claim(run: RunLayout, bystander: Bystander) -> None:
    """Nothing but the kernel's lock tells that somebody works on a run: not even a living process of ours."""
    run.pid.write_text(f"{os.getpid()}\n")
    run.lock.write_bytes(msgspec.json.encode(identify()))
    assert holder(run) is None
    with held(run):
        pass


def test_the_same_pid_started_at_another_time_is_another_process(bystander: Bystander) -> None:
    me = bystander.identity
    assert me.alive()
    if me.ticks is not None:
        assert not msgspec.structs.replace(me, ticks=me.ticks - 1).alive()
        assert not msgspec.structs.replace(me, boot="another start of the machine").alive()
    old = ProcessIdentity(pid=me.pid, started=me.started, host=me.host)
    assert old.alive(), "as an earlier version wrote it"
    assert not msgspec.structs.replace(old, started=me.started - 100).alive()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel keeps the time of the start itself")
@pytest.mark.parametrize("moved_s", [DAY_S, -DAY_S])
def test_a_clock_that_is_set_changes_nobodys_identity(
    bystander: Bystander, run: RunLayout, monkeypatch: pytest.MonkeyPatch, moved_s: float
) -> None:
    """On Linux the time of a start is computed from that of the machine's, which moves with the clock."""
    told = psutil.Process.create_time
    with held(run):
        before = holder(run)
        monkeypatch.setattr(psutil.Process, "create_time", lambda process: told(process) + moved_s)
        assert bystander.identity.alive()
        assert holder(run) == before is not None
        assert before.alive()
