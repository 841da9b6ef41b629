"""A window on many rows: draws only those in view and repaints only those that changed.

Textual rewrites every dirty region whole, and a change of its virtual size lays the screen out again. So this
widget scrolls by itself: it compares the rows it would paint with those it painted last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from logbert_tui.widgets.cells import width_of


class Span(NamedTuple):
    """A piece of a row."""

    text: str
    """Clean text, see ``cells.clean``."""
    tone: str = ""
    """What it means: one of ``RowsView.TONES``, or nothing for plain text."""


WHEEL_ROWS = 3


class RowsView(Widget, can_focus=True):
    """Base of lists and logs. A subclass says how many rows there are and what stands in each."""

    TONES: ClassVar[tuple[str, ...]] = (
        "dim",
        "faint",
        "strong",
        "accent",
        "good",
        "warn",
        "bad",
        "match",
        "match-now",
        "heat-1",
        "heat-2",
        "heat-3",
        "heat-4",
    )
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"rows--{tone}" for tone in (*TONES, "cursor", "thumb", "track")}
    DEFAULT_CSS = """
    RowsView {
        height: 1fr;
        & > .rows--dim { color: $foreground-muted; }
        & > .rows--faint { color: $panel-lighten-2; }
        & > .rows--strong { text-style: bold; }
        & > .rows--accent { color: $primary; }
        & > .rows--good { color: $success; }
        & > .rows--warn { color: $warning; }
        & > .rows--bad { color: $error; }
        & > .rows--match { color: $background; background: $warning; }
        & > .rows--match-now { color: $background; background: $primary; text-style: bold underline; }
        & > .rows--heat-1 { color: $foreground-muted; }
        & > .rows--heat-2 { color: $success; }
        & > .rows--heat-3 { color: $warning; }
        & > .rows--heat-4 { color: $error; text-style: bold; }
        & > .rows--cursor { background: $primary 25%; }
        & > .rows--track { color: $panel-lighten-2; }
        & > .rows--thumb { color: $primary; }
    }
    """

    top: int = 0
    """Index of the first row in view."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id, classes=classes)
        self._painted: dict[int, Strip] = {}

    # What a subclass provides

    def row_count(self) -> int:
        """How many rows there are."""
        raise NotImplementedError

    def row(self, index: int, width: int) -> Sequence[Span]:
        """The pieces of a row; what goes beyond ``width`` cells is cut."""
        raise NotImplementedError

    def highlighted(self, index: int) -> bool:  # noqa: ARG002
        """Whether the row is the one that keys act on."""
        return False

    def view_changed(self) -> None:
        """Called after other rows came into view."""

    # Scrolling

    @property
    def page(self) -> int:
        """Rows in view, at least 1."""
        return max(1, self.size.height)

    @property
    def last_top(self) -> int:
        """The greatest ``top`` that fills the view."""
        return max(0, self.row_count() - self.page)

    def scroll_rows_to(self, top: int) -> None:
        """Bring row ``top`` to the upper edge, as far as there are rows."""
        self.top = min(max(0, top), self.last_top)
        self.view_changed()
        self.repaint()

    def on_resize(self, event: events.Resize) -> None:  # noqa: ARG002
        """Keep the view full."""
        self._painted.clear()
        self.scroll_rows_to(self.top)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """A turn of the wheel."""
        event.stop()
        self.scroll_rows_to(self.top + WHEEL_ROWS)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """A turn of the wheel."""
        event.stop()
        self.scroll_rows_to(self.top - WHEEL_ROWS)

    # Painting

    def repaint(self) -> None:
        """Repaint the rows that look different from what was painted."""
        if not self.is_attached or not self.size:
            return
        regions: list[Region] = []
        for y in range(self.size.height):
            painted = self._painted.get(y)
            if painted is None or self._strip(y) != painted:
                if regions and regions[-1].bottom == y:
                    regions[-1] = Region(0, regions[-1].y, self.size.width, regions[-1].height + 1)
                else:
                    regions.append(Region(0, y, self.size.width, 1))
        if regions:
            self.refresh(*regions)

    def render_line(self, y: int) -> Strip:
        """One line of the view."""
        strip = self._painted[y] = self._strip(y)
        return strip

    def _strip(self, y: int) -> Strip:
        base = self.rich_style
        width = self.size.width
        index = self.top + y
        count = self.row_count()
        if index >= count:
            return Strip([Segment(" " * width, base)], width)
        scrolls = count > self.page and width > 4
        room = width - 1 if scrolls else width
        if self.highlighted(index):
            base += Style(bgcolor=self._tone("cursor").bgcolor)
        segments = [Segment(text, self._blend(base, tone)) for text, tone in self.row(index, room) if text]
        strip = Strip(segments).adjust_cell_length(room, base)
        if not scrolls:
            return strip
        return Strip([*strip, self._thumb(y, count)], width)

    def _thumb(self, y: int, count: int) -> Segment:
        """The mark at the right edge that shows which part of all rows is in view."""
        height = self.page
        size = max(1, height * height // count)
        at = round((height - size) * self.top / max(1, self.last_top))
        inside = at <= y < at + size
        return Segment("┃" if inside else "│", self._tone("thumb" if inside else "track"))

    def _tone(self, tone: str) -> Style:
        return self.get_component_rich_style(f"rows--{tone}")

    def _blend(self, base: Style, tone: str) -> Style:
        """A tone on the row's own background, unless the tone brings one."""
        if not tone:
            return base
        style = self._tone(tone)
        if tone.startswith("match"):
            return base + style
        return base + Style(color=style.color, bold=style.bold, underline=style.underline)


def spans_width(spans: Sequence[Span]) -> int:
    """Cells that the pieces take together."""
    return sum(width_of(span.text) for span in spans)
