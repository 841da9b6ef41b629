"""A session record to a session: the rules of the input contract, as pure functions."""

from __future__ import annotations

import reprlib
from typing import cast

from logbert_engine.data.contract import EventId, Session, SessionRecord
from logbert_engine.data.times import session_time

_CLS, _SEP = 101, 102
"""BERT's markers, which token ids may be wrapped in."""
_LARGEST_EVENT = 2**63 - 1
_MOST_DIGITS = 19
"""Of a 64-bit number; also keeps ``int`` away from texts of thousands of digits."""


class Unusable(ValueError):
    """Why a record cannot be used, in a few words."""


def session_of(record: SessionRecord, position: int, file_time: float | None) -> Session:
    """The session that a record describes.

    Args:
        record: an element of a session file.
        position: its place in the file, from 0.
        file_time: Unix seconds that the file's name tells, for a record that tells no time.

    Raises:
        Unusable: the record breaks the input contract.
    """
    if record.event_sequence is not None:
        events = _events(record.event_sequence)
    elif record.token_ids is not None:
        events = _events(_unwrapped(record.token_ids, record.attention_mask))
    else:
        raise Unusable("it has neither event_sequence nor token_ids")
    label = record.label
    if label is not None and not (isinstance(label, int) and label in (0, 1)):
        raise Unusable(f"its label is {reprlib.repr(label)}; a label is 0 (normal), 1 (anomalous) or absent")
    stamp = record.timestamp
    return Session(
        session_id=record.session_id,
        events=events,
        time=session_time(stamp, record.time_window, file_time),
        timestamp=stamp if stamp is None or isinstance(stamp, str) else str(stamp),
        service=record.service_name or "",
        has_error=None if record.has_error is None else bool(record.has_error),
        has_warn=None if record.has_warn is None else bool(record.has_warn),
        label=None if label is None else int(label),
        position=position,
    )


def _unwrapped(tokens: list[int], mask: list[int] | None) -> list[EventId]:
    """Token ids without padding and without the markers around them."""
    if mask is None:
        end = len(tokens)
        while end and tokens[end - 1] == 0:
            end -= 1
        kept = tokens[:end]
    elif len(mask) == len(tokens):
        kept = [token for token, keep in zip(tokens, mask, strict=True) if keep]
    else:
        raise Unusable(f"it has {len(tokens)} token_ids and an attention_mask of {len(mask)}")
    start = 1 if kept and kept[0] == _CLS else 0
    end = len(kept) - 1 if len(kept) > start and kept[-1] == _SEP else len(kept)
    return list(kept[start:end])


def _events(ids: list[EventId]) -> tuple[EventId, ...]:
    if not ids:
        raise Unusable("it holds no events")
    try:
        # Nearly all sequences hold numbers alone. Two passes in C check them; one in Python takes ten times
        # as long. Numbers and texts together do not compare.
        lowest, highest = cast(
            "tuple[EventId, int]", (min(cast("list[int]", ids)), max(cast("list[int]", ids)))
        )
    except TypeError:
        return tuple(map(_event, ids))
    if isinstance(lowest, str):
        return tuple(map(_event, ids))
    if lowest < 0 or highest > _LARGEST_EVENT:
        _event(lowest)
        _event(highest)
    return tuple(ids)


def _event(event: EventId) -> EventId:
    """An event id; a text of digits counts as that number."""
    if isinstance(event, str):
        if event == "":
            raise Unusable("an event id is an empty text")
        digits = event.lstrip("0") or "0"
        if not (len(digits) <= _MOST_DIGITS and digits.isascii() and digits.isdecimal()):
            return event
        number = int(digits)
        return number if number <= _LARGEST_EVENT else event
    if not 0 <= event <= _LARGEST_EVENT:
        raise Unusable(
            f"event id {str(event)[:24]} is out of range; ids are texts or numbers from 0 to 2^63-1"
        )
    return event
