"""What forms share: moving from field to field with the keys of the table, and what Enter does in a field."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Input

from logbert_tui.keys import bindings


class FieldForm(Vertical):
    """Fields below one another."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("form")

    def focus_field(self, name: str) -> None:
        """Put the cursor into a field."""
        self.query_one(f"#{name}").focus()

    def action_next_field(self) -> None:
        """To the next field."""
        self.screen.focus_next()

    def action_previous_field(self) -> None:
        """To the field before."""
        self.screen.focus_previous()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self.entered(event.input.id or "")

    def entered(self, _name: str, /) -> None:
        """Enter was pressed in the field of this name: to the next one, unless a form knows better."""
        self.action_next_field()
