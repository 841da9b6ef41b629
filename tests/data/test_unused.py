"""What of an input could not be used is said, where it is and that more may be missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from logbert_engine.data.store import open_store, unused_in_words

SESSIONS = [{"session_id": i, "event_sequence": [1, 2, i % 3]} for i in range(20)]


def test_nothing_is_said_of_files_that_are_whole(tmp_path: Path) -> None:
    file = tmp_path / "whole.json"
    file.write_text(json.dumps(SESSIONS))
    assert unused_in_words(open_store([file])) == ""


@pytest.mark.parametrize("how", ["cut", "not a number"])
def test_a_file_that_breaks_off_is_named_with_what_is_lost(tmp_path: Path, how: str) -> None:
    file = tmp_path / "broken.json"
    text = json.dumps(SESSIONS)
    at = text.index('{"session_id": 12')
    file.write_text(text[:at] + ('{"session_id": 1' if how == "cut" else text[at:].replace("12", "NaN", 1)))
    store = open_store([file], max_rejected=1.0)
    told = unused_in_words(store)
    assert store.n_sessions == 12
    assert told.startswith("1 file is not read to the end, so sessions are missing; the first: ")
    assert str(file) in told
    assert "from record 12 on" in told
    assert str(store.rejected_path) in told


def test_records_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    file = tmp_path / "some.json"
    records: list[object] = [*SESSIONS, {"session_id": 20}, {"session_id": 21, "event_sequence": []}]
    file.write_text(json.dumps(records))
    told = unused_in_words(open_store([file], max_rejected=1.0))
    assert told.startswith(f"2 records could not be used; the first: record 20 of {file}: it has neither")


def test_a_label_that_is_a_text_is_shown_with_what_it_should_be(tmp_path: Path) -> None:
    file = tmp_path / "labelled.json"
    file.write_text(json.dumps([*SESSIONS, {"session_id": 20, "event_sequence": [1], "label": "anomaly"}]))
    told = unused_in_words(open_store([file], max_rejected=1.0))
    assert "its label is 'anomaly'; a label is 0 (normal), 1 (anomalous) or absent." in told
