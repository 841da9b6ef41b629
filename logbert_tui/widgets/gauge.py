"""Gauges: a bar with marks for the peak, the budget and what was expected, and the figure beside it."""

from __future__ import annotations

from dataclasses import dataclass

from logbert_tui.widgets.lines import Row

FULL, HALF, REST, PEAK, BUDGET, EXPECTED = "━", "╸", "─", "╂", "┃", "┊"
WARN_AT, BAD_AT = 0.8, 0.95


@dataclass(frozen=True)
class Gauge:
    """One bar.

    Attributes:
        label: What is measured.
        value: How much; None when it is not known.
        limit: How much a full bar stands for; None when it is not known.
        text: The figure as written.
        peak: The highest value so far, marked on the bar.
        budget: What it should stay below, marked on the bar; beyond it the bar warns.
        expected: What it was estimated to come to, marked on the bar.
        full_is_well: A full bar is no cause for a warning, as of a processor at work.
    """

    label: str
    value: float | None
    limit: float | None
    text: str
    peak: float | None = None
    budget: float | None = None
    expected: float | None = None
    full_is_well: bool = False

    def level(self) -> str:
        """The style that the value deserves: plain accent, a warning, or an alarm."""
        if self.value is None:
            return "dim"
        if self.full_is_well:
            return "accent"
        if self.budget is not None:
            return "bad" if self.value > self.budget else "accent"
        share = self.value / self.limit if self.limit else 0.0
        return "bad" if share >= BAD_AT else "warn" if share >= WARN_AT else "accent"


def bar(value: float | None, limit: float | None, width: int, style: str = "accent") -> list[tuple[str, str]]:
    """A bar of ``width`` cells, filled to half a cell."""
    if value is None or not limit or limit <= 0 or width < 1:
        return [(REST * max(0, width), "faint")]
    halves = round(min(1.0, max(0.0, value / limit)) * width * 2)
    filled, half = divmod(halves, 2)
    spans = [(FULL * filled + HALF * half, style)] if halves else []
    if width - filled - half:
        spans.append((REST * (width - filled - half), "faint"))
    return spans


def gauge_row(gauge: Gauge, width: int, label_width: int = 8, text_width: int = 9) -> Row:
    """Label, bar with its marks, and figure in ``width`` cells; a warning sign as well as a colour."""
    room = width - label_width - text_width - 2
    style = gauge.level()
    text = ("▲ " if style in ("warn", "bad") else "") + gauge.text
    label = f"{gauge.label[:label_width]:<{label_width}} "
    if room < 4:
        return (
            (label, "dim"),
            (f"{text:>{max(0, width - label_width - 1)}}", style if style != "accent" else ""),
        )
    return (
        (label, "dim"),
        *marked_bar(gauge, room, style),
        (f" {text:>{text_width}}", style if style != "accent" else ""),
    )


def marked_bar(gauge: Gauge, width: int, style: str) -> list[tuple[str, str]]:
    """The bar with the marks of what was expected, its peak and its budget."""
    cells = [(char, name) for part, name in bar(gauge.value, gauge.limit, width, style) for char in part]
    marks = ((gauge.expected, EXPECTED, "strong"), (gauge.peak, PEAK, "warn"), (gauge.budget, BUDGET, "bad"))
    for value, mark, name in marks:
        if value is not None and gauge.limit and 0 < value <= gauge.limit:
            cells[min(width - 1, int(value / gauge.limit * width))] = (mark, name)
    spans: list[tuple[str, str]] = []
    for char, name in cells:
        if spans and spans[-1][1] == name:
            spans[-1] = (spans[-1][0] + char, name)
        else:
            spans.append((char, name))
    return spans
