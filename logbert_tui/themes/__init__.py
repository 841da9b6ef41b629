"""The console's own theme: calm and dark, one accent."""

from __future__ import annotations

from textual.theme import Theme

LOGBERT = Theme(
    name="logbert",
    primary="#5fb8c4",
    secondary="#7f8c9d",
    accent="#5fb8c4",
    success="#7fc08a",
    warning="#dfb45f",
    error="#e5737a",
    foreground="#d3dae3",
    background="#10141a",
    surface="#161b23",
    panel="#1f2630",
    dark=True,
)
