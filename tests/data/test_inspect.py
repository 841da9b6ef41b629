from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from logbert_engine.data.inspect import inspect
from logbert_engine.protocol.errors import DataError

Write = Callable[..., Path]


def test_a_look_tells_what_is_there(write: Write, tmp_path: Path) -> None:
    first = write(
        "preprocessed_logs_2025-02-24.json",
        [
            {"session_id": 1, "event_sequence": [0, 1, 2], "service_name": "gateway", "label": 0},
            {"session_id": 2, "event_sequence": [1], "service_name": "eureka"},
            {"session_id": 3, "event_sequence": [1] * 9, "service_name": "gateway"},
            {"session_id": 4, "event_sequence": []},
        ],
    )
    second = write("preprocessed_logs_2025-02-26.json", [{"session_id": 1, "event_sequence": [0]}])
    (tmp_path / "vocabulary.csv").write_text("event_id,template\n0,start\n1,stop\n")
    (tmp_path / "metadata.json").write_text('{"total_sessions": 999999}')
    found = inspect(tmp_path)
    assert (found.files, found.bytes) == (2, first.stat().st_size + second.stat().st_size)
    assert (found.first_file, found.last_file) == (first.name, second.name)
    assert (found.first_day, found.last_day) == ("2025-02-24", "2025-02-26")
    assert (found.peeked_sessions, found.peeked_all, found.rejected) == (3, True, 1)
    assert (found.distinct_events, found.median_length, found.longest) == (3, 3, 9)
    assert found.services == {"gateway": 2, "eureka": 1}
    assert (found.labelled, found.templates) == (1, 2)
    assert found.estimated_sessions == round(3 * found.bytes / first.stat().st_size)


@pytest.mark.parametrize("name", ["a.json", "a.json.gz", "a.jsonl", "a.jsonl.gz"])
def test_a_long_file_is_read_in_part_and_the_rest_estimated(write: Write, name: str) -> None:
    path = write(name, [{"session_id": n, "event_sequence": [n % 9, n % 7] * 5} for n in range(30_000)])
    found = inspect(path)
    assert (found.peeked_sessions, found.peeked_all) == (2000, False)
    assert found.estimated_sessions == pytest.approx(30_000, rel=0.15)


def test_a_path_without_sessions_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        inspect(tmp_path)


@pytest.mark.shared
def test_a_look_at_hundreds_of_thousands_of_sessions_takes_a_moment(shared_data: Path) -> None:
    started = time.perf_counter()
    found = inspect(shared_data / "hdfs_resampled_575k")
    assert time.perf_counter() - started < 1.0
    assert found.files == 29
    assert found.estimated_sessions == pytest.approx(575_061, rel=0.1)
    assert inspect(shared_data / "hdfs" / "train").templates == 33
