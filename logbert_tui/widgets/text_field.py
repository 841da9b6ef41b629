"""A field to type into, with its keys in the table, that shows the end of what does not fit."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.events import Resize
from textual.geometry import Region
from textual.widgets import Input

from logbert_tui.keys import bindings


class TextField(Input):
    """One line of text; of a path that is longer than the field the end is shown, which says most."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("field")

    def put(self, value: str) -> None:
        """Fill in a value, with the cursor behind it."""
        self.value = value
        self.cursor_position = len(value)
        self.call_after_refresh(self._show_cursor)

    def on_resize(self, _event: Resize) -> None:
        """Keep the cursor in view; a field gets its width only after its first value."""
        self.call_after_refresh(self._show_cursor)

    def on_blur(self) -> None:
        """Back to the end when it is left."""
        self.cursor_position = len(self.value)

    def _show_cursor(self) -> None:
        at = Region(self.cursor_screen_offset.x - self.content_region.x + round(self.scroll_x), 0, 1, 1)
        self.scroll_to_region(at, force=True, animate=False)
