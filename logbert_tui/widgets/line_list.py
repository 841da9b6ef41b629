"""A list of any length with a cursor. Costs nothing per row: rows are asked for when they come into view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from textual import events
from textual.binding import BindingType
from textual.message import Message

from logbert_tui.keys import bindings
from logbert_tui.widgets.rows import RowsView, Span

MARK_WIDTH = 2
"""Cells before each row that show the cursor by its shape."""


class RowSource(Protocol):
    """Where a list's rows come from."""

    @property
    def count(self) -> int:
        """How many rows there are."""

    def row(self, index: int, width: int) -> Sequence[Span] | None:
        """The pieces of a row in ``width`` cells; None while it is being fetched."""

    def request(self, first: int, last: int) -> None:
        """Rows ``first`` to ``last`` (without it) are in view: fetch what is missing."""


class Texts:
    """A source of rows that are all there: one span each."""

    def __init__(self, texts: Sequence[str] = (), tone: str = "") -> None:
        self._texts, self._tone = texts, tone

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._texts)

    def row(self, index: int, width: int) -> Sequence[Span]:  # noqa: ARG002
        """The text."""
        return [Span(self._texts[index], self._tone)]

    def request(self, first: int, last: int) -> None:
        """Nothing to fetch."""


class LineList(RowsView):
    """The list. Posts ``Moved`` when the cursor goes to another row and ``Chosen`` on Enter."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("list")

    class Moved(Message):
        """The cursor stands on another row."""

        def __init__(self, line_list: LineList, index: int) -> None:
            super().__init__()
            self.line_list, self.index = line_list, index

        @property
        def control(self) -> LineList:
            """The list, so that handlers can select by it."""
            return self.line_list

    class Chosen(Moved):
        """Enter on a row."""

    def __init__(
        self,
        source: RowSource | None = None,
        *,
        empty: str = "Nothing here yet.",
        id: str | None = None,  # noqa: A002 - Textual's own name
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.source: RowSource = source if source is not None else Texts()
        self.empty = empty
        """What to say when there is no row."""
        self.cursor = 0

    # Rows

    def row_count(self) -> int:
        """Rows of the source, or one that says that there is none."""
        return self.source.count or 1

    def row(self, index: int, width: int) -> Sequence[Span]:
        """The source's row behind the cursor's mark."""
        if not self.source.count:
            return [Span("  " + self.empty, "dim")]
        mark = Span("▌ " if index == self.cursor else "  ", "accent")
        spans = self.source.row(index, width - MARK_WIDTH)
        return [mark, *spans] if spans is not None else [mark, Span("…", "dim")]

    def highlighted(self, index: int) -> bool:
        """The cursor's row, while the list has the focus."""
        return bool(self.source.count) and index == self.cursor and self.has_focus

    def view_changed(self) -> None:
        """Ask for the rows in view."""
        if self.is_attached and self.source.count:
            self.source.request(self.top, min(self.source.count, self.top + self.page))

    def set_source(self, source: RowSource, cursor: int = 0) -> None:
        """Show other rows."""
        self.source = source
        self.top = 0
        self._place(cursor)
        self.scroll_rows_to(self._top_for_cursor())

    def rows_arrived(self) -> None:
        """Rows were fetched, or there are more than before: paint those in view that changed."""
        self._place(self.cursor)
        self.scroll_rows_to(self.top)

    # Cursor

    def move_to(self, index: int) -> None:
        """Put the cursor on a row and bring it into view."""
        before = self.cursor
        self._place(index)
        top = self._top_for_cursor()
        if top != self.top:
            self.scroll_rows_to(top)
        else:
            self.repaint()
        if self.cursor != before:
            self.post_message(self.Moved(self, self.cursor))

    def _place(self, index: int) -> None:
        self.cursor = min(max(0, index), max(0, self.source.count - 1))

    def _top_for_cursor(self) -> int:
        if self.cursor < self.top:
            return self.cursor
        return max(self.top, self.cursor - self.page + 1)

    def action_cursor_down(self) -> None:
        """Next row."""
        self.move_to(self.cursor + 1)

    def action_cursor_up(self) -> None:
        """Previous row."""
        self.move_to(self.cursor - 1)

    def action_page_down(self) -> None:
        """A page down."""
        self.move_to(self.cursor + self.page)

    def action_page_up(self) -> None:
        """A page up."""
        self.move_to(self.cursor - self.page)

    def action_first(self) -> None:
        """First row."""
        self.move_to(0)

    def action_last(self) -> None:
        """Last row."""
        self.move_to(self.source.count - 1)

    def action_select(self) -> None:
        """Take the row."""
        if self.source.count:
            self.post_message(self.Chosen(self, self.cursor))

    def on_resize(self, event: events.Resize) -> None:
        """Keep the cursor in view."""
        super().on_resize(event)
        self.scroll_rows_to(self._top_for_cursor())

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse is; a double click takes the row."""
        self.move_to(self.top + event.y)
        if event.chain > 1:
            self.action_select()

    def on_focus(self) -> None:
        """The cursor's row shows that keys act here."""
        self.repaint()

    def on_blur(self) -> None:
        """Keys act elsewhere."""
        self.repaint()
