"""Charts as inline SVG: a frame with axes, and marks in it. Colours and strokes come from the page's style."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 560, 320
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 44

Scale = Callable[[float], float]
"""From a value to its place on the axis, 0 to 1."""
Tick = tuple[float, str]


def linear(low: float, high: float) -> Scale:
    """An even scale."""
    return lambda value: (value - low) / (high - low)


def logarithmic(low: float, high: float) -> Scale:
    """An even scale of the logarithm; what is below ``low`` lies on the edge."""
    whole = math.log(high / low)
    return lambda value: math.log(max(value, low) / low) / whole


def round_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round values inside a range, at most so many."""
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


@dataclass
class Frame:
    """A chart under way: scales, labels, and the marks drawn so far."""

    title: str
    x: Scale
    y: Scale
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    x_label: str
    y_label: str
    marks: list[str] = field(default_factory=list)

    def px(self, value: float) -> float:
        """Pixels from the left of a value on the x axis."""
        return LEFT + self.x(value) * (WIDTH - LEFT - RIGHT)

    def py(self, value: float) -> float:
        """Pixels from the top of a value on the y axis."""
        return HEIGHT - BOTTOM - self.y(value) * (HEIGHT - TOP - BOTTOM)

    def line(
        self, x: NDArray[np.float64], y: NDArray[np.float64], style: str, *, steps: bool = False
    ) -> None:
        """A curve through points; in steps, it goes up or down first and then across from the last point."""
        path, last = [], ""
        for i, (a, b) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
            across, down = f"{self.px(a):.1f}", f"{self.py(b):.1f}"
            if i == 0:
                path.append(f"M{across} {down}")
            elif steps:
                path.append((f"V{down}" if down != last else "") + f"H{across}")
            else:
                path.append(f"L{across} {down}")
            last = down
        self.marks.append(f'<path class="line {style}" d="{"".join(path)}"/>')

    def bar(self, low: float, high: float, bottom: float, top: float, style: str, told: str) -> None:
        """A bar between two values of x and two of y, with words for the pointer."""
        left, right, upper, lower = self.px(low), self.px(high), self.py(top), self.py(bottom)
        if lower - upper < 0.05:
            return
        gap = min(1.0, (right - left) / 4)
        self.marks.append(
            f'<rect class="bar {style}" x="{left + gap / 2:.1f}" y="{upper:.1f}" '
            f'width="{max(0.5, right - left - gap):.1f}" height="{lower - upper:.1f}">'
            f"<title>{escape(told)}</title></rect>"
        )

    def upright(self, value: float, told: str) -> None:
        """A dashed line across the chart at a value of x, with its name."""
        at = self.px(value)
        end = ' text-anchor="end"' if at > (WIDTH + LEFT) / 2 else ""
        self.marks.append(f'<path class="limit" d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        self.marks.append(
            f'<text class="note" x="{at + (-6 if end else 6):.1f}" y="{TOP + 12}"{end}>{escape(told)}</text>'
        )

    def point(self, x: float, y: float, shape: int, style: str, told: str) -> None:
        """A marker, of one of ``shape_path``'s shapes, with words for the pointer."""
        self.marks.append(
            f'<path class="point {style}" d="{shape_path(shape, self.px(x), self.py(y))}">'
            f"<title>{escape(told)}</title></path>"
        )

    def render(self) -> str:
        """The chart as an ``svg`` element."""
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        parts = [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.title)}">',
            f"<title>{escape(self.title)}</title>",
        ]
        for value, name in self.x_ticks:
            at = self.px(value)
            parts.append(f'<path class="grid" d="M{at:.1f} {TOP}V{bottom}"/>')
            parts.append(
                f'<text class="tick" x="{at:.1f}" y="{bottom + 15}" text-anchor="middle">{escape(name)}</text>'
            )
        for value, name in self.y_ticks:
            at = self.py(value)
            parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{right}"/>')
            parts.append(
                f'<text class="tick" x="{LEFT - 7}" y="{at + 3.5:.1f}" text-anchor="end">{escape(name)}</text>'
            )
        parts.extend(self.marks)
        parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
        middle = (LEFT + right) / 2
        parts.append(
            f'<text class="label" x="{middle:.0f}" y="{HEIGHT - 8}" text-anchor="middle">'
            f"{escape(self.x_label)}</text>"
        )
        parts.append(
            f'<text class="label" transform="translate(13 {(TOP + bottom) / 2:.0f}) rotate(-90)" '
            f'text-anchor="middle">{escape(self.y_label)}</text></svg>'
        )
        return "\n".join(parts)


_POLYGONS: tuple[tuple[tuple[float, float], ...], ...] = (
    ((-4, -4), (4, -4), (4, 4), (-4, 4)),
    ((0, -5.4), (5, 4), (-5, 4)),
    ((0, -5.6), (5.6, 0), (0, 5.6), (-5.6, 0)),
    ((0, 5.4), (5, -4), (-5, -4)),
    ((0, -6), (1.8, -1.8), (6, 0), (1.8, 1.8), (0, 6), (-1.8, 1.8), (-6, 0), (-1.8, -1.8)),
)
"""Square, triangle, diamond, triangle downwards, star; pixels from the middle."""


def shape_path(shape: int, x: float, y: float) -> str:
    """The path of a marker: a circle for 0, then square, triangle, diamond, triangle downwards, star."""
    if shape % 6 == 0:
        return f"M{x - 5:.1f} {y:.1f}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z"
    corners = " ".join(f"{x + dx:.1f} {y + dy:.1f}" for dx, dy in _POLYGONS[shape % 6 - 1])
    return f"M{corners}Z"
