from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logbert_engine.data.compiling import time_order
from logbert_engine.data.reading import read_sessions, session_files
from logbert_engine.data.store import Store, open_store
from logbert_engine.protocol.errors import DataError
from logbert_engine.protocol.locations import cache_dir

OPEN = """
import sys
from pathlib import Path
from logbert_engine.data.store import open_store
"""
Write = Callable[..., Path]


def record(session_id: int | str, events: list[Any], **more: Any) -> dict[str, Any]:
    return {"session_id": session_id, "event_sequence": events, **more}


def source_events(store: Store, i: int) -> list[int | str]:
    return [store.events[token] for token in store.sequence(int(store.sequence_of[i]))]


def ids(store: Store) -> list[int | str]:
    return [store.session_id(i) for i in range(store.n_sessions)]


class Compiled:
    """Tells whether a store was compiled: only then is there progress."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        self.seen.append((done, total))


def test_a_store_gives_back_every_session(write: Write) -> None:
    file = write(
        "preprocessed_logs_2025-02-24.json",
        [
            record("7", [0, "E1", 3], timestamp="2025-02-24T10:00:00", service_name="gateway", label=1),
            record(7, [3], has_error=True, has_warn=False, service_name="eureka"),
            record(2**70, ["E1", "3", 0]),
        ],
    )
    store = open_store([file])
    by_id = {store.session_id(i): i for i in range(store.n_sessions)}
    assert set(by_id) == {"7", 7, 2**70}
    assert source_events(store, by_id["7"]) == [0, "E1", 3]
    assert source_events(store, by_id[2**70]) == ["E1", 3, 0]
    text, number, large = by_id["7"], by_id[7], by_id[2**70]
    assert store.timestamp(text) == "2025-02-24T10:00:00"
    assert store.timestamp(number) is None
    assert [store.services[k] for k in store.service_of[[text, number, large]]] == ["gateway", "eureka", ""]
    assert store.label[[text, number, large]].tolist() == [1, -1, -1]
    assert store.has_error[[text, number]].tolist() == [-1, 1]
    assert store.has_warn[[text, number]].tolist() == [-1, 0]
    assert store.position_of[[text, number, large]].tolist() == [0, 1, 2]
    assert [store.files[k] for k in store.file_of] == [str(file.resolve())] * 3
    assert (store.first_day, store.last_day) == ("2025-02-24", "2025-02-24")
    assert (store.n_sessions, store.n_unique, store.rejected) == (3, 3, 0)
    assert store.lengths.tolist() == [3, 1, 3]


def test_identical_sequences_are_stored_once_with_their_count(write: Write) -> None:
    file = write("x.json", [record(n, [5, 6] if n % 2 else ["6", 5, 5]) for n in range(9)])
    store = open_store([file])
    assert store.n_unique == 2
    assert store.counts.tolist() == [5, 4]
    assert len(store.tokens) == 5
    assert np.bincount(store.sequence_of).tolist() == store.counts.tolist()
    assert source_events(store, 1) == [5, 6]


def test_sessions_stand_in_the_order_of_time(write: Write) -> None:
    files = [
        write(
            "preprocessed_logs_2025-02-24.json",
            [
                record("late", [1], timestamp="2025-02-25T23:00:00"),
                record("early", [1], time_window="2025-02-24_08_00"),
                record("midnight", [1]),
            ],
        ),
        write("preprocessed_logs_2025-02-25.json", [record("a", [1]), record("b", [1])]),
        write("undated.json", [record("c", [1]), record("d", [1])]),
    ]
    store = open_store(files)
    assert ids(store) == ["midnight", "early", "a", "b", "c", "d", "late"]
    assert np.isnan(store.time).tolist() == [False] * 4 + [True, True, False]
    assert (store.first_day, store.last_day) == ("2025-02-24", "2025-02-25")


def test_a_session_without_a_time_stays_behind_the_one_before_it() -> None:
    nan = float("nan")
    assert time_order(np.array([nan, 5.0, nan, 3.0, nan, 5.0])).tolist() == [0, 3, 4, 1, 2, 5]
    assert time_order(np.array([nan, nan])).tolist() == [0, 1]
    assert time_order(np.array([])).tolist() == []


def test_arrays_are_mapped_from_disk_and_cannot_be_written(write: Write) -> None:
    store = open_store([write("x.json", [record(1, [5, 6])])])
    for name in ("tokens", "offsets", "counts", "sequence_of", "time", "label", "name_at"):
        column = getattr(store, name)
        assert isinstance(column, np.memmap), name
        assert not column.flags.writeable, name


def test_many_events_take_wider_tokens(write: Write) -> None:
    narrow = open_store([write("narrow.json", [record(1, list(range(65_536)))])])
    wide = open_store([write("wide.json", [record(1, list(range(65_537)))])])
    assert [store.tokens.dtype.name for store in (narrow, wide)] == ["uint16", "uint32"]
    assert source_events(wide, 0) == list(range(65_537))


def test_a_compiled_store_is_opened_and_not_compiled_again(write: Write) -> None:
    files = [write("x.json", [record(n, [5, n]) for n in range(20)])]
    first, second = Compiled(), Compiled()
    store = open_store(files, progress=first)
    again = open_store(files, progress=second)
    size = files[0].stat().st_size
    assert first.seen[-1] == (size, size)
    assert second.seen == []
    assert again.path == store.path
    assert ids(again) == ids(store)


def test_progress_rises_to_all_bytes(write: Write) -> None:
    files = [write(f"{n}.jsonl", [record(i, [5 + n]) for i in range(20_000)]) for n in range(2)]
    compiled = Compiled()
    open_store(files, progress=compiled)
    total = sum(file.stat().st_size for file in files)
    done = [seen[0] for seen in compiled.seen]
    assert done == sorted(done)
    assert len(done) == 5
    assert 0 < done[0] < total
    assert compiled.seen[-1] == (total, total)


@pytest.mark.parametrize("change", ["content", "time", "another file"])
def test_a_changed_source_is_compiled_again(write: Write, change: str) -> None:
    file = write("x.json", [record(1, [5])])
    files = [file]
    store = open_store(files)
    if change == "content":
        write("x.json", [record(1, [5]), record(2, [6])])
    elif change == "time":
        os.utime(file, ns=(0, 0))
    else:
        files = [file, write("y.json", [record(2, [6])])]
    compiled = Compiled()
    again = open_store(files, progress=compiled)
    assert compiled.seen
    assert again.fingerprint != store.fingerprint
    assert again.n_sessions == (1 if change == "time" else 2)


@pytest.mark.parametrize("name", ["tokens.npy", "names.ndjson", "store.json", "rejected.ndjson", "time.npy"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_store_is_compiled_again(write: Write, name: str, damage: str) -> None:
    files = [write("x.json", [record(n, [5, n]) for n in range(200)] + [record("bad", [])])]
    store = open_store(files)
    expected = ids(store)
    path = store.path / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    if damage == "flip":
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    compiled = Compiled()
    again = open_store(files, progress=compiled)
    assert compiled.seen
    assert ids(again) == expected
    assert [entry.name for entry in again.path.parent.iterdir()] == [again.fingerprint]


def test_a_builder_that_is_killed_leaves_nothing_in_the_way(write: Write) -> None:
    file = write("x.jsonl", [record(n, [5, n]) for n in range(20_000)])
    killed = subprocess.run(
        [
            sys.executable,
            "-c",
            OPEN + "import os, signal\n"
            "open_store([Path(sys.argv[1])], progress=lambda *_: os.kill(os.getpid(), signal.SIGKILL))",
            str(file),
        ],
        check=False,
    )
    assert killed.returncode == -9
    (half,) = (cache_dir() / "stores").iterdir()
    assert open_store([file]).n_sessions == 20_000
    assert half.exists()
    long_ago = time.time() - 90_000
    os.utime(half, (long_ago, long_ago))
    open_store([write("other.json", [record(1, [5])])])
    assert not half.exists()


def test_builders_that_race_all_succeed(write: Write) -> None:
    file = write("x.jsonl", [record(n, [5, n]) for n in range(5_000)])
    script = (
        OPEN
        + "print('ready', flush=True); sys.stdin.readline()\n"
        + "print(open_store([Path(sys.argv[1])]).n_sessions)"
    )
    builders = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for builder in builders:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "ready\n"
    for builder in builders:
        assert builder.stdin is not None
        builder.stdin.write("\n")
        builder.stdin.flush()
    assert [builder.communicate(timeout=60)[0] for builder in builders] == ["5000\n"] * 3
    (store,) = (cache_dir() / "stores").iterdir()
    assert store.name == open_store([file]).fingerprint


def test_a_full_disk_is_one_sentence_and_leaves_nothing(write: Write) -> None:
    file = write("x.jsonl", [record(n, [5, n]) for n in range(5_000)])
    script = OPEN + (
        "from logbert_engine.protocol.errors import StorageError\n"
        "try: open_store([Path(sys.argv[1])])\n"
        "except StorageError as error: print(error)"
    )
    limited = subprocess.run(
        [sys.executable, "-c", script, str(file)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    assert limited.stdout.startswith("disk full: no room to write ")
    assert limited.stderr == ""
    assert list((cache_dir() / "stores").iterdir()) == []


def test_rejected_records_are_listed_beside_the_store(write: Write) -> None:
    file = write("x.json", [record(n, [5]) for n in range(199)] + [record("bad", [-1])])
    store = open_store([file])
    assert (store.n_sessions, store.rejected) == (199, 1)
    (line,) = store.rejected_path.read_text().splitlines()
    assert json.loads(line)["file"] == str(file.resolve())
    assert json.loads(line)["position"] == 199
    assert "out of range" in json.loads(line)["reason"]


def test_too_many_rejected_records_stop_with_the_first_and_the_list(write: Write) -> None:
    file = write("x.json", [record(1, [5]), record(2, []), record(3, [5]), record(4, [-1])])
    with pytest.raises(DataError) as caught:
        open_store([file])
    message = str(caught.value)
    assert message.startswith("2 of 4 records (50.0%) cannot be used; the limit is 1.0%.")
    assert f"The first is record 1 of {file.resolve()}: it holds no events." in message
    listed = Path(message.partition("All are listed in ")[2].partition(";")[0])
    assert len(listed.read_text().splitlines()) == 2
    compiled = Compiled()
    assert open_store([file], max_rejected=0.5, progress=compiled).n_sessions == 2
    assert compiled.seen == []


def test_records_of_which_none_can_be_used_are_an_error_at_any_limit(write: Write) -> None:
    file = write("x.json", [record(1, []), record(2, [])])
    with pytest.raises(DataError, match=r"none of 2 records can be used.*record 0 of"):
        open_store([file], max_rejected=1.0)


def test_files_without_sessions_are_an_error(write: Write) -> None:
    with pytest.raises(DataError, match=r"no sessions in .*x\.json"):
        open_store([write("x.json", [])])


def test_a_file_that_went_away_is_named(write: Write) -> None:
    file = write("x.json", [record(1, [5])])
    file.unlink()
    with pytest.raises(DataError, match=r"cannot read .*x\.json"):
        open_store([file])


def test_a_file_cut_short_is_used_up_to_there_and_stops_the_run_where_it_is_one_of_few(write: Write) -> None:
    good, bad = write("a.json", [record(1, [5])]), write("b.json", [record(2, [6]), record(3, [7])])
    bad.write_bytes(bad.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"1 of 2 files \(50.0%\).*b\.json, from record 1 on: .*cut short"):
        open_store([good, bad])
    store = open_store([good, bad], max_rejected=0.5)
    assert [store.session_id(i) for i in range(store.n_sessions)] == [1, 2]
    (line,) = store.rejected_path.read_text().splitlines()
    assert (json.loads(line)["position"], json.loads(line)["rest"]) == (1, True)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("folder", "sessions", "anomalies", "events", "unique", "vocabulary"),
    [
        ("hdfs/train", 13_804, 0, 268_859, 1_610, 15),
        ("hdfs/eval_dated", 9_111, 267, 176_844, 1_323, 24),
        ("hdfs/eval_bulk", 17_540, 13_206, 310_039, 4_231, 29),
        ("bgl_w20/train", 44_165, 0, 883_300, 11_975, 273),
        ("hadoop/eval", 705, 652, 341_538, 174, 344),
    ],
)
def test_counts_are_those_that_the_corpus_states(
    shared_data: Path, folder: str, sessions: int, anomalies: int, events: int, unique: int, vocabulary: int
) -> None:
    store = open_store(session_files(shared_data / folder))
    assert store.n_sessions == sessions
    assert int((store.label == 1).sum()) == anomalies
    assert int(store.lengths @ store.counts) == events
    assert store.n_unique == unique
    assert len(store.events) == vocabulary
    assert store.rejected == 0
    assert (np.diff(store.time) >= 0).all()


@pytest.mark.shared
def test_each_session_of_the_tiny_corpus_is_in_the_store_as_in_its_file(shared_data: Path) -> None:
    files = session_files(shared_data / "tiny")
    store = open_store(files)
    assert (store.n_sessions, int((store.label == 1).sum())) == (300, 30)
    assert (store.first_day, store.last_day) == ("2008-11-09", "2008-11-11")
    places = {(int(store.file_of[i]), int(store.position_of[i])): i for i in range(store.n_sessions)}
    for number, file in enumerate(files):
        for position, item in enumerate(json.loads(file.read_text())):
            i = places[number, position]
            assert store.session_id(i) == item["session_id"]
            assert store.timestamp(i) == item["timestamp"]
            assert source_events(store, i) == item["event_sequence"]
            assert store.has_error[i] == item["has_error"]
            assert store.label[i] == item["label"]
    sequences = Counter(session.events for file in files for session in read_sessions(file))  # type: ignore[union-attr]
    assert sorted(store.counts.tolist()) == sorted(sequences.values())


@pytest.mark.shared
def test_a_corpus_of_half_a_million_sessions_compiles_in_seconds(shared_data: Path) -> None:
    started = time.perf_counter()
    store = open_store(session_files(shared_data / "hdfs_resampled_575k"))
    took = time.perf_counter() - started
    assert (store.n_sessions, int((store.label == 1).sum())) == (575_061, 16_838)
    assert took < 30
    assert store.session_id(0) == 1
