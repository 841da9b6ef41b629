"""What is made from the table of keys: Textual's bindings, the key bar and the help."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from logbert_tui.keys.key import Key, Where
from logbert_tui.keys.table import KEYS, TITLES


def bindings(where: Where) -> list[BindingType]:
    """Textual's bindings of a screen or a widget.

    The ids and tooltips come along, so that a user's keymap and the palette know them.
    """
    return [
        Binding(
            key.keys,
            key.action,
            key.label,
            show=bool(key.bar),
            key_display=key.display,
            tooltip=key.help,
            id=key.id,
        )
        for key in KEYS
        if key.where == where
    ]


def key_bar(where: Where, *, typing: bool = False) -> list[Key]:
    """The keys to show on a screen's bottom line, the most important first.

    A key of every screen gives way to the screen's own, and the way to the screen itself is left out.

    Args:
        where: The screen.
        typing: Whether a field to type into has the focus, which takes letters as text: then only the keys of
            the field and those of the screen that are no text are shown.
    """
    if typing:
        kept = [key for key in KEYS if key.where == "field" or (key.where == where and not key.is_typed)]
        return sorted((key for key in kept if key.bar), key=lambda key: key.bar)
    own = [key for key in KEYS if key.where == where]
    taken = {name for key in own for name in key.names}
    common = [
        key
        for key in KEYS
        if key.where == "everywhere" and key.names[0] not in taken and key.action != f"show('{where}')"
    ]
    return sorted((key for key in own + common if key.bar), key=lambda key: key.bar)


def help_rows() -> list[tuple[str, list[Key]]]:
    """The whole table in groups, for the help screen."""
    groups = []
    for where, title in TITLES.items():
        rows = [key for key in KEYS if key.where == where]
        if rows:
            groups.append((title, rows))
    return groups
