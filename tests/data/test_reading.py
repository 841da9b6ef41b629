from __future__ import annotations

import gzip
import json
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logbert_engine.data.contract import Rejected, Session
from logbert_engine.data.reading import IN_MEMORY, read_sessions, sessions_in
from logbert_engine.data.source import opened
from logbert_engine.protocol.errors import DataError

Write = Callable[..., Path]
GOOD = {"session_id": "a", "event_sequence": [5, 6]}
BOTH_WAYS = pytest.mark.parametrize("in_memory", [IN_MEMORY, 0], ids=["whole", "streamed"])


def read(path: Path, in_memory: int = IN_MEMORY) -> list[Session | Rejected]:
    with opened(path) as source:
        return list(sessions_in(source, in_memory))


def read_or_message(path: Path, in_memory: int) -> list[Session | Rejected] | str:
    try:
        return read(path, in_memory)
    except DataError as error:
        return str(error)


@contextmanager
def file_of(name: str, content: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lb-") as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        yield path


events = st.lists(st.integers(0, 2**63 - 1) | st.text(min_size=1), min_size=1)
records = st.fixed_dictionaries(
    {"session_id": st.integers(-(2**63) + 1, 2**63 - 1) | st.text(), "event_sequence": events},
    optional={
        "service_name": st.none() | st.text(),
        "has_error": st.none() | st.booleans(),
        "has_warn": st.none() | st.booleans(),
        "label": st.none() | st.integers(0, 1) | st.booleans(),
        "trace_id": st.none() | st.text(),
        "original_logs": st.lists(st.text(), max_size=2),
        "related_services": st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
    },
)


def as_number(event: int | str) -> int | str:
    is_number = isinstance(event, str) and all(digit in "0123456789" for digit in event)
    return int(event) if is_number and int(event) < 2**63 else event


@settings(deadline=None, max_examples=60)
@given(
    st.lists(records, max_size=5),
    st.sampled_from(["array", "wrapped", "lines"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([IN_MEMORY, 0]),
)
def test_what_was_written_is_read_in_every_form(
    written: list[dict[str, Any]], form: str, packed: bool, escaped: bool, in_memory: int
) -> None:
    if form == "lines":
        text = "\n".join(json.dumps(record, ensure_ascii=escaped) for record in written)
    else:
        text = json.dumps(written if form == "array" else {"sessions": written}, ensure_ascii=escaped)
    name = "x.jsonl" if form == "lines" else "x.json"
    content = gzip.compress(text.encode()) if packed else text.encode()
    with file_of(name + ".gz" * packed, content) as path:
        found = read(path, in_memory)
    assert [session.position for session in found] == list(range(len(written)))
    for session, record in zip(found, written, strict=True):
        assert isinstance(session, Session), session
        assert session.session_id == record["session_id"]
        assert type(session.session_id) is type(record["session_id"])
        assert session.events == tuple(map(as_number, record["event_sequence"]))
        assert session.service == (record.get("service_name") or "")
        assert session.label == record.get("label")
        assert session.has_error == record.get("has_error")
        assert session.has_warn == record.get("has_warn")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(list(GOOD)), inner),
)


@settings(deadline=None)
@given(
    st.binary() | anything.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(["x.json", "x.jsonl", "x.json.gz"]),
    st.booleans(),
    st.sampled_from([IN_MEMORY, 0]),
)
def test_no_content_raises_anything_but_a_data_error(
    content: bytes, name: str, packed: bool, in_memory: int
) -> None:
    with file_of(name, gzip.compress(content) if packed else content) as path:
        found = read_or_message(path, in_memory)
    if isinstance(found, str):
        assert str(path) in found
    else:
        assert all(isinstance(one, Session) or one.reason for one in found)


@settings(deadline=None)
@given(st.data(), st.sampled_from([IN_MEMORY, 0]), st.booleans())
def test_a_damaged_file_gives_its_whole_sessions_or_a_data_error(
    data: st.DataObject, in_memory: int, packed: bool
) -> None:
    text = json.dumps(
        [{**GOOD, "session_id": n, "service_name": "gäte"} for n in range(4)], ensure_ascii=False
    )
    content = bytearray(gzip.compress(text.encode(), mtime=0) if packed else text.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with file_of("x.json", bytes(content[: data.draw(st.integers(0, len(content)))])) as path:
        found = read_or_message(path, in_memory)
    if isinstance(found, str):
        assert str(path) in found
    else:
        assert len(found) <= 4


@BOTH_WAYS
def test_a_truncated_file_is_named_with_its_position(write: Write, in_memory: int) -> None:
    path = write("x.json", [GOOD] * 100)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"cut short.*byte 1000") as caught:
        read(path, in_memory)
    assert str(path) in str(caught.value)


@BOTH_WAYS
@pytest.mark.parametrize("name", ["x.json.gz", "x.jsonl.gz"])
def test_a_truncated_gzip_file_is_named_with_its_position(write: Write, name: str, in_memory: int) -> None:
    numbers = random.Random(1)
    path = write(name, [{**GOOD, "session_id": numbers.getrandbits(60)} for _ in range(3000)])
    size = path.stat().st_size // 2
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=f"cut short.*byte {size}") as caught:
        read(path, in_memory)
    assert str(path) in str(caught.value)


def test_a_gzip_file_with_a_wrong_checksum_is_damaged(write: Write) -> None:
    path = write("x.json.gz", [GOOD] * 100)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        read(path)


@BOTH_WAYS
@pytest.mark.parametrize("wrapped", [False, True])
def test_one_bad_record_is_set_aside_and_not_the_file(write: Write, wrapped: bool, in_memory: int) -> None:
    path = write("x.json", [GOOD, {"session_id": True}, 5, GOOD, {"event_sequence": [1]}], wrapped=wrapped)
    found = read(path, in_memory)
    assert [type(one) for one in found] == [Session, Rejected, Rejected, Session, Rejected]
    assert [one.position for one in found] == [0, 1, 2, 3, 4]
    bad = found[4]
    assert isinstance(bad, Rejected)
    assert bad.file == str(path)
    assert "session_id" in bad.reason


def test_text_that_is_not_utf8_costs_its_record_alone(write: Write) -> None:
    path = write("x.json", [GOOD, {**GOOD, "service_name": "S"}, GOOD])
    path.write_bytes(path.read_bytes().replace(b'"S"', b'"\xff"'))
    found = read(path)
    assert [type(one) for one in found] == [Session, Rejected, Session]
    assert isinstance(found[1], Rejected)
    assert "UTF-8" in found[1].reason


def test_a_bad_line_is_set_aside_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(GOOD) + "\n\nnonsense\n" + json.dumps(GOOD) + '\n{"session_id": 4, "event_seq')
    found = read(path)
    assert [(type(one), one.position) for one in found] == [
        (Session, 0),
        (Rejected, 2),
        (Session, 3),
        (Rejected, 4),
    ]


@BOTH_WAYS
def test_other_json_is_told_from_session_files(write: Write, tmp_path: Path, in_memory: int) -> None:
    path = tmp_path / "metadata.json"
    for content in ('{"total_sessions": 5}', "5", '{"sessions": {"a": 1}}'):
        path.write_text(content)
        with pytest.raises(DataError, match="not a session file"):
            read(path, in_memory)


def test_lines_in_a_json_file_are_pointed_to_the_right_name(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[1]\n[2]\n")
    with pytest.raises(DataError, match=r"\.jsonl"):
        read(path)
    path.write_text(f"{json.dumps(GOOD)}\n{json.dumps(GOOD)}\n")
    with pytest.raises(DataError, match=r"\.jsonl"):
        read(path)


@BOTH_WAYS
@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"event_sequence":['])
def test_endless_nesting_is_refused(tmp_path: Path, opening: bytes, in_memory: int) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(opening * 50_000)
    with pytest.raises(DataError, match="nested"):
        read(path, in_memory)


@BOTH_WAYS
@pytest.mark.parametrize("number", [b"9" * 5000, b"1e99999999999999999999"], ids=["digits", "exponent"])
def test_a_number_beyond_all_limits_is_refused(tmp_path: Path, number: bytes, in_memory: int) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'[{"session_id": ' + number + b', "event_sequence": [1]}]')
    found = read_or_message(path, in_memory)
    assert str(path) in found if isinstance(found, str) else isinstance(found[0], Rejected)


@BOTH_WAYS
def test_numbers_may_have_fractions(write: Write, in_memory: int) -> None:
    path = write("x.json", [{**GOOD, "timestamp": 1755871500.5, "cost": 1e30}])
    (session,) = read(path, in_memory)
    assert isinstance(session, Session)
    assert (session.time, session.timestamp) == (1755871500.5, "1755871500.5")


@BOTH_WAYS
def test_a_byte_order_mark_is_passed_over(write: Write, in_memory: int) -> None:
    path = write("x.json", [GOOD])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read(path, in_memory)) == 1


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read") as caught:
        list(read_sessions(tmp_path))
    assert str(tmp_path) in str(caught.value)


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        read(path)


def test_a_session_without_a_time_has_its_files_date(write: Write) -> None:
    (session,) = read_sessions(write("preprocessed_logs_2025-02-24.json", [GOOD]))
    assert isinstance(session, Session)
    assert session.time == 1740355200.0


def test_sessions_come_before_the_file_is_read_to_its_end(write: Write) -> None:
    path = write("x.json", [GOOD] * 20_000)
    with opened(path) as source:
        next(sessions_in(source, in_memory=0))
        assert source.consumed() < path.stat().st_size / 5
