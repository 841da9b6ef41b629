"""The records of a JSON document one at a time, without the document in memory.

Built on ijson's bare events: its paths (``item.sessions.item``) take memory with the square of the nesting,
gigabytes for a file of some ten thousand opening brackets. Numbers are read as machine numbers
(``use_float``): its reading of longer ones ends the process at 4,300 digits. So a whole number beyond 64 bits
ends the document with an error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, BinaryIO

import ijson

_DEEPEST = 64
"""Containers within a record."""
BROKEN = (ijson.JSONError, UnicodeDecodeError)
"""What reading raises where the document is not JSON or not UTF-8."""
_CHUNK = 16 << 10
"""Bytes read at a time; few, so that a look at the first records reads little more than these."""
Events = Iterator[tuple[str, Any]]


class NotRecords(ValueError):
    """The document is JSON of another shape."""


def elements(stream: BinaryIO) -> Iterator[Any]:
    """The elements of a top-level array, or of the array ``sessions`` in a top-level object.

    Raises:
        NotRecords: the document is neither such an array nor such an object.
        BROKEN: it is not JSON, is cut short, or a record is nested too deep.
    """
    events: Events = ijson.basic_parse(stream, use_float=True, buf_size=_CHUNK)
    if not _enter(events):
        raise NotRecords
    for event, value in events:
        if event == "end_array":
            break
        yield _built(event, value, events)
    deque(events, maxlen=0)  # what follows is read for its errors alone


def first_keys(stream: BinaryIO, lines: bool) -> tuple[set[str], bool]:
    """The keys of the first record.

    Args:
        stream: the document, or its first part.
        lines: whether records stand on lines of their own instead of in an array.

    Returns:
        The keys, and whether the document broke off before the record's end.
    """
    keys: set[str] = set()
    events: Events = ijson.basic_parse(stream, use_float=True, buf_size=_CHUNK, multiple_values=lines)
    try:
        if (lines or _enter(events)) and next(events)[0] == "start_map":
            for event, key in events:
                if event == "end_map":
                    break
                keys.add(key)
                _built(*next(events), events)
    except (*BROKEN, StopIteration):
        return keys, True
    return keys, False


def _enter(events: Events) -> bool:
    """Go to the first element of the array of records, where there is one."""
    event, _ = next(events)
    if event == "start_map":
        for event, key in events:
            if event == "end_map":
                return False
            event, value = next(events)
            if key == "sessions" and event == "start_array":
                return True
            _built(event, value, events)
    return event == "start_array"


def _built(event: str, value: Any, events: Events) -> Any:
    """The value that begins with an event; the events up to its end are taken."""
    if event not in ("start_map", "start_array"):
        return value
    top: Any = {} if event == "start_map" else []
    outer: list[Any] = []
    key = ""
    for event, value in events:
        if event == "map_key":
            key = value
        elif event in ("end_map", "end_array"):
            if not outer:
                return top
            top, key = outer.pop()
        elif event in ("start_map", "start_array"):
            if len(outer) >= _DEEPEST:
                raise ijson.JSONError(f"a record is nested more than {_DEEPEST} deep")
            inner: Any = {} if event == "start_map" else []
            _put(top, key, inner)
            outer.append((top, key))
            top = inner
        else:
            _put(top, key, value)
    raise ijson.IncompleteJSONError("premature EOF")


def _put(container: Any, key: str, value: Any) -> None:
    if isinstance(container, list):
        container.append(value)
    else:
        container[key] = value
