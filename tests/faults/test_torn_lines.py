"""Row 25: a last line that a crash has torn is passed over by who reads, and dropped, with a word, by who goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logbert_engine.daemon.server import serving
from logbert_engine.protocol.events import Log, Metric, RunEnded
from logbert_engine.protocol.locations import socket_path
from logbert_engine.protocol.messages import RunRef
from logbert_engine.rundir.journal import JournalReader, JournalWriter, read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import holder
from tests.faults.harness import ended, engine, eventually, start, without_gap

pytestmark = pytest.mark.row(25)

Record = Callable[[str, object], None]
NEXT = b'{"kind":"log","seq":%d,"t":1.0,"level":"info","message":"half of this is on the disk"}\n'
TORN = {
    "cut": NEXT[:40],
    "cut in a character": '{"kind":"log","seq":1,"t":1.0,"level":"info","message":"ä'.encode()[:-1],
    "zeros": b"\0" * 4096,
    "half of a page": NEXT[:20] + b"\0" * 500,
    "a whole line of nonsense": b"nonsense\n",
    "several lines of nonsense": b"nonsense\n" * 5 + b'{"kind":"log",',
    "a newline alone": b"\n",
}


def tear(run: RunLayout, tail: bytes) -> None:
    with run.journal.open("ab") as file:
        file.write(tail)


@pytest.mark.parametrize("tail", TORN.values(), ids=TORN.keys())
async def test_an_engine_that_follows_passes_a_torn_line_over_and_goes_on_with_the_worker(
    follow, run: RunLayout, workers, wait_until, tail: bytes
) -> None:
    """The worker is killed in mid-write while the engine follows; then another attempt goes on."""
    async with serving(socket_path(), launcher=workers.launcher("--steps", "300")):
        follower = await follow()
        await follower.subscribe(run)
        await follower.client.call("resume", RunRef(run_dir=str(run.root)))
        await follower.until(lambda: follower.state.phase == "training" and follower.state.seq > 20)
        os.kill(follower.state.pid, signal.SIGSTOP)  # so that its end and the torn line come at once
        tear(run, tail)
        os.kill(follower.state.pid, signal.SIGKILL)
        await follower.until(lambda: follower.state.phase == "failed")
        tear(run, tail)
        await follower.client.call("resume", RunRef(run_dir=str(run.root)))
        await follower.until(lambda: follower.state.phase == "finished")
    assert follower.gaps() == []
    assert follower.events == list(read_journal(run.journal))
    assert without_gap(follower.events)
    assert tail.strip() not in run.journal.read_bytes() or not tail.strip()


@pytest.mark.parametrize("tail", TORN.values(), ids=TORN.keys())
def test_a_reader_loses_nothing_where_the_writer_has_cut_and_written_on_before_it_looked(
    tmp_path: Path, tail: bytes
) -> None:
    """It must not stand behind the cut: the journal may have grown past that place when it looks again."""
    path = tmp_path / "journal.ndjson"
    reader = JournalReader(path)
    with JournalWriter(path) as journal:
        journal.append(Log(level="info", message="before"))
    with path.open("ab") as file:
        file.write(tail)
    seen = reader.read()
    with JournalWriter(path) as journal:
        assert journal.torn
        for number in range(50):
            journal.append(Log(level="info", message=f"after {number}"))
    seen += reader.read()
    assert [event.seq for event in seen] == list(range(1, 52))


@pytest.mark.parametrize("cuts", [40, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_journal_cut_at_any_byte_is_gone_on_with(
    tmp_path: Path, cuts: int, record_property: Record
) -> None:
    path = tmp_path / "journal.ndjson"
    with JournalWriter(path) as journal:
        for number in range(30):
            journal.append(Log(level="info", message=f"the {number}th line, with an ä"))
    whole = path.read_bytes()
    step = max(1, len(whole) // cuts)
    places = range(0, len(whole) + 1, step)
    for place in places:
        path.write_bytes(whole[:place])
        kept = whole[:place].count(b"\n")
        assert [event.seq for event in read_journal(path)] == list(range(1, kept + 1))
        with JournalWriter(path) as journal:
            assert journal.torn == (place > 0 and not whole[:place].endswith(b"\n"))
            journal.append(Log(level="info", message="goes on"))
        assert [event.seq for event in read_journal(path)] == list(range(1, kept + 2))
    record_property("cuts", len(places))


def test_the_real_worker_logs_that_it_has_dropped_a_torn_line(real_run: RunLayout, sessions: Path) -> None:
    start(real_run, sessions, "--epochs-per-stage", "2000")
    at_work = holder(real_run)
    assert at_work is not None
    os.kill(at_work.pid, signal.SIGKILL)
    eventually(lambda: holder(real_run) is None, "it is gone")
    before = sum(isinstance(event, Metric) for event in read_journal(real_run.journal))
    tear(real_run, TORN["cut"])
    done = engine("resume", real_run.root)
    assert done.returncode == 0, done.stderr
    eventually(
        lambda: sum(isinstance(event, Metric) for event in read_journal(real_run.journal)) > before,
        "it trains on",
    )
    events: list[Any] = list(read_journal(real_run.journal))
    assert without_gap(events)
    assert any(isinstance(event, RunEnded) for event in events), "the kill is recorded"
    told = [event.message for event in events if isinstance(event, Log) and event.level == "warning"]
    assert any("torn" in message for message in told), told
    assert engine("stop", real_run.root).returncode == 0
    eventually(lambda: ended(real_run), "it has stopped")
