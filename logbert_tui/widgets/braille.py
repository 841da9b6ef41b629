"""Line charts in braille dots: pure functions from points to rows of characters.

A cell holds 2 × 4 dots. Points are gathered in columns of dots that keep their lowest and highest value, so a
spike of one point among thousands stays visible.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

DOTS_ACROSS, DOTS_DOWN = 2, 4
_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_EMPTY = 0x2800
_LEAST_SPAN = 1e-9
"""Share of the values: what differs by less is rounding, and ticks so close could not be told apart."""


class Column(NamedTuple):
    """The points that fall into one column of dots."""

    first: float
    low: float
    high: float
    last: float


class Range(NamedTuple):
    """An interval of an axis."""

    low: float
    high: float


def gather(xs: Sequence[float], ys: Sequence[float | None], across: Range, count: int) -> list[Column | None]:
    """Sort points into ``count`` columns of dots; unknown values are left out.

    Args:
        xs: Ascending abscissas.
        ys: A value each, or None.
        across: The abscissas of the left and the right edge.
        count: Columns of dots.

    Returns:
        A column each, None where no point falls into it.
    """
    columns: list[Column | None] = [None] * count
    span = across.high - across.low
    if count < 1 or span <= 0:
        return columns
    scale = (count - 1) / span
    for x, y in zip(xs, ys, strict=True):
        if y is None or not math.isfinite(y) or x < across.low or x > across.high:
            continue
        index = round((x - across.low) * scale)
        known = columns[index]
        if known is None:
            columns[index] = Column(y, y, y, y)
        else:
            columns[index] = Column(known.first, min(known.low, y), max(known.high, y), y)
    return columns


def trace(columns: Sequence[Column | None], down: Range, dots: int) -> list[tuple[int, int] | None]:
    """The dots that each column paints, as (lowest, highest) counted from the bottom.

    Columns are joined by a straight line to the one before them, over columns without points too.
    """
    spans: list[tuple[int, int] | None] = [None] * len(columns)

    def dot(value: float) -> int:
        return dot_of(value, down, dots)

    before: tuple[int, float] | None = None
    for index, column in enumerate(columns):
        if column is None:
            continue
        spans[index] = (dot(column.low), dot(column.high))
        if before is not None:
            start, value = before
            slope = (column.first - value) / (index - start)
            for step in range(index - start + 1):  # each column takes its half of the line on either side
                left = dot(value + slope * max(0.0, step - 0.5))
                right = dot(value + slope * min(index - start, step + 0.5))
                known = spans[start + step] or (left, left)
                spans[start + step] = (min(left, right, *known), max(left, right, *known))
        before = (index, column.last)
    return spans


def paint(spans: Sequence[tuple[int, int] | None], rows: int) -> list[str]:
    """The characters of a trace, top row first; a cell without a dot is a space."""
    width = len(spans) // DOTS_ACROSS
    height = rows * DOTS_DOWN
    cells = [[0] * width for _ in range(rows)]
    for index, span in enumerate(spans[: width * DOTS_ACROSS]):
        if span is None:
            continue
        bits = _BITS[index % DOTS_ACROSS]
        for dot in range(span[0], span[1] + 1):
            from_top = height - 1 - dot
            cells[from_top // DOTS_DOWN][index // DOTS_ACROSS] |= bits[from_top % DOTS_DOWN]
    return ["".join(chr(_EMPTY + bits) if bits else " " for bits in row) for row in cells]


def dot_of(value: float, down: Range, dots: int) -> int:
    """The dot of a value, counted from the bottom."""
    share = (value - down.low) / (down.high - down.low)
    return min(dots - 1, max(0, round(share * (dots - 1))))


def row_of(value: float, down: Range, rows: int) -> int:
    """The row of cells that holds a value's dot, counted from the top."""
    return rows - 1 - dot_of(value, down, rows * DOTS_DOWN) // DOTS_DOWN


def place(value: float, along: Range, cells: int) -> int:
    """The cell of ``cells`` that a value falls into, the lowest value into cell 0."""
    if along.high <= along.low:
        return 0
    share = (value - along.low) / (along.high - along.low)
    return min(cells - 1, max(0, math.floor(share * cells)))


def nice_range(low: float, high: float, ticks: int = 4) -> tuple[Range, list[float]]:
    """A range with round limits around the values, and its ticks, so that the axis stays as values come in.

    Args:
        low: The lowest value.
        high: The highest value; one that is the lowest but for rounding gets a tenth of room on either side.
        ticks: About how many ticks there should be.
    """
    if high - low <= _LEAST_SPAN * max(abs(low), abs(high)):
        spread = max(abs(low), abs(high)) * 0.1 or 1.0
        low, high = low - spread, high + spread
    rough = (high - low) / max(1, ticks)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    half = step / 2  # the limits are finer than the ticks, so that less of the height is left empty
    first, last = math.floor(low / half + 1e-9), math.ceil(high / half - 1e-9)
    marks = [index * half for index in range(first, last + 1) if index % 2 == 0]
    return Range(first * half, last * half), marks


def nice_end(value: float) -> float:
    """The next round number at or above ``value``: an axis that grows in leaps repaints seldom."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(
        factor * power
        for factor in (1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9, 10)
        if factor * power >= value * (1 - 1e-12)
    )


def log_ticks(low: float, high: float) -> tuple[Range, list[float]]:
    """A range for a logarithmic axis in powers of ten of (1, 2, 5), and its ticks; both as log10."""
    steps = (1.0, 2.0, 5.0)

    def at(index: int) -> float:
        return math.log10(steps[index % 3]) + index // 3

    first = 3 * math.floor(math.log10(low)) - 1
    while at(first + 1) <= math.log10(low) + 1e-9:
        first += 1
    last = first + 1
    while at(last) < math.log10(high) - 1e-9:
        last += 1
    return Range(at(first), at(last)), [at(index) for index in range(first, last + 1)]
