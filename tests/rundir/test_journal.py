"""The journal: appended by one, read by many, cut by crashes."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.protocol.errors import StorageError
from logbert_engine.protocol.events import Log, Metric, RunEnded, decode_event
from logbert_engine.rundir.journal import JournalReader, JournalWriter, damage, last_event, read_journal

APPENDS_FOR_EVER = """
import sys
from pathlib import Path
from logbert_engine.protocol.events import Log
from logbert_engine.rundir.journal import JournalWriter
with JournalWriter(Path(sys.argv[1])) as journal:
    print(journal.seq, flush=True)
    while True:
        journal.append(Log(level="info", message="x" * 200))
"""


def log(message: str) -> Log:
    return Log(level="info", message=message)


def fill(path, count: int, start: int = 0) -> None:
    with JournalWriter(path) as journal:
        for i in range(start, start + count):
            journal.append(log(str(i)))


def messages(path) -> list[str]:
    return [event.message for event in read_journal(path)]


def test_events_are_numbered_on_over_attempts(tmp_path):
    path = tmp_path / "journal"
    fill(path, 3)
    with JournalWriter(path) as journal:
        assert (journal.seq, journal.torn) == (3, False)
        written = journal.append(log("3"))
    assert written.seq == 4
    assert written.t > 1_600_000_000
    assert [e.seq for e in read_journal(path)] == [1, 2, 3, 4]
    assert last_event(path) == written


def test_a_journal_that_is_not_there_is_empty(tmp_path):
    assert list(read_journal(tmp_path / "none")) == []
    assert JournalReader(tmp_path / "none").read() == []
    assert last_event(tmp_path / "none") is None


def test_a_reader_keeps_its_place_and_never_waits(tmp_path):
    path = tmp_path / "journal"
    reader = JournalReader(path)
    assert reader.read() == []
    fill(path, 2)
    assert [e.message for e in reader.read()] == ["0", "1"]
    assert reader.read() == []
    fill(path, 2, 2)
    assert [e.message for e in reader.read()] == ["2", "3"]
    assert reader.seq == 4


@pytest.mark.parametrize(
    "torn",
    [b'{"kind":"log","seq":3,', b"\0" * 300, b"{}\n", b"\xff\xff\n", b"[" * 9999 + b"\n", b"x" * (3 << 20)],
)
def test_a_torn_end_is_left_alone_by_readers_and_cut_by_the_next_writer(tmp_path, torn):
    path = tmp_path / "journal"
    fill(path, 2)
    with path.open("ab") as file:
        file.write(torn)
    reader = JournalReader(path)
    assert [e.message for e in reader.read()] == ["0", "1"]
    assert reader.read() == []
    last = last_event(path)
    assert last is not None
    assert last.seq == 2
    with JournalWriter(path) as journal:
        assert (journal.torn, journal.seq) == (True, 2)
        journal.append(log("2"))
    assert [e.message for e in reader.read()] == ["2"], "the reader goes on where it was"
    assert [e.seq for e in read_journal(path)] == [1, 2, 3]


def test_damage_in_the_middle_costs_only_the_damaged_lines(tmp_path):
    path = tmp_path / "journal"
    fill(path, 50)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[10] = b"damaged\n"
    lines[20] = lines[20].replace(b'"log"', b'"lox"')
    lines[30] = b"\xff" + lines[30][1:]
    path.write_bytes(b"".join(lines))
    expected = [str(i) for i in range(50) if i not in (10, 20, 30)]
    assert messages(path) == expected
    assert [e.message for e in JournalReader(path).read()] == expected


def test_damage_in_the_middle_is_told_with_its_place(tmp_path):
    path = tmp_path / "journal"
    assert damage(path) == ""
    fill(path, 50)
    assert damage(path) == ""
    lines = path.read_bytes().splitlines(keepends=True)
    lines[10] = b"damaged\n"
    lines[30] = b"\xff" + lines[30][1:]
    del lines[40:43]
    path.write_bytes(b"".join(lines))
    said = damage(path)
    assert said == (
        f"{path} is damaged (lines that cannot be read: 11, 31; events that are missing: 11, 31, 41 to 43); "
        "what they told is lost, the training itself is not touched."
    )
    path.write_bytes(b"".join(lines) + b"torn")
    assert damage(path) == said, "a torn end is no damage"
    path.write_bytes(b"".join(lines[:5] + lines[45:]))
    assert "events that are missing: 6 to 48)" in damage(path)
    path.write_bytes(b"".join(line for number, line in enumerate(lines) if number % 2))
    assert "1, 3, 5, 7, 9 and 18 more)" in damage(path)


def test_a_journal_whose_beginning_is_lost_is_told(tmp_path):
    path = tmp_path / "journal"
    fill(path, 5)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[2:]))
    assert "events that are missing: 1 to 2" in damage(path)


def test_a_block_of_damage_does_not_hide_what_follows(tmp_path):
    path = tmp_path / "journal"
    fill(path, 1)
    with path.open("ab") as file:
        file.write(b"damaged\n" * (9 << 17))  # more than is read at once
        file.write(b'{"kind":"log","seq":2,"t":1.0,"level":"info","message":"1"}\n')
    assert messages(path) == ["0", "1"]


def test_lines_longer_than_a_read_are_read(tmp_path):
    path = tmp_path / "journal"
    with JournalWriter(path) as journal:
        for i in range(4):
            journal.append(log(str(i) * 5000))
    reader = JournalReader(path)
    events = []
    while more := reader.read(most_bytes=700):
        events += more
    assert [e.message[0] for e in events] == list("0123")


def test_a_long_journal_is_read_in_parts_without_loss(tmp_path):
    path = tmp_path / "journal"
    fill(path, 3000)
    reader = JournalReader(path)
    seqs: list[int] = []
    while events := reader.read(most_bytes=4096):
        seqs += [e.seq for e in events]
    assert seqs == list(range(1, 3001))


def test_a_journal_that_begins_anew_is_read_from_its_beginning(tmp_path):
    path = tmp_path / "journal"
    fill(path, 30)
    reader = JournalReader(path)
    reader.read()
    path.unlink()
    fill(path, 2)
    assert [e.seq for e in reader.read()] == [1, 2]


def test_a_writer_killed_at_any_time_loses_no_whole_line(tmp_path):
    path = tmp_path / "journal"
    for _ in range(5):
        before = sum(1 for _ in read_journal(path))
        writer = subprocess.Popen([sys.executable, "-c", APPENDS_FOR_EVER, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert int(writer.stdout.readline()) == before
        reader = JournalReader(path)
        while reader.seq < before + 50:
            reader.read()
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        seqs = [e.seq for e in read_journal(path)]
        assert seqs == list(range(1, len(seqs) + 1))
        assert len(seqs) >= reader.seq


def test_a_disk_without_room_is_said_and_leaves_whole_lines(tmp_path):
    path = tmp_path / "journal"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with JournalWriter(path) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
        try:
            with pytest.raises(StorageError, match="disk full"):
                list(map(journal.append, (log(f"{i} " + "x" * 90) for i in range(100))))
            whole = journal.seq
            with pytest.raises(StorageError, match="disk full"):
                journal.append(log("x" * 500))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before)
        assert path.read_bytes().endswith(b"}\n")
        journal.append(log("room again"))
    assert [e.seq for e in read_journal(path)] == list(range(1, whole + 2))


def test_a_journal_that_cannot_be_opened_is_said(tmp_path):
    with pytest.raises(StorageError, match="cannot write"):
        JournalWriter(tmp_path)


def test_losses_that_are_not_finite_can_be_read_back(tmp_path):
    path = tmp_path / "journal"
    with JournalWriter(path) as journal:
        journal.append(Metric(stage=1, epoch=1, step=1, steps=1, total_step=1, loss=float("nan"), lr=0.1))
    (event,) = read_journal(path)
    assert event.loss is None


@given(st.lists(st.text(max_size=40), max_size=10), st.binary(max_size=60))
def test_any_messages_and_any_torn_end(tmp_path_factory, texts, torn):
    path = tmp_path_factory.mktemp("journal") / "journal"
    with JournalWriter(path) as journal:
        for text in texts:
            journal.append(log(text))
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(torn.replace(b"\n", b""))
    assert messages(path) == texts
    with JournalWriter(path) as journal:
        assert journal.seq == len(texts)
        assert path.stat().st_size == len(whole)
        journal.append(RunEnded(state="failed"))
    *_, last = read_journal(path)
    assert last.seq == len(texts) + 1
    assert decode_event(path.read_bytes().splitlines()[-1]) == last
