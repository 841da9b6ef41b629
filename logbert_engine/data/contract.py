"""A session record as session files hold it, checked and reduced to what training and scoring use."""

from __future__ import annotations

from typing import Any

import msgspec

EventId = int | str


class SessionRecord(msgspec.Struct, kw_only=True):
    """An element of a session file. Fields that are not named here are passed over."""

    session_id: int | str
    event_sequence: list[int | str] | None = None
    token_ids: list[int] | None = None
    attention_mask: list[int] | None = None
    service_name: str | None = None
    has_error: bool | int | None = None
    has_warn: bool | int | None = None
    time_window: str | None = None
    timestamp: str | int | float | None = None
    label: Any = None
    """Of any type, so that what it should be is said by the rules and not by the decoder."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session that can be used."""

    session_id: int | str
    events: tuple[EventId, ...]
    """At least one."""
    time: float | None = None
    """Unix seconds of its start, where the record or the date of its file tells it."""
    timestamp: str | None = None
    """As the record has it."""
    service: str = ""
    has_error: bool | None = None
    has_warn: bool | None = None
    label: int | None = None
    """0 normal, 1 anomalous, None unknown. Never used to train, calibrate or choose a threshold."""
    position: int = 0
    """Place in its file, from 0."""


class Rejected(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record that could not be used, or the rest of a file from there on."""

    file: str
    position: int
    reason: str
    rest: bool = False
    """Whether nothing from ``position`` on can be used: of how many records that is cannot be told."""
