"""The daemon and commands at once; and processes that are killed."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from logbert_engine.protocol.errors import LogbertError
from logbert_engine.triage.database import Triage
from logbert_engine.triage.verdicts import Change, Target

BATCH = 300

WRITE = """
import sys
from pathlib import Path
from logbert_engine.triage.database import Triage
from logbert_engine.triage.verdicts import Judgement, Target
path, who, times, batch = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
triage = Triage(path)
print("ready", flush=True)
sys.stdin.readline()
for turn in range(times):
    triage.record_many(
        [Judgement(target=Target("session", f"{who} {turn} {i}"), verdict="normal", note="n" * 200)
         for i in range(batch)], who=who)
    print(turn, flush=True)
"""


def writer(path: Path, who: str, times: int, batch: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(path), who, str(times), str(batch)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_two_processes_write_at_once_and_a_third_reads(tmp_path: Path):
    path = tmp_path / "triage.sqlite"
    both = [writer(path, who, 60, 2) for who in ("ana", "bo")]
    for process in both:
        begin(process)
    seen = [0]
    while any(process.poll() is None for process in both):
        seen.append(len(Triage(path).history()))
    for process in both:
        assert process.communicate()[0].split()[-1] == "59"
        assert process.returncode == 0
    history = Triage(path).history()
    assert [change.seq for change in history] == list(range(1, 241))
    assert Counter(change.who for change in history) == {"ana": 120, "bo": 120}
    assert all(count % 2 == 0 for count in seen), "half of what was given together was seen"
    assert seen == sorted(seen)
    for who in ("ana", "bo"):
        mine = [change.target.id for change in history if change.who == who]
        assert mine == [f"{who} {turn} {i}" for turn in range(60) for i in range(2)]


def test_threads_share_one_triage_and_each_undo_takes_back_another_change(tmp_path: Path):
    triage = Triage(tmp_path / "triage.sqlite")
    for i in range(20):
        triage.record(Target("session", i), "normal", who="ana")
    undone: list[Change] = []

    def undo() -> None:
        for _ in range(5):
            undone.extend(triage.undo(who="ana"))

    threads = [threading.Thread(target=undo) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(change.undoes or 0 for change in undone) == list(range(1, 21))
    assert not triage.current().by_session


def test_many_who_begin_at_once_begin_one_file(tmp_path: Path):
    failed: list[LogbertError] = []
    ready = threading.Barrier(8)

    def record(i: int) -> None:
        ready.wait()
        try:
            Triage(tmp_path / "triage.sqlite").record(Target("session", i), "normal", who=f"u{i}")
        except LogbertError as error:
            failed.append(error)

    threads = [threading.Thread(target=record, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert {change.target.id for change in Triage(tmp_path / "triage.sqlite").history()} == set(range(8))


@pytest.mark.parametrize("seed", range(6))
def test_a_kill_during_a_write_leaves_a_whole_database(tmp_path: Path, seed: int):
    path = tmp_path / "triage.sqlite"
    process = writer(path, "ana", 1000, BATCH)
    begin(process)
    time.sleep(random.Random(seed).uniform(0, 0.25))  # from its making to many batches in
    process.send_signal(signal.SIGKILL)
    told = len(process.communicate()[0].split())
    history = Triage(path).history()
    assert len(history) >= told * BATCH, "what was recorded is lost"
    assert set(Counter(change.act for change in history).values()) <= {BATCH}, (
        "half of what was given together"
    )
    if path.exists():
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    change = Triage(path).record(Target("session", "next"), "anomaly", who="bo")
    assert change.seq == len(history) + 1
