"""Text for terminal cells: made harmless, cut or padded to a width."""

from __future__ import annotations

import re

from rich.cells import cell_len, set_cell_size

CUT = "…"
"""Stands where text was cut."""
TAB = 8

# Control characters would steer the terminal, directional and zero-width ones would shift what stands beside
# them, and lone surrogates cannot be written at all.
_HARMFUL = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufff9-\ufffb]"
)


def clean(text: str) -> str:
    """The text with tabs expanded and every character that would disturb the screen shown as ``\ufffd``."""
    if text.isascii() and text.isprintable():
        return text
    return _HARMFUL.sub("\ufffd", text.expandtabs(TAB))


def width_of(text: str) -> int:
    """Cells that the text takes."""
    return len(text) if text.isascii() else cell_len(text)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """The text in exactly ``width`` cells: padded, or cut with a visible mark.

    Args:
        text: Clean text.
        width: Cells; with 0 or less nothing is left.
        right: Align at the right edge, as figures are.
    """
    if width <= 0:
        return ""
    missing = width - width_of(text)
    if missing >= 0:
        return " " * missing + text if right else text + " " * missing
    return set_cell_size(text, width - 1) + CUT


def crop(text: str, start: int, width: int) -> str:
    """Cells ``start`` to ``start + width`` of a clean text; half of a wide character becomes a space."""
    if width <= 0:
        return ""
    if text.isascii():
        return text[start : start + width]
    if cell_len(text) <= start:
        return ""
    head = set_cell_size(text, start)
    rest = text[len(head) :]
    if not text.startswith(head):  # a space stands for the wide character that was split
        rest = " " + rest
    return set_cell_size(rest, min(width, cell_len(rest)))
