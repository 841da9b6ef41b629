"""Frames: one JSON object a line, at most ``FRAME_LIMIT`` bytes, on asyncio streams."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import msgspec

from logbert_engine.protocol.errors import EngineError
from logbert_engine.protocol.rpc import FRAME_LIMIT, INVALID_REQUEST, PARSE_ERROR

T = TypeVar("T")
_encoder = msgspec.json.Encoder()
_SHOWN = 200
"""Characters of a decoder's complaint that are passed on."""


class FrameTooLong(EngineError):
    """A line above the limit. Where the next one begins is not known, so the connection has to end."""

    def __init__(self) -> None:
        super().__init__(f"a message is longer than the limit of {FRAME_LIMIT} bytes a line.")


class BadFrame(EngineError):
    """A line that is not the message that it should be. The next line may be good again."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        """``PARSE_ERROR`` or ``INVALID_REQUEST``."""


async def read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """The next line, without its newline; empty lines are passed over.

    The reader must have been made with ``limit=FRAME_LIMIT``.

    Returns:
        None at the end of the stream. Half a line before the end was cut off by the peer's death: also None.

    Raises:
        FrameTooLong: no newline within the limit.
        ConnectionError: the peer is gone.
    """
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return None
        except asyncio.LimitOverrunError as error:
            raise FrameTooLong from error
        if len(line) > FRAME_LIMIT:
            raise FrameTooLong
        if stripped := line.strip():
            return stripped


def decode_frame(line: bytes | msgspec.Raw, decoder: msgspec.json.Decoder[T]) -> T:
    """A line as a typed message, whatever bytes it holds.

    Raises:
        BadFrame: not JSON (also bad UTF-8, or nested too deeply), or JSON of another shape.
    """
    try:
        return decoder.decode(line)
    except msgspec.ValidationError as error:
        raise BadFrame(INVALID_REQUEST, f"not a valid message: {_shown(error)}.") from error
    except msgspec.DecodeError as error:
        raise BadFrame(PARSE_ERROR, f"not JSON: {_shown(error)}.") from error
    except UnicodeDecodeError as error:
        raise BadFrame(PARSE_ERROR, "not JSON: the text is not UTF-8.") from error
    except RecursionError as error:
        raise BadFrame(PARSE_ERROR, "not a valid message: it is nested too deeply.") from error


def encode_frame(message: Any) -> bytes:
    """A message as a line, newline included.

    Raises:
        FrameTooLong: it does not fit.
    """
    frame = _encoder.encode(message) + b"\n"
    if len(frame) > FRAME_LIMIT:
        raise FrameTooLong
    return frame


def _shown(error: Exception) -> str:
    text = str(error)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
