"""A question before something that cannot be taken back at once."""

from __future__ import annotations

import textwrap
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from logbert_tui.figures import keep_end
from logbert_tui.keys import KEYS, bindings
from logbert_tui.widgets.lines import Lines, Row

WIDTH = 54


class ConfirmScreen(ModalScreen[bool]):
    """Asks; its result is True only on a clear yes.

    Args:
        title: The question.
        run_dir: The run in question.
        meaning: What a yes does.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("stop")
    CSS_PATH = "confirm.tcss"

    def __init__(self, title: str, run_dir: str, meaning: str) -> None:
        super().__init__()
        self._question, self._run_dir, self._meaning = title, run_dir, meaning

    def compose(self) -> ComposeResult:
        """The run, what a yes means, and the keys."""
        keys: list[tuple[str, str]] = []
        for key in KEYS:
            if key.where == "stop":
                keys += [(f"{key.every_display} ", "accent"), (f"{key.label}    ", "dim")]
        rows: list[Row] = [((keep_end(self._run_dir, WIDTH), "strong"),), ()]
        rows += [((line, ""),) for line in textwrap.wrap(self._meaning, WIDTH)]
        rows += [(), tuple(keys)]
        with Vertical(id="question") as box:
            box.border_title = self._question
            lines = Lines(rows)
            lines.styles.height = len(rows)
            yield lines

    def action_answer(self, answer: bool) -> None:
        """Yes or no."""
        self.dismiss(answer)
