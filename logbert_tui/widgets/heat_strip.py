"""The surprisal of a session at a glance: a row of bars for all of it, however long, and a bar an event."""

from __future__ import annotations

import math
from collections.abc import Sequence

from logbert_tui.widgets.rows import RowsView, Span

BARS = "▁▂▃▄▅▆▇█"
WIDEST = 6
"""Cells that an event of a short session takes at most."""
PARTS = " ▏▎▍▌▋▊▉"
WARM, HOT, HOTTEST = 2.0, 4.0, 7.0
"""Nats: events of less than 14%, 2% and 0.1% probability."""


def heat_tone(surprisal: float) -> str:
    """The tone of a surprisal, in nats; absolute, so that sessions can be compared."""
    if surprisal >= HOTTEST:
        return "heat-4"
    if surprisal >= HOT:
        return "heat-3"
    return "heat-2" if surprisal >= WARM else "heat-1"


def heat_top(surprisals: Sequence[float]) -> float:
    """The surprisal of a full bar: the session's highest, but at least ``HOTTEST``."""
    return max(HOTTEST, max((value for value in surprisals if math.isfinite(value)), default=0.0))


def heat_bar(surprisal: float, top: float, width: int) -> Span:
    """A bar of exactly ``width`` cells, full at ``top`` nats, in eighths of a cell."""
    share = 1.0 if not math.isfinite(surprisal) else min(1.0, max(0.0, surprisal / top))
    eighths = round(share * width * 8)
    full, part = divmod(eighths, 8)
    text = "█" * full + (PARTS[part] if part else "")
    return Span(text.ljust(width), heat_tone(surprisal))


def heat_columns(surprisals: Sequence[float], width: int) -> list[float]:
    """The highest surprisal of each of at most ``width`` equal parts, so that no peak is lost."""
    count = len(surprisals)
    columns = min(width, count)
    return [
        max(surprisals[column * count // columns : max(1, (column + 1) * count // columns)])
        for column in range(columns)
    ]


def column_of(position: int, count: int, width: int) -> int:
    """The column of ``heat_columns`` that an event is in."""
    columns = min(width, count)
    column = position * columns // max(1, count)
    # Columns begin at whole events, so the division may be one short.
    return column + 1 if column + 1 < columns and (column + 1) * count // columns <= position else column


class HeatStrip(RowsView, can_focus=False):
    """Two rows: the whole session as bars, and a mark below the event that the cursor is on."""

    DEFAULT_CSS = """
    HeatStrip { height: 2; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._surprisals: Sequence[float] = ()
        self._cursor = 0

    def show(self, surprisals: Sequence[float]) -> None:
        """Show a session."""
        self._surprisals, self._cursor = surprisals, 0
        self.repaint()

    def point(self, position: int) -> None:
        """Mark an event."""
        self._cursor = position
        self.repaint()

    def row_count(self) -> int:
        """Bars and mark."""
        return 2

    def row(self, index: int, width: int) -> Sequence[Span]:
        """The bars, in runs of one tone; or the mark."""
        if not self._surprisals:
            return []
        each = max(1, min(WIDEST, width // len(self._surprisals)))
        if index:
            column = column_of(self._cursor, len(self._surprisals), width)
            return [Span(" " * (column * each)), Span("▲" * each, "accent")]
        top = heat_top(self._surprisals)
        spans: list[Span] = []
        for value in heat_columns(self._surprisals, width):
            level = len(BARS) - 1 if not math.isfinite(value) else round(min(1.0, max(0.0, value / top)) * 7)
            tone = heat_tone(value)
            if spans and spans[-1].tone == tone:
                spans[-1] = Span(spans[-1].text + BARS[level] * each, tone)
            else:
                spans.append(Span(BARS[level] * each, tone))
        return spans
