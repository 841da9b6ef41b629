"""One worker at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import msgspec
import pytest

from logbert_engine.protocol.errors import RunError, StorageError
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import held, holder
from logbert_engine.rundir.processes import ProcessIdentity, identify

HOLDS = """
import sys
from pathlib import Path
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import held
with held(RunLayout(Path(sys.argv[1]))) as hold:
    print("held", flush=True)
    while sys.stdin.readline():
        hold.keep()
        print("kept", flush=True)
"""
"""Takes a run, and sees to its lock file for each line of its input."""


@pytest.fixture
def run(tmp_path) -> RunLayout:
    return RunLayout(tmp_path / "run")


@pytest.fixture
def other(run):
    """A process that holds the run directory."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(run.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_the_holder_is_named_while_it_holds(run):
    assert holder(run) is None
    with held(run):
        assert holder(run) == identify()
    assert holder(run) is None


def test_a_second_one_learns_who_holds_it(run, other):
    found = holder(run)
    assert found is not None
    assert (found.pid, found.alive()) == (other.pid, True)
    with pytest.raises(RunError, match=f"is held by process {other.pid} on "), held(run):
        pass


def test_a_killed_holder_frees_it(run, other):
    other.kill()
    other.wait()
    assert holder(run) is None
    with held(run):
        pass


def test_looking_never_keeps_a_worker_out_and_lookers_see_no_one_but_holders(run):
    """Any number of processes look ten times a second while workers come and go."""
    with held(run):
        pass
    done = threading.Event()
    seen: list[ProcessIdentity] = []

    def look() -> None:
        while not done.is_set():
            found = holder(run)
            if found is not None:
                seen.append(found)

    lookers = [threading.Thread(target=look) for _ in range(4)]
    for looker in lookers:
        looker.start()
    try:
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            assert holder(run) is None, "only looked at"
        for _ in range(50):
            with held(run):
                pass
    finally:
        done.set()
        for looker in lookers:
            looker.join()


def test_a_lock_file_with_other_content_is_still_a_lock(run, other):
    run.lock.write_text("not an identity")
    found = holder(run)
    assert found is not None
    assert not found.alive()
    with pytest.raises(RunError, match="held by another process"), held(run):
        pass


def gone(lock):
    lock.unlink()


def another(lock):
    """As a tool does that keeps two folders alike."""
    copy = lock.with_name("copy")
    copy.write_bytes(lock.read_bytes())
    copy.replace(lock)


def of_one_long_gone(lock):
    gone(lock)
    lock.write_bytes(msgspec.json.encode(ProcessIdentity(pid=2**22 + 1, started=0.0, host=identify().host)))


@pytest.mark.parametrize("replace", [gone, another, of_one_long_gone])
def test_a_run_whose_lock_file_is_removed_or_replaced_stays_held_and_the_holder_puts_it_back(
    run, other, replace, monkeypatch
):
    taken = run.lock.stat().st_mtime_ns
    replace(run.lock)
    with monkeypatch.context() as patch:
        patch.setattr("logbert_engine.rundir.lock._NAMED_S", 0.0)
        assert holder(run) is not None
    other.stdin.write(b"look\n")
    other.stdin.flush()
    assert other.stdout.readline() == b"kept\n"
    assert run.lock.stat().st_mtime_ns == taken, "its time tells when the run was taken"
    with pytest.raises(RunError, match=f"is held by process {other.pid} on "), held(run):
        pass
    other.kill()
    other.wait()
    assert holder(run) is None


def test_a_lock_file_is_put_back_into_the_directory_that_is_held_wherever_it_is_now(run, tmp_path):
    moved = RunLayout(tmp_path / "moved")
    with held(run) as hold:
        run.root.rename(moved.root)
        moved.lock.unlink()
        with held(run):
            hold.keep()
            assert holder(moved) == identify()
    assert holder(moved) is None


def test_a_lock_file_that_cannot_be_put_back_leaves_the_run_held(run):
    with held(run) as hold:
        run.lock.unlink()
        run.lock.mkdir()
        hold.keep()
        assert holder(run) is not None
        run.lock.rmdir()
        hold.keep()
        assert holder(run) == identify()


def test_a_directory_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    run = RunLayout(tmp_path / "file" / "run")
    assert holder(run) is None
    with pytest.raises(StorageError, match="cannot write"), held(run):
        pass


def test_the_lock_does_not_pass_to_children(run):
    with held(run):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert holder(run) is None
    child.kill()
    child.communicate()


def test_a_process_is_not_mistaken_for_another_with_the_same_pid():
    me = identify()
    assert me.alive()
    assert me.pid == os.getpid()
    assert not ProcessIdentity(pid=me.pid, started=me.started - 100, host=me.host).alive()
    assert not ProcessIdentity(pid=me.pid, started=me.started, host="elsewhere").alive()
    assert not ProcessIdentity(pid=2**22 + 1, started=me.started, host=me.host).alive()


def test_a_zombie_is_not_alive():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = identify(child.pid)
    assert identity.alive()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not identity.alive()
    child.communicate()
    assert not identity.alive()
