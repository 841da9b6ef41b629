"""When a session happened: Unix seconds from what its record or its file's name tells. Without a zone: UTC.

The machine's own time zone is never used, so the order of sessions is the same everywhere.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

_DAY = re.compile(r"(?<!\d)(\d{4}-\d{2}-\d{2})(?!\d)")
_WINDOW = re.compile(r"(\d{4}-\d{2}-\d{2})[_T ](\d{2})[_:](\d{2})(?:[_:](\d{2}))?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END = 253_402_300_800.0
"""The year 10000, beyond which there are no dates."""
_LARGEST_SECONDS = 1e11
"""A larger number counts milliseconds: as seconds it would be past the year 5138, as milliseconds it is
after March 1973."""
_SHORTEST_EPOCH = 9
"""Digits. A shorter run of digits is an ISO date without dashes, such as 20250224."""


def day_of(name: str) -> str:
    """The first real date ``YYYY-MM-DD`` in a name, or an empty string."""
    for day in _DAY.findall(name):
        if _iso(day) is not None:
            return str(day)
    return ""


def day_at(time: float) -> str:
    """The date (UTC) of Unix seconds."""
    return datetime.fromtimestamp(time, UTC).date().isoformat()


def _known(seconds: float) -> float | None:
    return seconds if 0.0 <= seconds < _END else None


def _iso(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return _known((moment - _EPOCH).total_seconds())


def _epoch(number: float) -> float | None:
    if not 0 <= number < _END * 1000.0:
        return None
    return _known(number / 1000.0 if number > _LARGEST_SECONDS else float(number))


@lru_cache(maxsize=4096)
def _window(text: str) -> float | None:
    found = _WINDOW.fullmatch(text)
    if found is None:
        return _iso(text)
    day, hour, minute, second = found.groups(default="00")
    return _iso(f"{day}T{hour}:{minute}:{second}")


def seconds_of(text: str) -> float | None:
    """Unix seconds of an ISO date and time, of digits that count seconds or milliseconds, or of a day."""
    text = text.strip()
    if len(text) >= _SHORTEST_EPOCH and text.replace(".", "", 1).isdecimal():
        return _epoch(float(text))
    return _iso(text)


def session_time(
    timestamp: str | int | float | None, time_window: str | None, fallback: float | None
) -> float | None:
    """When a session began.

    Args:
        timestamp: ISO, or seconds or milliseconds since 1970.
        time_window: as ``2025-08-22_14_05``; used when the timestamp says nothing.
        fallback: used when both say nothing.

    Returns:
        Unix seconds.
    """
    time: float | None = None
    if isinstance(timestamp, str):
        time = seconds_of(timestamp)
    elif timestamp is not None:
        time = _epoch(timestamp)
    if time is None and time_window is not None:
        time = _window(time_window)
    return fallback if time is None else time
