"""The files: they agree with each other, follow the contract and tell nothing that they should not."""

from __future__ import annotations

import datetime
import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import msgspec
import pytest

from logbert_engine.data.contract import SessionRecord
from logbert_engine.demo.simulate import Scale
from logbert_engine.demo.writing import write_demo
from logbert_engine.protocol.errors import LogbertError, StorageError

from .conftest import Demo

RAW = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) (?P<level>INFO|WARN|ERROR) +"
    r"\[(?P<service>\w+),(?P<trace>[0-9a-f]{16})\] \[(?P<thread>[\w-]+)\] "
    r"(?P<logger>[\w.-]+) - (?P<message>.+)"
)


def content(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def matchers(vocabulary: dict[int, str]) -> dict[int, re.Pattern[str]]:
    return {
        event_id: re.compile(".+?".join(re.escape(part) for part in template.split("<*>")))
        for event_id, template in vocabulary.items()
    }


def test_the_same_arguments_give_byte_identical_files_and_another_seed_others(tmp_path: Path) -> None:
    scale = Scale(sessions=400, days=3, seed=9)
    for name in ("a", "b"):
        write_demo(tmp_path / name, scale)
    write_demo(tmp_path / "c", Scale(sessions=400, days=3, seed=10))
    first, second, other = (content(tmp_path / name) for name in ("a", "b", "c"))
    assert first == second
    assert {name for name in first if first[name] != other[name]} == set(first) - {"vocabulary.csv"}


def test_raw_logs_grouped_by_trace_and_matched_to_templates_give_the_sessions(demo: Demo) -> None:
    """A reader that knows the raw logs and the vocabulary alone gets every session as its file has it."""
    templates = matchers(demo.vocabulary())
    by_logger: dict[str, list[int]] = defaultdict(list)
    """Events seen from a logger: tried first, for speed alone."""
    traces: dict[str, list[tuple[str, str, str, int]]] = defaultdict(list)
    for path in sorted((demo.directory / "raw").rglob("*.log")):
        for line in path.read_text().splitlines():
            found = RAW.fullmatch(line)
            assert found is not None, line
            time, level, service, trace, _, logger, message = found.groups()
            assert path.parent.name == service
            event = next((e for e in by_logger[logger] if templates[e].fullmatch(message)), None)
            if event is None:
                matching = [e for e in templates if templates[e].fullmatch(message)]
                assert len(matching) == 1, f"{message!r} matches {matching}"
                event = matching[0]
                by_logger[logger].append(event)
            traces[trace].append((time, service, level, event))
    records = demo.sessions("sessions") + demo.sessions("eval")
    assert len(traces) == len(records) == demo.scale.sessions
    for record in records:
        lines = sorted(traces[record["trace_id"]])
        assert [event for *_, event in lines] == record["event_sequence"]
        assert len(lines) == record["session_length"]
        assert lines[0][0].replace(" ", "T") == record["timestamp"]
        assert record["has_error"] == any(level == "ERROR" for _, _, level, _ in lines)
        assert record["has_warn"] == any(level == "WARN" for _, _, level, _ in lines)
        services = {service for _, service, _, _ in lines}
        assert set(record["related_services"]) == services - {record["service_name"]}


def test_every_message_matches_one_template_only(demo: Demo) -> None:
    templates = matchers(demo.vocabulary())
    checked: Counter[str] = Counter()
    for path in sorted((demo.directory / "raw").rglob("*.log")):
        for line in path.read_text().splitlines():
            message = line.partition(" - ")[2]
            logger = line.partition(" - ")[0].rpartition(" ")[2]
            if checked[logger] >= 60:
                continue
            checked[logger] += 1
            matching = [event for event, pattern in templates.items() if pattern.fullmatch(message)]
            assert len(matching) == 1, f"{message!r} matches {matching}"
    assert len(checked) > 30


def test_raw_logs_are_in_order_of_time_and_concurrent_requests_interleave(demo: Demo) -> None:
    returned_to = 0
    for path in sorted((demo.directory / "raw").rglob("*.log")):
        date = re.search(r"\d{4}-\d\d-\d\d", path.name)
        assert date is not None
        times, traces = [], []
        for line in path.read_text().splitlines():
            times.append(line[:23])
            traces.append(line[line.index(",") + 1 : line.index("]")])
        assert times == sorted(times)
        assert all(time.startswith(date[0]) for time in times)
        seen: set[str] = set()
        for trace, before in zip(traces[1:], traces, strict=False):
            seen.add(before)
            returned_to += trace != before and trace in seen
    assert returned_to > demo.scale.sessions / 10


def test_every_session_follows_the_contract(demo: Demo) -> None:
    written = sorted((demo.directory / "sessions").glob("*.json")) + sorted(
        (demo.directory / "eval").glob("*.json")
    )
    ids = set()
    known = set(demo.vocabulary())
    for path in written:
        first, *lines, last = path.read_text().splitlines()
        assert (first, last) == ("[", "]")
        for line in lines:  # a session a line
            record = msgspec.json.decode(line.rstrip(","), type=SessionRecord)
            assert record.event_sequence
            assert known.issuperset(record.event_sequence)
            assert isinstance(record.timestamp, str)
            start = datetime.datetime.fromisoformat(record.timestamp)
            assert path.name == f"preprocessed_logs_{start:%Y-%m-%d}.json"
            assert record.time_window == f"{start:%Y-%m-%d_%H}_{start.minute // 5 * 5:02}"
            ids.add(record.session_id)
    assert len(ids) == demo.scale.sessions


def test_training_days_hold_no_truth_and_precede_the_evaluation_days(demo: Demo) -> None:
    training, evaluation = demo.sessions("sessions"), demo.sessions("eval")
    assert {key for record in training for key in record} == {
        *("session_id", "event_sequence", "service_name", "has_error", "has_warn", "timestamp"),
        *("time_window", "session_length", "trace_id", "related_services"),
    }
    assert max(record["timestamp"] for record in training) < min(record["timestamp"] for record in evaluation)
    faults = demo.faults()
    assert {record["session_id"] for record in evaluation if record["label"]} == {
        record["session_id"] for record in evaluation if record["session_id"] in faults
    }
    in_training = sum(record["session_id"] in faults for record in training)
    assert 0.001 < in_training / len(training) < 0.003
    assert sum(record["label"] for record in evaluation) == round(0.03 * len(evaluation))


def test_original_lines_stand_with_all_faulty_and_some_normal_sessions(demo: Demo) -> None:
    raw = set()
    for path in (demo.directory / "raw").rglob(f"*-{demo.scale.date(3)}.log"):
        raw.update(path.read_text().splitlines())
    normal = shown = 0
    for record in demo.sessions("eval"):
        lines = record.get("original_logs")
        normal += not record["label"]
        shown += not record["label"] and lines is not None
        assert lines is not None or not record["label"]
        if lines is not None:
            assert len(lines) == record["session_length"]
            assert raw.issuperset(lines)
    assert 0.06 < shown / normal < 0.14


def test_faults_are_told_with_their_place(demo: Demo) -> None:
    lengths = {
        record["session_id"]: record["session_length"]
        for folder in ("sessions", "eval")
        for record in demo.sessions(folder)
    }
    faults = demo.faults()
    assert len({row["kind"] for row in faults.values()}) == 12
    for session_id, row in faults.items():
        assert 0 <= int(row["position"]) < lengths[session_id]
        assert row["in_words"]
        assert row["date"].replace("-", "") == session_id.partition("-")[0]


def test_metadata_says_what_session_files_readers_expect(demo: Demo) -> None:
    metadata = json.loads((demo.directory / "metadata.json").read_text())
    records = demo.sessions("sessions") + demo.sessions("eval")
    assert metadata["total_sessions"] == len(records)
    assert metadata["date_range"] == {"start": "2025-11-03", "end": "2025-11-06"}
    assert set(metadata["services"]) == {record["service_name"] for record in records}
    config = metadata["preprocessing_config"]
    assert config["vocab_size"] == len(demo.vocabulary())
    assert config["window_size"] == max(record["session_length"] for record in records)
    assert metadata["complete"] is True
    assert set(metadata["files"]) == set(content(demo.directory))


def test_counts_are_those_of_the_files(demo: Demo) -> None:
    written = demo.written
    lines = 0
    for name, count in written.files.items():
        path = demo.directory / name
        if name.startswith("raw/"):
            assert count == len(path.read_text().splitlines())
            lines += count
        elif name.startswith(("sessions/", "eval/")):
            assert count == len(json.loads(path.read_text()))
    assert set(written.files) == set(content(demo.directory))
    assert written.events == lines
    kinds = Counter(row["kind"] for row in demo.faults().values())
    assert kinds == Counter(written.faults_in_training) + Counter(written.faults_in_evaluation)


def test_an_earlier_demo_is_replaced_without_leftovers_and_other_files_stay(tmp_path: Path) -> None:
    scale = Scale(sessions=100, days=2)
    write_demo(tmp_path / "old", Scale(sessions=100, days=6))
    (tmp_path / "old" / "raw" / "notes.txt").write_text("mine")
    write_demo(tmp_path / "old", scale)
    write_demo(tmp_path / "new", scale)
    replaced = content(tmp_path / "old")
    assert replaced.pop("raw/notes.txt") == b"mine"
    assert replaced == content(tmp_path / "new")


def test_a_directory_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "metadata.json").write_text('{"total_sessions": 3}')
    (tmp_path / "theirs.txt").write_text("theirs")
    before = content(tmp_path)
    with pytest.raises(LogbertError, match="not empty and was not written by demo-data"):
        write_demo(tmp_path, Scale(sessions=100, days=2))
    assert content(tmp_path) == before


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogbertError, match="is a file"):
        write_demo(tmp_path / "file", Scale(sessions=100, days=2))
    with pytest.raises(StorageError, match="cannot write"):
        write_demo(tmp_path / "file" / "demo", Scale(sessions=100, days=2))
