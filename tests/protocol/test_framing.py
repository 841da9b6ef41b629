"""Lines over streams."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.protocol.framing import BadFrame, FrameTooLong, decode_frame, encode_frame, read_frame
from logbert_engine.protocol.rpc import FRAME_LIMIT, INVALID_REQUEST, PARSE_ERROR, Notification, Request

REQUESTS = msgspec.json.Decoder(Request)


def frames_of(*pieces: bytes) -> list[bytes]:
    """What a stream that receives these pieces, one after the other, is read as."""

    async def read() -> list[bytes]:
        reader = asyncio.StreamReader(limit=FRAME_LIMIT)
        for piece in pieces:
            reader.feed_data(piece)
        reader.feed_eof()
        found = []
        while (frame := await read_frame(reader)) is not None:
            found.append(frame)
        return found

    return asyncio.run(read())


def test_lines_are_frames_and_empty_lines_are_passed_over():
    assert frames_of(b"{}\n\n  \r\n[1]\r\n") == [b"{}", b"[1]"]


def test_half_a_line_at_the_end_is_no_frame():
    assert frames_of(b'{"a":1}\n{"b":') == [b'{"a":1}']


@given(st.lists(st.integers(0, 10**9), max_size=30), st.integers(1, 50))
def test_frames_survive_any_division_into_pieces(numbers, size):
    stream = b"".join(encode_frame({"n": n}) for n in numbers)
    pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
    assert [msgspec.json.decode(f)["n"] for f in frames_of(*pieces)] == numbers


def test_a_line_of_the_limit_passes_and_one_byte_more_does_not():
    assert len(frames_of(b"x" * (FRAME_LIMIT - 1) + b"\n")[0]) == FRAME_LIMIT - 1
    for line in (b"x" * FRAME_LIMIT + b"\n", b"x" * (FRAME_LIMIT + 2), b"x" * (3 * FRAME_LIMIT) + b"\n"):
        with pytest.raises(FrameTooLong, match=str(FRAME_LIMIT)):
            frames_of(line)


def test_a_message_above_the_limit_is_not_encoded():
    envelope = len(encode_frame(Notification(method="x", params="")))
    assert len(encode_frame(Notification(method="x", params="y" * (FRAME_LIMIT - envelope)))) == FRAME_LIMIT
    with pytest.raises(FrameTooLong):
        encode_frame(Notification(method="x", params="y" * (FRAME_LIMIT - envelope + 1)))


def test_nan_and_infinities_are_null():
    assert encode_frame([float("nan"), float("inf")]) == b"[null,null]\n"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"nonsense", PARSE_ERROR),
        (b'{"jsonrpc":"2.0","method":"\xff"}', PARSE_ERROR),
        (b'{"jsonrpc":"2.0","method":"x","params":' + b"[" * 200_000 + b"]" * 200_000 + b"}", PARSE_ERROR),
        (b'{"jsonrpc":"3.0","method":"x"}', INVALID_REQUEST),
        (b'"' + b"long " * 1000 + b'"', INVALID_REQUEST),
    ],
)
def test_a_bad_line_is_told_apart_from_json_of_another_shape(line, code):
    with pytest.raises(BadFrame) as refused:
        decode_frame(line, REQUESTS)
    assert refused.value.code == code
    assert len(str(refused.value)) < 300


@given(st.binary(max_size=400))
def test_any_bytes_are_a_message_or_a_bad_frame(line):
    with suppress(BadFrame):
        assert isinstance(decode_frame(line, REQUESTS), Request)
