"""Figures, and what they mean, in the words that table and page share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from logbert_engine.evaluation.bootstrap import Interval
from logbert_engine.evaluation.proportions import share_span

if TYPE_CHECKING:
    from logbert_engine.evaluation.comparison import Comparison, Data, Row, SliceFigures

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


def title(comparison: Comparison) -> str:
    """What is evaluated on what."""
    return f"Evaluation of {comparison.model} on {comparison.data.name}"


def verdict(comparison: Comparison) -> str:
    """Whether the model beats the best simple rule."""
    return f"floor beaten: {'yes' if comparison.floor_beaten else 'no'}"


def facts(data: Data) -> list[str]:
    """What the sessions are."""
    told = [
        f"{data.sessions:,} sessions, {data.anomalies:,} of them anomalies ({rate(data.anomalies / data.sessions)})",
        f"{data.distinct:,} distinct sequences",
        f"{data.with_unseen:,} sessions with events that training never saw",
    ]
    if data.first and data.last:
        days = dict.fromkeys((data.first[:10], data.last[:10]))
        told.append(" to ".join(days))
    for kind, (low, high) in data.weights.items():
        if (low, high) != (1.0, 1.0):
            told.append(f"each {kind} session stands for {low:g}" + (f" to {high:g}" if high != low else ""))
    if copies(data):
        told.append(copies(data))
    return told


def excluded(data: Data) -> str:
    """Sessions that no figure holds."""
    return f"Excluded from every figure: {left_out(data.excluded)}."


def cautions(comparison: Comparison) -> list[str]:
    """What a reader of the figures has to know of how they came about."""
    return [f"mind: {told}" for told in (comparison.data.unused, comparison.not_adapted) if told]


def measures(row: Row) -> list[tuple[str, str]]:
    """A detector's figures in the order of their columns, each with its interval; empty where it has none."""
    found, known = row.figures, row.intervals
    names = ("f1", "precision", "recall", "average_precision", "auroc", "mcc")
    return [
        *((figure(getattr(found, name)), span(known.get(name))) for name in names),
        (figure(found.accuracy), ""),
        (rate(found.false_alarm_rate), rate_span(known.get("false_alarm_rate"))),
        (amount(found.alarms_per_day), ""),
        (figure(found.precision_at_20), ""),
        (figure(found.precision_at_100), ""),
    ]


def counts(row: Row) -> list[tuple[int, str]]:
    """True and false positives, false and true negatives, with what they weigh; empty where it is as much."""
    both = [
        (getattr(row.figures.raw, kind), getattr(row.figures.weighted, kind))
        for kind in ("tp", "fp", "fn", "tn")
    ]
    return [(sessions, amount(weight) if abs(sessions - weight) > 1e-6 else "") for sessions, weight in both]


def not_in(part: SliceFigures) -> str:
    """Sessions of the evaluation that a slice leaves out."""
    return f"left out of “{part.title}”: {left_out(part.excluded)}"


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
