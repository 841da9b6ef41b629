"""One of a few values, changed with the arrow keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.message import Message

from logbert_tui.keys import bindings
from logbert_tui.widgets.lines import Lines, Row


class Choice(Lines, can_focus=True):
    """Shows the value that is chosen between two arrows.

    Args:
        values: What can be chosen; an empty one stands for the preset's own.
        own: What to show for the empty one.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("choice")
    DEFAULT_CSS = """
    Choice {
        width: 14; height: 1; background: $surface;
        &:focus { background: $primary 25%; }
    }
    """

    class Changed(Message):
        """Another value is chosen."""

        def __init__(self, choice: Choice, value: str) -> None:
            super().__init__()
            self.choice, self.value = choice, value

    def __init__(
        self,
        values: Sequence[str],
        own: str = "preset",
        *,
        id: str | None = None,  # noqa: A002 - Textual's own name
    ) -> None:
        super().__init__(id=id)
        self._values, self._own, self._index = tuple(values), own, 0

    @property
    def value(self) -> str:
        """What is chosen."""
        return self._values[self._index]

    @value.setter
    def value(self, value: str) -> None:
        self._index = self._values.index(value)
        self.update()

    def set_own(self, own: str) -> None:
        """What the preset has."""
        self._own = own
        self.update()

    def build(self, width: int, _height: int, /) -> Sequence[Row]:
        """The value between arrows; the preset's own is dim."""
        text, style = (self.value, "") if self.value else (self._own, "dim")
        return [(("‹ ", "accent"), (text[: max(0, width - 4)], style), (" ›", "accent"))]

    def action_step(self, by: int) -> None:
        """Next or previous value."""
        self._index = (self._index + by) % len(self._values)
        self.update()
        self.post_message(self.Changed(self, self.value))

    def on_click(self) -> None:
        """Next value."""
        self.action_step(1)
