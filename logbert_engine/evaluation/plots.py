"""The plots of the report: precision and recall, ROC, scores, alarms over time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import escape

import numpy as np

from logbert_engine.evaluation import curves
from logbert_engine.evaluation.detections import Detector, Sample
from logbert_engine.evaluation.metrics import DAY, Figures
from logbert_engine.evaluation.svg import Frame, linear, logarithmic, round_ticks, shape_path
from logbert_engine.evaluation.wording import amount, figure, rate

MOST_CURVES = 6
Drawn = Sequence[tuple[Detector, Figures]]
"""Detectors to draw, the model first, at most ``MOST_CURVES``, with their figures."""

_SHARES = [
    (value / 10, figure(value / 10, 1) if 0 < value < 10 else f"{value // 10}") for value in range(0, 11, 2)
]


def legend(drawn: Drawn) -> str:
    """Names with the colour, stroke and marker that stand for them."""
    entries = [
        f'<li><svg viewBox="0 0 34 14" aria-hidden="true"><path class="line s{i}" d="M1 7H33"/>'
        f'<path class="point s{i}" d="{shape_path(i, 17, 7)}"/></svg>{escape(detector.name)}</li>'
        for i, (detector, _) in enumerate(drawn)
    ]
    return f'<ul class="legend">{"".join(entries)}</ul>'


def precision_recall_chart(sample: Sample, drawn: Drawn) -> str:
    """Precision over recall, with a marker where each detector's own threshold lies."""
    frame = Frame(
        "Precision over recall",
        linear(0, 1),
        linear(0, 1.02),
        _SHARES,
        _SHARES,
        "recall: share of the anomalies found",
        "precision: share of the alarms that are right",
    )
    return _curve_chart(
        frame,
        sample,
        drawn,
        curves.precision_recall,
        lambda f: (f.recall, f.precision),
        steps=True,
    )


def roc_chart(sample: Sample, drawn: Drawn) -> str:
    """Recall over the false-alarm rate on a logarithmic axis, with a marker for each detector's threshold."""
    found = [curves.roc(sample, detector) for detector, _ in drawn]
    lowest = min((float(points[0].min()) for points in found if points is not None), default=0.001)
    lowest = 10.0 ** round(math.log10(lowest))
    decades = range(round(math.log10(lowest)), 1)
    frame = Frame(
        "Recall over the false-alarm rate",
        logarithmic(lowest, 1.0),
        linear(0, 1.02),
        [(10.0**power, rate(10.0**power)) for power in decades],
        _SHARES,
        "false-alarm rate: share of the normal sessions that alarm (log scale)",
        "recall",
    )
    return _curve_chart(
        frame,
        sample,
        drawn,
        lambda sample, detector: curves.roc(sample, detector, lowest),
        lambda f: (f.false_alarm_rate, f.recall),
        steps=False,
    )


def _curve_chart(
    frame: Frame,
    sample: Sample,
    drawn: Drawn,
    curve: Callable[[Sample, Detector], curves.Points | None],
    place: Callable[[Figures], tuple[float | None, float | None]],
    *,
    steps: bool,
) -> str:
    for i, (detector, _) in reversed(list(enumerate(drawn))):  # the model on top
        points = curve(sample, detector)
        if points is not None:
            frame.line(*points, f"s{i}", steps=steps)
    for i, (detector, figures) in reversed(list(enumerate(drawn))):
        x, y = place(figures)
        if x is not None and y is not None:
            told = f"{detector.name} at its threshold: {frame.x_label.split(':')[0]} "
            told += f"{figure(x) if steps else rate(x)}, {frame.y_label.split(':')[0]} {figure(y)}"
            frame.point(x, y, i, f"s{i}", told)
    return frame.render()


def score_chart(sample: Sample, detector: Detector, threshold: float | None) -> str:
    """How many normals (upwards) and anomalies (downwards) have each score, on logarithmic axes."""
    found = curves.histogram(sample, detector, threshold)
    top = math.log10(1 + max(1.0, float(found.normal.max()), float(found.anomalous.max()))) * 1.05
    edges = found.edges.tolist()
    powers = range(1 if top > 1.5 else 0, math.ceil(top))
    every = 1 if len(powers) <= 3 else 2
    ticks = [(math.log10(1 + 10.0**p), f"{10**p:,}" if p < 4 else f"10{_raised(p)}") for p in powers[::every]]
    frame = Frame(
        "Scores of normal and anomalous sessions",
        linear(edges[0], edges[-1]),
        linear(-top, top),
        [(tick, f"{tick:g}") for tick in round_ticks(edges[0], edges[-1])],
        [*((-at, name) for at, name in reversed(ticks)), (0.0, "0"), *ticks],
        "score",
        "anomalous ← sessions (log scale) → normal",
    )
    for low, high, normal, anomalous in zip(
        edges[:-1], edges[1:], found.normal.tolist(), found.anomalous.tolist(), strict=True
    ):
        between = f"score {low:.3g} to {high:.3g}"
        frame.bar(low, high, 0, math.log10(1 + normal), "normal", f"{between}: {amount(normal)} normal")
        frame.bar(
            low, high, -math.log10(1 + anomalous), 0, "anomalous", f"{between}: {amount(anomalous)} anomalous"
        )
    if threshold is not None and edges[0] <= threshold <= edges[-1]:
        frame.upright(threshold, f"threshold {threshold:.4g}")
    return frame.render()


def time_chart(sample: Sample, detector: Detector) -> str | None:
    """Alarms a day over time, right ones below and false ones on top; None where times are unknown."""
    found = curves.timeline(sample, detector)
    if found is None:
        return None
    starts = found.start.tolist()
    end = starts[-1] + found.width
    high = max(1e-9, float((found.true + found.false).max())) * 1.05
    ticks = round_ticks(0, high, 5)
    frame = Frame(
        "Alarms a day over time",
        linear(starts[0], end),
        linear(0, high),
        _time_ticks(starts[0], end),
        [(tick, f"{tick:,g}" if tick < 1e6 else amount(tick)) for tick in ticks],
        f"time (UTC), a bar is {_duration(found.width)}",
        "alarms a day",
    )
    for start, true, false in zip(starts, found.true.tolist(), found.false.tolist(), strict=True):
        when = f"{datetime.fromtimestamp(start, UTC):%Y-%m-%d %H:%M}"
        told = f"{when}: {amount(true)} right and {amount(false)} false alarms a day"
        frame.bar(start, start + found.width, 0, true, "right", told)
        frame.bar(start, start + found.width, true, true + false, "false", told)
    return frame.render()


def _time_ticks(first: float, last: float) -> list[tuple[float, str]]:
    long = last - first > 3 * DAY
    form = "%Y-%m-%d" if long else "%m-%d %H:%M"
    places = np.linspace(first, last, 7)[1:-1:2].tolist()
    if long:
        places = [round(place / DAY) * DAY for place in places]
    return [(place, f"{datetime.fromtimestamp(place, UTC):{form}}") for place in dict.fromkeys(places)]


def _duration(seconds: float) -> str:
    for size, name in ((DAY, "day"), (3600.0, "hour"), (60.0, "minute")):
        if seconds >= size:
            count = round(seconds / size)
            return f"{count} {name}s" if count > 1 else f"a {name}" if name != "hour" else "an hour"
    return f"{seconds:.0f} seconds"


def _raised(power: int) -> str:
    return "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(power))
