"""The help screen: the table of keys in full, made from the table itself."""

from __future__ import annotations

import textwrap
from typing import ClassVar

from textual.app import ComposeResult

from logbert_tui.keys import Key, Where, help_rows
from logbert_tui.screens.console import ConsoleScreen
from logbert_tui.widgets.lines import Row
from logbert_tui.widgets.text_view import TextView

INTRODUCTION = (
    "Close the console, lose the connection, restart the engine: training goes on, and `logbert-tui RUN_DIR` "
    "finds it again with the whole curve. Scoring goes on without the console too, and ends with the engine.",
    "Figures marked “documented” are the source documents’ own and were not measured.",
)
KEY_COLUMN = 13


def help_text(width: int) -> list[Row]:
    """The rows of the help at a width: a title for each group, then each key and its meaning."""
    rows: list[Row] = []
    for paragraph in INTRODUCTION:
        rows.extend(((line, "dim"),) for line in textwrap.wrap(paragraph, max(20, width)))
    for title, keys in help_rows():
        rows += [(), ((title, "strong"),)]
        for key in keys:
            lines = textwrap.wrap(_meaning(key), max(16, width - KEY_COLUMN))
            for y, line in enumerate(lines):
                shown = "" if y else key.every_display
                rows.append(((f"  {shown:<{KEY_COLUMN - 2}}", "accent"), (line, "")))
    return rows


def _meaning(key: Key) -> str:
    return key.help + (" Refused in a read-only console." if key.control else "")


class HelpScreen(ConsoleScreen):
    """All keys of all screens."""

    WHERE: ClassVar[Where] = "help"
    CSS_PATH = "help.tcss"

    def compose_content(self) -> ComposeResult:
        """The table."""
        yield TextView(help_text)

    def on_mount(self) -> None:
        """Keys scroll at once."""
        self.query_one(TextView).focus()
