"""What frames every screen: the line on top, the line of messages, the line of keys."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from logbert_tui.figures import home_path, keep_end
from logbert_tui.keys import Key, Where, key_bar
from logbert_tui.state import ConsoleState, Notice
from logbert_tui.widgets.lines import Lines, Row, spread, width_of

TABS: tuple[tuple[Where, str], ...] = (
    ("picker", "1 Presets"),
    ("run", "2 Run"),
    ("logs", "3 Logs"),
    ("inference", "4 Inference"),
)
_SYMBOLS = {
    "info": ("› ", "accent"),
    "warning": ("▲ ", "warn"),
    "error": ("✗ ", "bad"),
}


def top_row(state: ConsoleState, where: Where, width: int) -> Row:
    """Name, screens, and at the right the run, read-only and the connection; the run's path is cut first."""
    tabs: list[tuple[str, str]] = [(" LogBERT ", "title")]
    for name, title in TABS:
        short = title if width >= 72 else title[:1] if name != where else title
        tabs.append((f" {short} ", "mark" if name == where else "dim"))
    right: list[tuple[str, str]] = []
    if state.read_only:
        right.append(("read-only ", "warn"))
    if state.connection == "connected":
        right.append(("● ", "good"))
        right.append(("engine ", "dim"))
    elif state.connection == "connecting":
        right.append(("○ connecting ", "dim"))
    else:
        right.append(("✗ no engine ", "bad"))
    room = width - width_of(tuple(tabs)) - width_of(tuple(right)) - 4
    if state.run_dir and room >= 8:
        home = state.engine.home if state.engine is not None else ""
        right.insert(0, (keep_end(home_path(state.run_dir, home), room) + "  ", "dim"))
    gap = max(1, width - width_of(tuple(tabs)) - width_of(tuple(right)))
    return (*tabs, (" " * gap, ""), *right)


def notice_rows(notice: Notice, width: int, most: int) -> list[Row]:
    """A sentence wrapped to the width, with a symbol for its kind before it."""
    symbol, style = _SYMBOLS[notice.severity]
    lines = textwrap.wrap(notice.text, max(10, width - 4)) or [""]
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1][: max(1, width - 6)] + " …"]
    text = "" if notice.severity == "info" else style
    return [((" " + (symbol if not y else "  "), style), (line, text)) for y, line in enumerate(lines)]


class TopLine(Lines):
    """The first line of a screen."""

    DEFAULT_CSS = """
    TopLine { dock: top; height: 1; background: $panel; }
    """

    def __init__(self, state: ConsoleState, where: Where) -> None:
        super().__init__()
        self._state, self._where = state, where

    def build(self, width: int, _height: int, /) -> Sequence[Row]:
        """One row."""
        return [top_row(self._state, self._where, width)]


class NoticeLine(Lines):
    """The latest message, three lines at most; not there when there is none."""

    DEFAULT_CSS = """
    NoticeLine { dock: bottom; height: 1; margin: 0 0 1 0; background: $surface; display: none; }
    """

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def fit(self) -> None:
        """Take the height that the latest message needs."""
        notices = self._state.notices
        self.display = bool(notices)
        if notices:
            width = self.size.width or self.app.size.width
            self.styles.height = len(notice_rows(notices[-1], width, 3))
        self.update()

    def build(self, width: int, _height: int, /) -> Sequence[Row]:
        """The wrapped message."""
        notices = self._state.notices
        return notice_rows(notices[-1], width, 3) if notices else []


class KeyLine(Lines):
    """The keys of the screen, as many as there is room for; a click does what the key does."""

    DEFAULT_CSS = """
    KeyLine { dock: bottom; height: 1; background: $panel; }
    """

    def __init__(self, where: Where) -> None:
        super().__init__()
        self._where = where
        self._actions: dict[str, str] = {}
        self._hidden: frozenset[str] = frozenset()
        self._typing = False

    def hide(self, ids: Iterable[str]) -> None:
        """Leave out keys that do nothing now, by their ids."""
        self._hidden = frozenset(ids)
        self.update()

    def show_typing(self, typing: bool) -> None:
        """Whether a field to type into has the focus: letters are no keys then."""
        if typing != self._typing:
            self._typing = typing
            self.update()

    def build(self, width: int, _height: int, /) -> Sequence[Row]:
        """One row: the screen's keys and labels, and at the right those of every screen."""
        fitting: list[Key] = []
        used = 1
        for key in key_bar(self._where, typing=self._typing):
            needs = len(key.display) + len(key.label) + 3
            if key.id not in self._hidden and used + needs <= width:
                used += needs
                fitting.append(key)
        own = tuple(span for key in fitting if key.where != "everywhere" for span in _key_spans(key))
        common = tuple(span for key in fitting if key.where == "everywhere" for span in _key_spans(key))
        self._actions = {f" {key.display} ": key.target for key in fitting}
        return [spread(own, common, width)]

    def render_line(self, y: int) -> Strip:
        """The row with an action behind each key."""
        width, plain = self.size.width, self.rich_style
        if y or not self.rows:
            return Strip.blank(width, plain)
        segments, action = [], ""
        for text, name in self.rows[0]:
            action = self._actions.get(text, action) if name == "accent" else action
            meta = Style(meta={"@click": action})
            segments.append(Segment(text, self.style_of(name) + meta))
        return Strip(segments).adjust_cell_length(width, plain)


def _key_spans(key: Key) -> Row:
    return ((f" {key.display} ", "accent"), (f"{key.label} ", "dim"))
