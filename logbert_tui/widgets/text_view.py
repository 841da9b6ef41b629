"""A text of styled rows that scrolls with the keyboard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.binding import BindingType

from logbert_tui.keys import bindings
from logbert_tui.widgets.lines import Row
from logbert_tui.widgets.rows import RowsView, Span


class TextView(RowsView):
    """Shows what ``make`` returns for the width that there is.

    Args:
        make: From a width in cells to rows that fit into it.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("text")

    def __init__(
        self,
        make: Callable[[int], Sequence[Row]],
        *,
        id: str | None = None,  # noqa: A002 - Textual's own name
    ) -> None:
        super().__init__(id=id)
        self._make = make
        self._made: Sequence[Row] = ()
        self._width = 0

    @property
    def text(self) -> str:
        """All of it, without styles."""
        return "\n".join("".join(text for text, _ in row) for row in self._made)

    def renew(self, *, top: bool = False) -> None:
        """Make the rows again, from the top on if asked."""
        self._width = 0
        self.scroll_rows_to(0 if top else self.top)

    def row_count(self) -> int:
        """Rows at the present width; one cell is kept for the mark that shows where one is."""
        width = self.size.width - 1
        if width > 0 and width != self._width:
            self._made, self._width = self._make(width), width
        return len(self._made)

    def row(self, index: int, _width: int, /) -> Sequence[Span]:
        """One row."""
        return [Span(text, style) for text, style in self._made[index]]

    def action_rows(self, rows: int) -> None:
        """Scroll by rows."""
        self.scroll_rows_to(self.top + rows)

    def action_pages(self, pages: int) -> None:
        """Scroll by pages."""
        self.scroll_rows_to(self.top + pages * max(1, self.page - 1))

    def action_edge(self, end: bool) -> None:
        """To the top, or to the end."""
        self.scroll_rows_to(self.last_top if end else 0)
