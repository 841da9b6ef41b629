"""A key: what it does and where, and how it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Where = Literal[
    "everywhere",
    "picker",
    "run",
    "logs",
    "inference",
    "session",
    "help",
    "list",
    "text",
    "form",
    "field",
    "choice",
    "stop",
]
"""``everywhere``: every screen; ``list``, ``text``, ``form``, ``field``, ``choice``: any widget of that kind
that has the focus, ``field`` being one to type into; ``stop``: the confirmation."""


@dataclass(frozen=True)
class Key:
    """One row: what a key does and where.

    Attributes:
        keys: Names as Textual has them, the first shown, separated by commas.
        id: Name in a keymap, unique.
        label: One or two words for the key bar.
        help: What it does, for the help screen.
        action: Textual's action.
        where: The screen or widget that has the binding.
        bar: Place in the key bar, lower first and longest kept when room is short; 0: not shown there.
        control: Whether it changes a run, which a read-only console refuses.
        shown: How the key is written; made from its name when empty.
    """

    keys: str
    id: str
    label: str
    help: str
    action: str
    where: Where
    bar: int = 0
    control: bool = False
    shown: str = ""

    @property
    def names(self) -> list[str]:
        """Its keys, as Textual has them."""
        return self.keys.split(",")

    @property
    def is_typed(self) -> bool:
        """Whether a field that has the focus takes the key as text."""
        return self.names[0] in _TYPED or len(self.names[0]) == 1

    @property
    def target(self) -> str:
        """Its action with where to find it, for clicks and the palette."""
        if self.action.startswith("app."):
            return self.action
        return f"{'app' if self.where == 'everywhere' else 'screen'}.{self.action}"

    @property
    def display(self) -> str:
        """The first of its keys as people write it."""
        return self.shown or written(self.names[0])

    @property
    def every_display(self) -> str:
        """All of its keys as people write them."""
        return self.shown or " ".join(written(name) for name in self.names)


def written(name: str) -> str:
    """A key's name as people write it."""
    return _DISPLAY.get(name, name)


_TYPED = {"question_mark", "slash", "space", "left_square_bracket", "right_square_bracket"}
_DISPLAY = {
    "question_mark": "?",
    "escape": "Esc",
    "enter": "Enter",
    "slash": "/",
    "f5": "F5",
    "tab": "Tab",
    "space": "Space",
    "ctrl+s": "^S",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "down": "↓",
    "up": "↑",
    "left": "←",
    "right": "→",
    "home": "Home",
    "end": "End",
    "pagedown": "PgDn",
    "pageup": "PgUp",
}
