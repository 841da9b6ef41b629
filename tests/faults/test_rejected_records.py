"""Row 22: what cannot be used of the daily files is set aside with its place; where it is too much the run stops."""

from __future__ import annotations

import datetime
import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from logbert_engine.data.reading import session_files
from logbert_engine.data.store import open_store
from logbert_engine.protocol.errors import DataError
from logbert_engine.protocol.events import DataReady, Log
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from tests.faults.harness import engine, sentence, train_words, write_sessions

pytestmark = pytest.mark.row(22)

Record = Callable[[str, object], None]
DAYS, EACH = 1300, 3
"""Files and sessions of each, so that what is broken among them stays below the limit of 1%."""
USUAL = "preprocessed_logs_2025-03-{:02d}.json"


def session(number: object, *events: int, **more: object) -> dict[str, object]:
    return {"session_id": number, "event_sequence": list(events) or [1, 2, 3], **more}


def text(*sessions: object) -> bytes:
    return json.dumps(sessions).encode()


@pytest.fixture
def years(tmp_path: Path) -> Path:
    """A directory with a good file a day."""
    folder = tmp_path / "years"
    begin = datetime.date(2020, 1, 1)
    for day in range(DAYS):
        write_sessions(folder, EACH, (begin + datetime.timedelta(day)).isoformat())
    return folder


def train(data: Path, run: RunLayout, *more: str) -> subprocess.CompletedProcess[str]:
    return engine(
        *train_words(data, run.root, "--max-files", "0", "--sample-ratio", "1", "--foreground", *more)
    )


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


BROKEN = {
    "empty": (b"", 0, "is empty"),
    "blanks": (b" \n\n ", 0, "is empty"),
    "cut short": (text(*(session(i) for i in range(9)))[:-30], 8, "cut short"),
    "damaged": (text(session(1), session(2)).replace(b"}, {", b"}, <{"), 1, "cannot be read"),
    "zeros": (b"\0" * 4096, 0, "cannot be read"),
    "another shape": (b'{"total_sessions": 5}', 0, "not a session file"),
    "nested without end": (b'[{"event_sequence":' + b"[" * 50_000, 0, "nested"),
    "not UTF-8": ('[{"session_id": 1, "ü": 1}]'.encode("utf-16"), 0, "cannot be read"),
    "gzip cut short": (gzip.compress(os.urandom(20_000).hex().encode())[:5000], 0, "cut short"),
    "gzip damaged": (gzip.compress(text(session(1)))[:-8] + b"\0" * 8, 0, "damaged"),
}


BAD_RECORDS = [
    {"session_id": 1},
    {"event_sequence": [1]},
    session(2, -5),
    {"session_id": 3, "event_sequence": []},
    {"session_id": 4, "event_sequence": "1 2 3"},
    {"session_id": [], "event_sequence": [1]},
    {"session_id": 6, "token_ids": [1, 2], "attention_mask": [1]},
    session(7, label=3),
    "a text",
    None,
    [[1]],
]


def test_what_is_broken_among_much_is_set_aside_with_its_place_and_the_rest_is_trained_on(
    years: Path, real_run: RunLayout, record_property: Record
) -> None:
    expected: dict[tuple[str, int], str] = {}
    kept = 0
    for day, (content, position, why) in enumerate(BROKEN.values(), start=1):
        (years / USUAL.format(day)).write_bytes(content)
        expected[USUAL.format(day), position] = why
        kept += position
    original = years / "preprocessed_logs_2020-01-05.json"
    shutil.copy(original, years / USUAL.format(30))
    expected[USUAL.format(30), 0] = f"the same as {original.resolve()}"
    (years / USUAL.format(31)).write_bytes(text(session("a"), *BAD_RECORDS, session("b")))
    expected |= {(USUAL.format(31), position): "" for position in range(1, len(BAD_RECORDS) + 1)}
    kept += 2

    done = train(years, real_run)
    assert done.returncode == 0, done.stderr
    found = {(Path(e["file"]).name, e["position"]): e for e in map(json.loads, lines_of(real_run.rejected))}
    assert found.keys() == expected.keys()
    for place, why in expected.items():
        entry = found[place]
        assert entry["reason"], entry
        assert why in entry["reason"], entry
        assert entry["file"] == str((years / place[0]).resolve())
        assert entry.get("rest", False) == (place[0] != USUAL.format(31))
    events = list(read_journal(real_run.journal))
    ready = next(event for event in events if isinstance(event, DataReady))
    assert (ready.sessions, ready.rejected) == (DAYS * EACH + kept, len(expected))
    assert any(isinstance(e, Log) and e.level == "warning" and "rejected.ndjson" in e.message for e in events)
    assert "warning" in done.stdout
    assert any(stage.best.exists() for stage in real_run.stages())
    record_property("entries set aside", len(expected))


def test_of_few_files_a_broken_one_stops_the_run_in_a_sentence_that_names_it(
    tmp_path: Path, real_run: RunLayout
) -> None:
    data = write_sessions(tmp_path / "data", 40)
    broken = data / USUAL.format(31)
    broken.write_bytes(text(*(session(i) for i in range(500)))[:-30])
    said = sentence(train(data, real_run))
    assert f"1 of 2 files (50.0%) cannot be used whole; the limit is 1.0%. The first is {broken}" in said
    assert "from record 499 on" in said
    assert "max_rejected" in said
    assert real_run.stages() == [], "nothing was trained"
    assert open_store(session_files(data), max_rejected=0.5).n_sessions == 539, "as the sentence proposes"


def test_more_malformed_records_than_the_limit_stop_the_run_before_it_trains(
    tmp_path: Path, real_run: RunLayout
) -> None:
    data = write_sessions(tmp_path / "data", 500)
    file = data / USUAL.format(1)
    file.write_bytes(text(*BAD_RECORDS))
    said = sentence(train(data, real_run))
    assert (
        f"{len(BAD_RECORDS)} of {500 + len(BAD_RECORDS)} records (2.2%) cannot be used; the limit is 1.0%"
        in said
    )
    assert f"record 0 of {file}" in said
    assert real_run.stages() == [], "nothing was trained"


def refusal(data: Path) -> str:
    with pytest.raises(DataError) as caught:
        open_store(session_files(data))
    return str(caught.value)


def test_of_few_files_one_that_is_there_twice_stops_the_run(tmp_path: Path) -> None:
    data = write_sessions(tmp_path / "data", 40)
    (original,) = data.iterdir()
    shutil.copy(original, data / USUAL.format(31))
    said = refusal(data)
    assert "1 of 2 files" in said
    assert f"the same as {original}" in said


def test_a_file_that_was_appended_to_itself_stops_the_run(tmp_path: Path) -> None:
    data = write_sessions(tmp_path / "data", 40)
    (file,) = data.iterdir()
    sessions = json.loads(file.read_text())
    file.write_text(json.dumps(sessions + sessions))
    said = refusal(data)
    assert "40 of 80 records (50.0%) cannot be used" in said
    assert f"record 40 of {file}: it repeats record 0 of {file}" in said


def test_a_session_that_is_there_twice_counts_once_and_equal_ids_alone_are_no_repetition(
    tmp_path: Path,
) -> None:
    data = write_sessions(tmp_path / "data", 2000)
    stamp = {"timestamp": "2025-03-01T23:59:58"}
    first = [
        session("x", 1, 2, **stamp),
        session("y", 1, 2),
        session("y", 1, 2),  # again, in the same file
        session("z", 1, 2),
        session("z", 1, 2, 3),  # an id that goes on with other events
    ]
    second = [
        session("x", 1, 2, **stamp),  # again, in a file that overlaps
        session("y", 1, 2),  # another file's numbering
        session("x", 1, 2, timestamp="2025-03-02T10:00:00"),
    ]
    (data / USUAL.format(1)).write_bytes(text(*first))
    (data / USUAL.format(2)).write_bytes(text(*second))
    store = open_store(session_files(data))
    found = {
        (Path(e["file"]).name, e["position"]): e["reason"]
        for e in map(json.loads, lines_of(store.rejected_path))
    }
    assert found.keys() == {(USUAL.format(1), 2), (USUAL.format(2), 0)}
    assert f"record 1 of {data / USUAL.format(1)}" in found[USUAL.format(1), 2]
    assert f"record 0 of {data / USUAL.format(1)}" in found[USUAL.format(2), 0]
    assert store.n_sessions == int(store.counts.sum()) == 2000 + 6
    assert [store.session_id(i) for i in range(2000, 2006)] == ["y", "z", "z", "x", "y", "x"]


COMPILES = """
import json, sys
from pathlib import Path
from logbert_engine.data.store import open_store

def resident():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024

before = resident()
store = open_store([Path(sys.argv[1])])
print(json.dumps({"sessions": store.n_sessions, "unique": store.n_unique, "grown": resident() - before}))
"""


def write_huge(path: Path, size: int) -> int:
    """A daily file of so many bytes of text, with raw lines and a few hundred distinct sequences, as real ones.

    Returns:
        Its sessions.
    """
    opening = gzip.open if path.name.endswith(".gz") else open
    count = written = 0
    with opening(path, "wb") as file:
        file.write(b"[")
        while written < size:
            one = session(count, *(1 + (count * i) % 17 for i in range(1, 21)), original_logs=["x" * 60] * 20)
            line = (b",\n" if count else b"\n") + json.dumps(one).encode()
            file.write(line)
            written += len(line)
            count += 1
        file.write(b"\n]")
    return count


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("name", [USUAL.format(1), USUAL.format(1) + ".gz"], ids=["plain", "packed"])
@pytest.mark.parametrize("megabytes", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_a_huge_file_is_read_in_bounded_memory(
    tmp_path: Path, name: str, megabytes: int, record_property: Record
) -> None:
    file = tmp_path / name
    sessions = write_huge(file, megabytes << 20)
    done = subprocess.run(
        [sys.executable, "-c", COMPILES, str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["sessions"] == sessions
    record_property(f"memory for {megabytes} MB", f"{told['grown'] >> 20} MB")
    # A document of up to 64 MB is decoded at once, which takes about twice its size; a larger one is streamed.
    assert told["grown"] < min(3 * megabytes, 110) << 20


@pytest.mark.slow
def test_a_huge_broken_file_is_named_with_its_place(tmp_path: Path, real_run: RunLayout) -> None:
    data = write_sessions(tmp_path / "data", 40)
    file = data / USUAL.format(1)
    sessions = write_huge(file, 80 << 20)
    os.truncate(file, file.stat().st_size - 10)
    said = sentence(train(data, real_run))
    assert f"{file}, from record {sessions - 1} on" in said
