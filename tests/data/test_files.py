from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from logbert_engine.data.files import session_files
from logbert_engine.protocol.errors import DataError

Write = Callable[..., Path]
GOOD = {"session_id": "a", "event_sequence": [5, 6]}
RESULT = {"session_id": "a", "anomaly_score": 1.0, "is_anomaly": False, "event_sequence": [5, 6]}


def names(files: list[Path]) -> list[str]:
    return [file.name for file in files]


def test_session_files_come_earliest_first_whatever_their_form(write: Write, tmp_path: Path) -> None:
    for name in ("logs_2025-03-01.jsonl", "preprocessed_logs_2025-02-26.json.gz", "undated.json"):
        write(name, [GOOD])
    write("preprocessed_logs_2025-02-24.json", [GOOD], wrapped=True)
    write("more_2025-02-25.jsonl.gz", [GOOD])
    found = session_files(tmp_path)
    assert names(found) == [
        "preprocessed_logs_2025-02-24.json",
        "more_2025-02-25.jsonl.gz",
        "preprocessed_logs_2025-02-26.json.gz",
        "logs_2025-03-01.jsonl",
        "undated.json",
    ]
    assert session_files(tmp_path, max_files=2) == found[:2]


def test_other_json_files_beside_them_are_left_alone(write: Write, tmp_path: Path) -> None:
    write("preprocessed_logs_2025-02-24.json", [GOOD])
    write("preprocessed_logs_2025-02-24_results.json", [RESULT])
    write("test_results.json", [RESULT])
    write("list.json", [1, 2, 3])
    (tmp_path / "metadata.json").write_text(
        '{"total_sessions": 5, "services": ["a"], "example": {"session_id": 1}}'
    )
    (tmp_path / "one.json").write_text('{"session_id": 1, "event_sequence": [1]}')
    (tmp_path / "broken.json").write_text('{"sess')
    (tmp_path / "deep.json").write_text("[" * 60_000)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / ".hidden.json").write_text('[{"session_id": 1, "event_sequence": [1]}]')
    (tmp_path / "folder.json").mkdir()
    assert names(session_files(tmp_path)) == ["preprocessed_logs_2025-02-24.json"]


def test_a_record_longer_than_the_look_at_it_is_still_recognised(write: Write, tmp_path: Path) -> None:
    write("a.json", [{"session_id": 1, "original_logs": ["x" * 100_000], "event_sequence": [1]}])
    assert names(session_files(tmp_path)) == ["a.json"]


def test_a_session_file_cut_short_is_not_passed_over(write: Write, tmp_path: Path) -> None:
    path = write("a.json", [{"session_id": 1, "event_sequence": list(range(500))}])
    path.write_bytes(path.read_bytes()[:500])
    packed = write("b.json.gz", [{"session_id": n, "event_sequence": [n % 7, n % 11]} for n in range(5000)])
    packed.write_bytes(packed.read_bytes()[:-40])
    assert names(session_files(tmp_path)) == ["a.json", "b.json.gz"]


def test_a_file_is_taken_as_it_is(write: Write) -> None:
    path = write("anything.txt", [GOOD])
    assert session_files(path) == [path]


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file or directory .*nowhere"):
        session_files(tmp_path / "nowhere")


def test_a_directory_without_session_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no session files"):
        session_files(tmp_path)


def test_session_files_one_level_below_are_pointed_out(write: Write, tmp_path: Path) -> None:
    write("train/preprocessed_logs_2025-02-24.json", [GOOD])
    write("eval/preprocessed_logs_2025-02-25.json", [GOOD])
    with pytest.raises(DataError, match=f"give one of {tmp_path}/eval, {tmp_path}/train"):
        session_files(tmp_path)


def test_a_file_that_is_there_plain_and_packed_is_not_counted_twice(write: Write, tmp_path: Path) -> None:
    write("preprocessed_logs_2025-02-24.json", [GOOD])
    write("preprocessed_logs_2025-02-24.json.gz", [GOOD])
    with pytest.raises(DataError, match="twice"):
        session_files(tmp_path)
