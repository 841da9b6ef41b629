"""The question before a run is stopped."""

from __future__ import annotations

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
    """Asks whether to stop; its result is True only on a clear yes.

    Args:
        run_dir: The run in question.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("stop")
    CSS_PATH = "confirm.tcss"

    def __init__(self, run_dir: str) -> None:
        super().__init__()
        self._run_dir = run_dir

    def compose(self) -> ComposeResult:
        """The question, what it means, and the keys."""
        keys: list[tuple[str, str]] = []
        for key in KEYS:
            if key.where == "stop":
                keys += [(f"{key.display} ", "accent"), (f"{key.label}    ", "dim")]
        rows: list[Row] = [
            ((keep_end(self._run_dir, WIDTH), "strong"),),
            (),
            (("Finished stages and their checkpoints stay; the", ""),),
            (("state within the current stage is saved, and a", ""),),
            (("resume goes on from there. To leave the console", ""),),
            (("and let it train on, press q instead.", ""),),
            (),
            tuple(keys),
        ]
        with Vertical(id="question") as box:
            box.border_title = "Stop this run?"
            yield Lines(rows)

    def action_answer(self, answer: bool) -> None:
        """Yes or no."""
        self.dismiss(answer)
