"""The base of the hand-drawn widgets: rows of styled text of which only changed rows are painted again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

Span = tuple[str, str]
"""A text and the name of its style: ``""`` plain, or one of ``STYLES``."""
Row = tuple[Span, ...]

STYLES = ("dim", "faint", "strong", "accent", "good", "warn", "bad", "mark", "title")


def width_of(row: Row) -> int:
    """Characters of a row."""
    return sum(len(text) for text, _ in row)


def spread(left: Row, right: Row, width: int) -> Row:
    """Two rows on one line, the right one at the right edge."""
    return (*left, (" " * max(1, width - width_of(left) - width_of(right)), ""), *right)


class Lines(Widget):
    """Rows of text at a fixed size.

    A subclass says in ``build`` what the rows are; ``update`` builds them and asks for a repaint of those
    that differ from what is on the screen. Rendering itself only looks rows up.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"lines--{name}" for name in STYLES}
    DEFAULT_CSS = """
    Lines {
        height: 1;
        & > .lines--dim { color: $foreground-muted; }
        & > .lines--faint { color: $panel-lighten-2; }
        & > .lines--strong { text-style: bold; }
        & > .lines--accent { color: $primary; }
        & > .lines--good { color: $success; }
        & > .lines--warn { color: $warning; }
        & > .lines--bad { color: $error; }
        & > .lines--mark { color: $background; background: $primary; text-style: bold; }
        & > .lines--title { color: $primary; text-style: bold; }
    }
    """

    def __init__(
        self,
        rows: Sequence[Row] = (),
        *,
        id: str | None = None,  # noqa: A002 - Textual's own name
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._given: tuple[Row, ...] = tuple(rows)
        self._rows: tuple[Row, ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        """What is shown."""
        return self._rows

    @property
    def text(self) -> str:
        """What is shown, without styles."""
        return "\n".join("".join(text for text, _ in row) for row in self._rows)

    def build(self, _width: int, _height: int, /) -> Sequence[Row]:
        """The rows for a size."""
        return self._given

    def show(self, rows: Sequence[Row]) -> None:
        """Show these rows from now on; for a widget that is given its rows."""
        self._given = tuple(rows)
        self.update()

    def update(self) -> None:
        """Build the rows again and repaint those that changed."""
        width, height = self.size
        if not width or not height:
            return
        rows = tuple(self.build(width, height))[:height]
        old, self._rows = self._rows, rows
        changed = [
            y
            for y in range(max(len(rows), len(old)))
            if (rows[y] if y < len(rows) else None) != (old[y] if y < len(old) else None)
        ]
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def on_resize(self) -> None:
        """Build for the new size; Textual repaints the whole of it anyway."""
        self.update()

    def notify_style_update(self) -> None:
        """A theme changed: styles are looked up again when lines are rendered."""
        super().notify_style_update()
        self.refresh()

    def style_of(self, name: str) -> Style:
        """The Rich style behind a span's style name."""
        return self.get_component_rich_style(f"lines--{name}") if name else self.rich_style

    def render_line(self, y: int) -> Strip:
        """A row, cut or padded to the widget's width. Always styled: see NO_COLOR in Textual's filters."""
        width = self.size.width
        plain = self.rich_style
        if y >= len(self._rows):
            return Strip.blank(width, plain)
        segments = [Segment(text, self.style_of(name)) for text, name in self._rows[y] if text]
        return Strip(segments).adjust_cell_length(width, plain)
