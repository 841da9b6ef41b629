"""How one line of a log looks: its level by mark and colour, what matches, and that it goes on. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from logbert_engine.protocol.errors import LogbertError
from logbert_tui.widgets.cells import clean, crop, width_of
from logbert_tui.widgets.log_buffer import parse_line
from logbert_tui.widgets.rows import Span

GUTTER = 2
LONGEST_SHOWN = 20_000
"""Characters of one line that can be looked at."""

_TROUBLE = re.compile("WARNING|ERROR|CRITICAL|Traceback|Error|Exception|Fatal|Killed")
_BOUND_TO_LINE = re.compile(r"\\[AZBbnsSDWr]|\(\?|\[\^")
"""Parts of a pattern that can mean something else in a page of lines than in one line."""
_LEVEL_MARKS = {"error": ("✗ ", "bad"), "warning": ("▲ ", "warn"), "debug": ("· ", "dim")}
_LEVEL_TONES = {"error": "bad", "warning": "warn", "debug": "dim", "info": "accent"}


def compile_pattern(text: str) -> re.Pattern[str]:
    """A search as typed: a regular expression; case counts when it has an upper-case letter.

    Raises:
        LogbertError: not a regular expression; the message says what is wrong and where.
    """
    plain = re.sub(r"\\.", "", text)  # \S and \W are no upper-case letters to search for
    flags = re.NOFLAG if any(c.isupper() for c in plain) else re.IGNORECASE
    try:
        return re.compile(text, flags)
    except re.error as error:
        where = f" at character {error.pos + 1}" if error.pos is not None else ""
        raise LogbertError(
            f"“{text}” is not a regular expression: {error.msg}{where}; "
            "put a backslash before a character that is meant as itself."
        ) from error


class Wanted(NamedTuple):
    """What is looked for in a log."""

    in_line: Callable[[str], object]
    """Whether a line is it."""
    in_page: Callable[[str], object]
    """Whether a page of lines may hold it; quick, and never false where a line is it."""


def trouble() -> Wanted:
    """A warning or an error."""
    return Wanted(lambda line: parse_line(line).level in ("warning", "error"), _TROUBLE.search)


def matching(pattern: re.Pattern[str]) -> Wanted:
    """A line that matches."""
    if _BOUND_TO_LINE.search(pattern.pattern):
        return Wanted(pattern.search, lambda _page: True)
    return Wanted(pattern.search, re.compile(pattern.pattern, pattern.flags | re.MULTILINE).search)


def line_width(line: str) -> int:
    """Cells that a whole line takes, its mark included."""
    return GUTTER + width_of(clean(line[:LONGEST_SHOWN]))


def line_row(
    line: str, left: int, width: int, pattern: re.Pattern[str] | None = None, *, now: bool = False
) -> list[Span]:
    """A line behind the mark of its level.

    Args:
        line: As it stands in the file.
        left: Cells scrolled to the right.
        width: Cells to fill.
        pattern: What is searched for, shown in the colour of a match.
        now: Whether this is the line that the search stands on.
    """
    text = clean(line[:LONGEST_SHOWN])
    parts = parse_line(text)
    mark = Span(*_LEVEL_MARKS.get(parts.level, ("  ", "")))
    tone = _LEVEL_TONES.get(parts.level, "")
    pieces = [(0, "dim"), (parts.time_end, tone), (parts.level_end, "" if parts.level == "info" else tone)]
    if pattern is not None:
        pieces = _with_matches(text, pieces, pattern, "match-now" if now else "match")
    bounds = [*(start for start, _ in pieces[1:]), len(text)]
    spans = [
        Span(text[start:stop], tone)
        for (start, tone), stop in zip(pieces, bounds, strict=True)
        if stop > start
    ]
    return [mark, *_window(spans, left, width - GUTTER)]


def _with_matches(
    text: str, pieces: list[tuple[int, str]], pattern: re.Pattern[str], tone: str
) -> list[tuple[int, str]]:
    """The beginnings of a line's pieces, with those of the matches and of what follows them."""
    for match in pattern.finditer(text):
        start, stop = match.span()
        if start == stop:
            continue
        after = [piece_tone for at, piece_tone in pieces if at <= stop][-1]
        pieces = [piece for piece in pieces if not start <= piece[0] <= stop]
        pieces += [(start, tone), (stop, after)]
        pieces.sort(key=lambda piece: piece[0])
    return pieces


def _window(spans: Sequence[Span], left: int, width: int) -> list[Span]:
    """The part of a line from cell ``left`` on; marks stand where it goes on beyond an edge."""
    shown: list[Span] = []
    at = 0
    total = sum(width_of(span.text) for span in spans)
    before = left > 0 and total > 0
    after = total > left + width
    start, stop = left + before, left + width - after
    for text, tone in spans:
        cells = width_of(text)
        if at + cells > start and at < stop:
            first = max(0, start - at)
            shown.append(Span(crop(text, first, stop - max(at, start)), tone))
        at += cells
    if before:
        shown.insert(0, Span("‹", "accent"))
    if after:
        filled = sum(width_of(span.text) for span in shown)
        shown.append(Span(" " * max(0, width - 1 - filled) + "›", "accent"))
    return shown
