"""What the screens share: the frame around them, their keys, and being told what changed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Input

from logbert_tui.keys import Where
from logbert_tui.state import ConsoleState, Part
from logbert_tui.widgets.frame import KeyLine, NoticeLine, TopLine

if TYPE_CHECKING:
    from logbert_tui.app import LogbertApp
    from logbert_tui.link import EngineLink

BREAKPOINTS_WIDTH = [(0, "-narrow"), (100, "-wide")]
TALL = 30
"""Rows from which on there is room for frames and whole sentences."""
BREAKPOINTS_HEIGHT = [(0, "-short"), (TALL, "-tall")]


class ConsoleScreen(Screen[None]):
    """A screen of the console.

    A subclass names itself in ``WHERE`` (its rows in the table of keys), sets ``BINDINGS = bindings(WHERE)``,
    yields its widgets in ``compose_content`` and brings them up to date in ``refresh_state``.
    """

    WHERE: ClassVar[Where] = "help"
    HORIZONTAL_BREAKPOINTS = BREAKPOINTS_WIDTH
    VERTICAL_BREAKPOINTS = BREAKPOINTS_HEIGHT

    def __init__(self) -> None:
        super().__init__()
        self._seen: Counter[Part] = Counter()

    def on_mount(self) -> None:
        """The key bar follows the focus."""
        self.watch(self, "focused", self._focus_moved)

    def _focus_moved(self) -> None:
        for line in self.query(KeyLine):  # none while the screen is being made or taken down
            line.show_typing(self.typing)

    @property
    def typing(self) -> bool:
        """Whether a field to type into has the focus."""
        return isinstance(self.focused, Input)

    @property
    def console(self) -> LogbertApp:
        """The app, with its type."""
        return cast("LogbertApp", self.app)

    @property
    def link(self) -> EngineLink:
        """The connection to the engine."""
        return self.console.link

    @property
    def state(self) -> ConsoleState:
        """What is known."""
        return self.console.state

    def compose(self) -> ComposeResult:
        """The frame, with the screen's own widgets in it."""
        yield TopLine(self.state, self.WHERE)
        yield KeyLine(self.WHERE)
        yield NoticeLine(self.state)
        yield from self.compose_content()

    def compose_content(self) -> ComposeResult:
        """The screen's own widgets."""
        yield from ()

    def refresh_state(self, changed: set[Part]) -> None:
        """Bring the widgets up to date. Called at most ten times a second, while the screen is visible."""

    def tick(self) -> None:
        """See what changed since the last time, and bring just that up to date."""
        if not self.is_mounted:
            return  # the app's timer may come before the screen has its widgets
        if not self.query(TopLine):  # the screen is being made or taken down
            return
        changed = self.state.changed_since(self._seen)
        if not changed:
            return
        if changed & {"connection", "run"}:
            self.query_one(TopLine).update()
        if "notices" in changed:
            self.query_one(NoticeLine).fit()
        self.refresh_state(changed)

    def on_screen_resume(self) -> None:
        """The screen is visible again: catch up at once."""
        self.tick()

    def take_back(self) -> bool:
        """Esc: whether the screen has something of its own to close or leave, which it does then."""
        return False
