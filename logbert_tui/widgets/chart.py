"""The chart of losses: a line for training, points for validation, a mark where a stage begins."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from logbert_tui.figures import short
from logbert_tui.widgets import braille
from logbert_tui.widgets.braille import Range
from logbert_tui.widgets.lines import Lines, Row

Scale = Literal["linear", "log"]
POINT, BOUNDARY = "◆", "┊"


@dataclass(frozen=True)
class ChartData:
    """What a chart shows.

    Attributes:
        x: Abscissas, ascending.
        y: A value each; None where it is not known.
        points_x: Abscissas of single points.
        points_y: A value each.
        boundaries: (abscissa, label) of what begins there.
        empty: What to say while there is nothing to draw.
        legend: Names of the line and of the points.
    """

    x: Sequence[float] = ()
    y: Sequence[float | None] = ()
    points_x: Sequence[float] = ()
    points_y: Sequence[float | None] = ()
    boundaries: Sequence[tuple[float, str]] = ()
    empty: str = "Nothing to draw yet."
    legend: tuple[str, str] = ("training", "validation")
    unit: str = "step"


@dataclass(frozen=True)
class Window:
    """The part of the abscissa that is shown; None: from the first, to the last."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class _Axes:
    across: Range
    down: Range
    ticks: list[float] = field(default_factory=list)


def chart_rows(
    data: ChartData, width: int, height: int, scale: Scale = "linear", window: Window = Window()
) -> list[Row]:
    """The rows of a chart that fills ``width`` × ``height`` cells."""
    axes = _axes(data, scale, window, max(2, (height - 2) // 3))
    if axes is None or width < 16 or height < 4:
        return _empty_rows(data.empty, width, height)
    labels = [_tick_label(tick, scale) for tick in axes.ticks]
    margin = max(len(label) for label in labels) + 1
    across, plot_rows = width - margin - 1, height - 2
    plot = _plot(data, axes, scale, across, plot_rows)
    at = {
        braille.row_of(tick, axes.down, plot_rows): label
        for tick, label in zip(axes.ticks, labels, strict=True)
    }
    rows: list[Row] = [_legend(data, scale, margin)]
    for y in range(plot_rows):
        label = at.get(y, "")
        rows.append(((f"{label:>{margin - 1}} ", "dim"), ("┤" if label else "│", "faint"), *plot[y]))
    rows.append(_bottom(data, axes.across, across, margin))
    return rows


def _axes(data: ChartData, scale: Scale, window: Window, ticks: int) -> _Axes | None:
    last = max([*data.x[-1:], *data.points_x[-1:]], default=None)
    if last is None:
        return None
    low = window.low if window.low is not None else 0.0
    high = window.high if window.high is not None else low + braille.nice_end(max(1.0, last - low))
    seen = [
        y
        for xs, ys in ((data.x, data.y), (data.points_x, data.points_y))
        for x, y in zip(xs, ys, strict=True)
        if y is not None and math.isfinite(y) and low <= x <= high and (scale == "linear" or y > 0)
    ]
    if not seen:
        return None
    if scale == "log":
        down, marks = braille.log_ticks(min(seen), max(seen))
        while len(marks) > ticks * 2:
            marks = marks[::2]
    else:
        least = min(seen)
        down, marks = braille.nice_range(0.0 if 0 <= least < max(seen) * 0.5 else least, max(seen), ticks)
    return _Axes(Range(low, high), down, marks)


def _values(ys: Sequence[float | None], scale: Scale) -> list[float | None]:
    if scale == "linear":
        return list(ys)
    return [math.log10(y) if y is not None and y > 0 else None for y in ys]


def _plot(data: ChartData, axes: _Axes, scale: Scale, width: int, height: int) -> list[Row]:
    columns = braille.gather(data.x, _values(data.y, scale), axes.across, width * braille.DOTS_ACROSS)
    spans = braille.trace(columns, axes.down, height * braille.DOTS_DOWN)
    cells = [[(char, "accent") for char in row] for row in braille.paint(spans, height)]
    for x, _ in data.boundaries:
        if axes.across.low < x <= axes.across.high:
            column = braille.place(x, axes.across, width)
            for row in cells:
                if row[column][0] == " ":
                    row[column] = (BOUNDARY, "faint")
    for x, y in zip(data.points_x, _values(data.points_y, scale), strict=True):
        if y is not None and math.isfinite(y) and axes.across.low <= x <= axes.across.high:
            column = braille.place(x, axes.across, width)
            cells[braille.row_of(y, axes.down, height)][column] = (POINT, "warn")
    return [_merged(row) for row in cells]


def _merged(cells: Sequence[tuple[str, str]]) -> Row:
    """Neighbouring cells of one style as one span."""
    spans: list[tuple[str, str]] = []
    for char, style in cells:
        if spans and (spans[-1][1] == style or char == " "):
            spans[-1] = (spans[-1][0] + char, spans[-1][1])
        else:
            spans.append((char, style))
    return tuple(spans)


def _legend(data: ChartData, scale: Scale, margin: int) -> Row:
    line, points = data.legend
    row: list[tuple[str, str]] = [(" " * (margin + 1), ""), ("── ", "accent"), (line, "dim")]
    if any(y is not None for y in data.points_y):
        row += [(f"   {POINT} ", "warn"), (points, "dim")]
    if scale == "log":
        row.append(("   logarithmic", "dim"))
    return tuple(row)


def _bottom(data: ChartData, across: Range, width: int, margin: int) -> Row:
    """The labels of the boundaries, and the abscissa at both ends."""
    line = [" "] * width
    first = short(across.low)
    last = f"{short(across.high)} {data.unit}"
    taken = 0
    starts = [x for x, _ in data.boundaries]
    if not starts or starts[0] > across.low:
        line[: len(first)] = first
        taken = len(first) + 1
    room = width - len(last) - 1
    for x, label in data.boundaries:
        if not across.low <= x <= across.high:
            continue
        column = braille.place(x, across, width)
        if column >= taken and column + len(label) <= room:
            line[column : column + len(label)] = label
            taken = column + len(label) + 1
    text = "".join(line[:room]).ljust(room) + " " + last if room > 0 else last[-width:]
    return ((" " * margin, ""), ("└", "faint"), (text, "dim"))


def _tick_label(value: float, scale: Scale) -> str:
    if scale == "log":
        value = 10**value
    if value and (abs(value) < 0.001 or abs(value) >= 100_000):
        return f"{value:.0e}"
    return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) < 10 else f"{value:g}"


def _empty_rows(text: str, width: int, height: int) -> list[Row]:
    lines = textwrap.wrap(text, max(8, width - 4))
    top = max(0, (height - len(lines)) // 2)
    return [*([()] * top), *(((line.center(width), "dim"),) for line in lines)][:height]


class Chart(Lines):
    """A chart at the size that the layout gives it; only rows that changed are painted again."""

    DEFAULT_CSS = """
    Chart { height: 1fr; min-height: 4; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.chart_scale: Scale = "linear"
        self.window = Window()
        self._data = ChartData()

    def draw(self, data: ChartData) -> None:
        """Show other data; scale and window stay."""
        self._data = data
        self.update()

    def build(self, width: int, height: int, /) -> Sequence[Row]:
        """The rows of the chart."""
        return chart_rows(self._data, width, height, self.chart_scale, self.window)
