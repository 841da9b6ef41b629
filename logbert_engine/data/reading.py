"""Session files to sessions, streamed: what cannot be used is told, record by record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from logbert_engine.data.contract import Rejected, Session, SessionRecord
from logbert_engine.data.elements import BROKEN, NotRecords, elements
from logbert_engine.data.files import is_lines, session_files
from logbert_engine.data.parsing import Unusable, session_of
from logbert_engine.data.source import BrokenFileError, Source, naming, opened
from logbert_engine.data.times import day_of, seconds_of

__all__ = ["IN_MEMORY", "read_sessions", "session_files", "sessions_in"]

IN_MEMORY = 64 << 20
"""Bytes of text. A larger document is streamed element by element, at half the speed (88 against 190 thousand
HDFS sessions a second compiled)."""
_LONGEST_LINE = IN_MEMORY
_MEND = "Write the file again, or take it out of the directory."
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises: not JSON or not of this shape, not UTF-8, nested too deep."""


class _Broken(Exception):
    """A document is broken at some place."""


class _Wrapped(msgspec.Struct):
    sessions: list[msgspec.Raw]


_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_wrapped = msgspec.json.Decoder(_Wrapped).decode
_decode_record = msgspec.json.Decoder(SessionRecord).decode


def read_sessions(file: Path) -> Iterator[Session | Rejected]:
    """The sessions of a file in its order; a record that cannot be used comes as ``Rejected``.

    Raises:
        BrokenFileError: it is cut short, damaged or not made of session records; those before the place come
            first, where there are any. In a file of JSON lines a line that is not JSON is a rejected record.
        DataError: the file cannot be read.
    """
    with opened(file) as source:
        yield from sessions_in(source)


def sessions_in(source: Source, in_memory: int = IN_MEMORY) -> Iterator[Session | Rejected]:
    """As ``read_sessions``, from an open file.

    Args:
        source: a file at its beginning.
        in_memory: bytes of text up to which a document is decoded as a whole.
    """
    with naming(source.path):
        if is_lines(source.path):
            elements = _lines(source)
        else:
            elements = _document(source, in_memory)
        file_time = seconds_of(day_of(source.path.name))
        for position, element in elements:
            try:
                if isinstance(element, bytes | msgspec.Raw):
                    record = _decode_record(element)
                else:
                    record = msgspec.convert(element, SessionRecord)
                session: Session | Rejected = session_of(record, position, file_time)
            except (*_BROKEN, Unusable) as error:
                session = Rejected(file=str(source.path), position=position, reason=_reason(error))
            yield session


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 text ({error.reason} at byte {error.start})"
    return str(error)


def _lines(source: Source) -> Iterator[tuple[int, Any]]:
    position = 0
    while line := source.content.readline(_LONGEST_LINE + 1):
        if len(line) > _LONGEST_LINE:
            raise BrokenFileError(
                f"{source.path} is not made of JSON lines: line {position + 1} is longer than "
                f"{_LONGEST_LINE >> 20} MiB. Name a file that holds one JSON document .json."
            )
        if not line.isspace():
            yield position, line
        position += 1


def _document(source: Source, in_memory: int) -> Iterator[tuple[int, Any]]:
    try:
        content = source.content.read(in_memory + 1)
        if len(content) <= in_memory:
            return enumerate(_decoded(source.path, content))
        del content
    except (EOFError, _Broken):
        pass  # to stream it gives what comes before the place where it is broken
    source.rewind()
    return _streamed(source)


def _decoded(path: Path, content: bytes) -> list[msgspec.Raw]:
    if not content or content.isspace():
        raise BrokenFileError(f"{path} is empty. {_MEND}")
    try:
        try:
            return _decode_array(content)
        except msgspec.ValidationError:
            return _decode_wrapped(content).sessions
    except msgspec.ValidationError as error:
        raise _not_sessions(path) from error
    except RecursionError as error:
        raise BrokenFileError(f"{path} is nested too deep to be a session file. {_MEND}") from error
    except msgspec.DecodeError as error:
        if "trailing" not in str(error):
            raise _Broken from error
        raise BrokenFileError(
            f"{path}: {error}. A file with one JSON object a line is to be named .jsonl."
        ) from error
    except UnicodeDecodeError as error:
        raise BrokenFileError(f"{path} is not UTF-8 text: {error.reason}. {_MEND}") from error


def _not_sessions(path: Path) -> BrokenFileError:
    return BrokenFileError(
        f'{path} is not a session file: a JSON array of sessions or {{"sessions": [...]}} is expected. '
        "A file with one JSON object a line is to be named .jsonl."
    )


def _streamed(source: Source) -> Iterator[tuple[int, Any]]:
    position = 0
    try:
        for element in elements(source.content):
            yield position, element
            position += 1
    except NotRecords as error:
        raise _not_sessions(source.path) from error
    except BROKEN as error:
        reason = str(error).partition("\n")[0].strip().rstrip(".")
        what = "is cut short" if "premature EOF" in reason else "cannot be read"
        raise BrokenFileError(
            f"{source.path} {what} after {position} sessions, at about byte {source.content.tell()}: "
            f"{reason}. {_MEND}"
        ) from error
