from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.data.contract import Session, SessionRecord
from logbert_engine.data.parsing import Unusable, session_of
from logbert_engine.data.times import day_of, session_time

MOMENT = datetime(2025, 8, 22, 14, 5, tzinfo=UTC).timestamp()


def parse(file_time: float | None = None, **fields: Any) -> Session:
    record = msgspec.convert({"session_id": 1, **fields}, SessionRecord)
    return session_of(record, position=0, file_time=file_time)


def test_zero_is_an_event_like_any_other() -> None:
    assert parse(event_sequence=[0, 5, 0, 0]).events == (0, 5, 0, 0)


def test_a_text_of_digits_is_that_number_and_other_texts_stay() -> None:
    assert parse(event_sequence=["12", "E5", 3, "007", "-4", "²"]).events == (12, "E5", 3, 7, "-4", "²")
    assert parse(event_sequence=["5", "6"]).events == (5, 6)
    assert parse(event_sequence=["9" * 5000]).events == ("9" * 5000,)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"event_sequence": []}, "no events"),
        ({"token_ids": [101, 102, 0, 0]}, "no events"),
        ({"token_ids": [5, 6], "attention_mask": [0, 0]}, "no events"),
        ({"event_sequence": [5, -1]}, "out of range"),
        ({"event_sequence": [5, 2**63]}, "out of range"),
        ({"event_sequence": ["a", -1]}, "out of range"),
        ({"event_sequence": ["a", ""]}, "empty text"),
        ({"token_ids": [5, 6, 7], "attention_mask": [1, 1]}, "3 token_ids and an attention_mask of 2"),
        ({}, "neither event_sequence nor token_ids"),
        ({"event_sequence": [5], "label": 2}, "label is 2; a label is 0"),
        ({"event_sequence": [5], "label": "0"}, "label is '0'; a label is 0"),
        ({"event_sequence": [5], "label": "anomaly"}, r"label is 'anomaly'; .* 1 \(anomalous\) or absent"),
        ({"event_sequence": [5], "label": "x" * 999}, r"label is 'x{1,20}\.\.\."),
        ({"event_sequence": [5], "label": 1.0}, r"label is 1\.0; a label is 0"),
        ({"event_sequence": [5], "label": [1]}, r"label is \[1\]; a label is 0"),
    ],
)
def test_a_record_outside_the_contract_is_refused_with_the_reason(
    fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Unusable, match=reason):
        parse(**fields)


@pytest.mark.parametrize("bad", [True, 5.0, None, [5]])
def test_an_event_that_is_neither_number_nor_text_is_refused(bad: Any) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"event_sequence\[1\]"):
        parse(event_sequence=[5, bad])


def test_token_ids_lose_their_padding_and_one_marker_at_each_end() -> None:
    wrapped = [101, 7, 0, 102, 9, 102, 0, 0]
    assert parse(token_ids=wrapped, attention_mask=[1] * 6 + [0] * 2).events == (7, 0, 102, 9)
    assert parse(token_ids=wrapped).events == (7, 0, 102, 9)
    assert parse(token_ids=[101, 101, 7, 102, 102]).events == (101, 7, 102)
    assert parse(token_ids=[7, 8]).events == (7, 8)
    assert parse(token_ids=[7, 0], attention_mask=[1, 1]).events == (7, 0)


def test_the_event_sequence_counts_where_both_are_given() -> None:
    assert parse(event_sequence=[1], token_ids=[2]).events == (1,)


@pytest.mark.parametrize(
    "stamp",
    [
        "2025-08-22T14:05:00",
        "2025-08-22 14:05:00,000",
        "2025-08-22T14:05:00Z",
        "2025-08-22T23:05:00+09:00",
        1755871500,
        1755871500.0,
        1755871500000,
        "1755871500",
        "1755871500000",
    ],
)
def test_a_timestamp_is_read_in_every_usual_form_and_is_utc_without_a_zone(stamp: Any) -> None:
    session = parse(event_sequence=[1], timestamp=stamp)
    assert session.time == MOMENT
    assert session.timestamp == str(stamp)


def test_the_window_tells_the_time_where_the_timestamp_does_not_and_then_the_file() -> None:
    assert parse(event_sequence=[1], timestamp="noon", time_window="2025-08-22_14_05").time == MOMENT
    assert parse(event_sequence=[1], time_window="sometime", file_time=7.0).time == 7.0
    assert parse(event_sequence=[1]).time is None


@given(
    st.none() | st.text() | st.integers() | st.floats() | st.from_regex(r"\d{1,20}(\.\d+)?"),
    st.none() | st.text() | st.from_regex(r"\d{4}-\d{2}-\d{2}_\d{2}_\d{2}"),
)
def test_a_time_is_a_real_date_or_unknown(stamp: Any, window: str | None) -> None:
    time = session_time(stamp, window, None)
    if time is not None:
        assert 1970 <= datetime.fromtimestamp(time, UTC).year <= 9999


def test_the_day_in_a_name_must_be_a_real_one() -> None:
    assert day_of("preprocessed_logs_2025-02-24.json.gz") == "2025-02-24"
    assert day_of("logs_2025-02-30_2025-03-01.json") == "2025-03-01"
    assert day_of("logs_12025-03-010.json") == ""


@pytest.mark.parametrize(("label", "kept"), [(0, 0), (1, 1), (True, 1), (False, 0), (None, None)])
def test_labels_are_zero_one_or_unknown(label: Any, kept: int | None) -> None:
    assert parse(event_sequence=[1], label=label).label == kept


def test_flags_may_be_numbers() -> None:
    session = parse(event_sequence=[1], has_error=1, has_warn=False)
    assert session.has_error is True
    assert session.has_warn is False
    assert parse(event_sequence=[1]).has_error is None
