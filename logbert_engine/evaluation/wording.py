"""Figures, and what they mean, in the words that table and page share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from logbert_engine.evaluation.bootstrap import Interval
from logbert_engine.evaluation.proportions import share_span

if TYPE_CHECKING:
    from logbert_engine.evaluation.comparison import Comparison, Data

UNDEFINED = "–"
LEAST_COPIES = 0.01
"""Of the anomalies; fewer that nothing can tell from ordinary sessions are not worth a sentence."""


def figure(value: float | None, digits: int = 3) -> str:
    """A measure between -1 and 1: ``.975``, ``1.000``, ``–`` where it is undefined."""
    if value is None:
        return UNDEFINED
    text = f"{abs(value):.{digits}f}".removeprefix("0")
    return f"-{text}" if value < 0 and text.strip(".0") else text


def span(interval: Interval | None) -> str:
    """An interval of such a measure: ``.970–.981``, ``.990–1``."""
    if interval is None:
        return UNDEFINED
    low, high = (figure(value).replace("1.000", "1") for value in (interval.low, interval.high))
    return f"{low}–{high}"


def percent(value: float) -> str:
    """A share that may be small, in percent but without the sign: ``12``, ``0.52``, ``<0.0001``."""
    hundredfold = 100 * value
    if 0 < hundredfold < 0.0001:
        return "<0.0001"
    if hundredfold >= 99:
        return f"{hundredfold:.3g}"
    text = f"{float(f'{hundredfold:.2g}'):.4f}"
    return text.rstrip("0").rstrip(".")


def rate(value: float | None) -> str:
    """Such a share: ``0.52%``."""
    return UNDEFINED if value is None else f"{percent(value)}%"


def rate_span(interval: Interval | None) -> str:
    """An interval of such a share: ``0.45–0.6%``."""
    return UNDEFINED if interval is None else f"{percent(interval.low)}–{rate(interval.high)}"


def amount(value: float | None) -> str:
    """A number of sessions, which weights may have made a fraction: ``3.4``, ``812``, ``1,940k``."""
    if value is None:
        return UNDEFINED
    if value >= 999_999.5:
        return f"{value / 1000:,.0f}k"
    return f"{value:.2g}" if value < 9.95 else f"{value:,.0f}"


def copies(data: Data) -> str:
    """What cannot be found at all, if much; empty where it is little."""
    if data.copies < LEAST_COPIES * data.anomalies or not data.copies:
        return ""
    return (
        f"{data.copies:,} of the {data.anomalies:,} anomalies ({data.copies / data.anomalies:.0%}) hold the very "
        "events of an ordinary session of training, in the same order: by its events no detector tells them apart"
    )


def false_alarms(comparison: Comparison) -> str:
    """Whether as many ordinary sessions alarm as calibration expects; empty without a calibration."""
    expected = comparison.expected
    found = comparison.row(comparison.model).figures.false_alarm_rate
    if expected is None or found is None:
        return ""
    normals = comparison.row(comparison.model).figures.raw
    low, high = share_span(normals.fp, normals.fp + normals.tn)  # as far as so many normal sessions tell
    where = "above" if low > expected.high else "below" if high < expected.low else "within"
    learnt_from = "these" if expected.adapted else "training"
    stated = rate_span(Interval(expected.low, expected.high))
    return (
        f"false alarms: {rate(found)} of the normal sessions here; {rate(expected.share)} were expected by the "
        f"{expected.held_out:,} held out from {learnt_from}, {stated} with 95% confidence: {where}"
    )


def left_out(excluded: Mapping[str, int]) -> str:
    """Sessions left out and why: ``12 without a label, 3 unreadable``; ``none`` where there are none."""
    told = [f"{sessions:,} {why}" for why, sessions in excluded.items() if sessions]
    return ", ".join(told) or "none"
