"""The comparison as lines of plain text, for a terminal of 100 columns."""

from __future__ import annotations

from collections.abc import Sequence

from logbert_engine.evaluation.comparison import Comparison, Row, SliceFigures
from logbert_engine.evaluation.wording import (
    amount,
    copies,
    false_alarms,
    figure,
    left_out,
    rate,
    rate_span,
    span,
)

WIDTH = 100
_NAME = 23


def table(comparison: Comparison) -> list[str]:
    """Lines of at most ``WIDTH`` columns: all sessions in full, the slices, the floor, the oracle."""
    whole, *parts = comparison.slices
    floor = "yes" if comparison.floor_beaten else "no"
    return [
        *_about(comparison),
        "",
        *_measures(whole),
        "",
        *_intervals(whole, comparison),
        "",
        *_counts(whole),
        "",
        *_parts(parts),
        "",
        f"floor beaten: {floor}",
        *wrapped(comparison.sentence),
        *(wrapped(false_alarms(comparison)) if false_alarms(comparison) else []),
        "",
        "oracle F1, optimistic: the threshold is chosen by the labels, so nobody gets it in use",
        *(_line(row.detector, [figure(row.figures.oracle_f1)], [7]) for row in whole.rows),
    ]


def wrapped(text: str, indent: str = "") -> list[str]:
    """Text in lines of at most ``WIDTH`` columns, broken between words."""
    lines, line = [], ""
    for word in text.split():
        if line and len(indent) + len(line) + 1 + len(word) > WIDTH:
            lines.append(indent + line)
            line = ""
        line += (" " if line else "") + word[: WIDTH - len(indent)]
    return [*lines, indent + line]


def _about(comparison: Comparison) -> list[str]:
    data = comparison.data
    text = (
        f"{data.name}: {data.sessions:,} sessions, {data.anomalies:,} anomalies, {data.distinct:,} distinct "
        f"sequences, {data.with_unseen:,} sessions with unseen events; excluded: {left_out(data.excluded)}"
    )
    if any(weight != [1.0, 1.0] for weight in data.weights.values()):
        told = (
            f"{kind} {low:g}" if low == high else f"{kind} {low:g} to {high:g}"
            for kind, (low, high) in data.weights.items()
        )
        text += f"; weights: {', '.join(told)}"
    return wrapped(text) + (wrapped(copies(data)) if copies(data) else [])


def _measures(whole: SliceFigures) -> list[str]:
    widths = [6, 7, 7, 7, 7, 7, 7, 9, 8, 6, 6]
    heads = ["F1", "prec.", "recall", "AP", "AUROC", "MCC", "acc.", "FA rate", "al./day", "@20", "@100"]
    lines = [_line("all sessions", heads, widths)]
    for row in whole.rows:
        f = row.figures
        shares = (f.f1, f.precision, f.recall, f.average_precision, f.auroc, f.mcc, f.accuracy)
        cells = [figure(value) for value in shares]
        cells += [rate(f.false_alarm_rate), amount(f.alarms_per_day)]
        cells += [figure(f.precision_at_20), figure(f.precision_at_100)]
        lines.append(_line(_name(row), cells, widths))
    return lines


def _intervals(whole: SliceFigures, comparison: Comparison) -> list[str]:
    heads = ["F1", "prec.", "recall", "AP", "AUROC", "MCC", "false alarms"]
    widths = [10, 10, 10, 10, 10, 12, 15]
    lines = [_line(f"{comparison.level:.0%} intervals", heads, widths)]
    for row in whole.rows:
        measures = ("f1", "precision", "recall", "average_precision", "auroc", "mcc")
        cells = [span(row.intervals.get(name)) for name in measures]
        cells.append(rate_span(row.intervals.get("false_alarm_rate")))
        lines.append(_line(_name(row), cells, widths))
    return lines


def _counts(whole: SliceFigures) -> list[str]:
    widths = [9, 9, 9, 11, 9, 9, 9, 11]
    weighted = any(
        abs(getattr(row.figures.raw, kind) - getattr(row.figures.weighted, kind)) > 1e-6
        for row in whole.rows
        for kind in ("tp", "fp", "fn", "tn")
    )
    heads = ["tp", "fp", "fn", "tn"] + (["w. tp", "w. fp", "w. fn", "w. tn"] if weighted else [])
    lines = [_line("sessions (w.: weighted)" if weighted else "sessions", heads, widths)]
    for row in whole.rows:
        raw, heavy = row.figures.raw, row.figures.weighted
        cells = []
        for count, width in zip((raw.tp, raw.fp, raw.fn, raw.tn), widths, strict=False):
            exact = f"{count:,}"
            cells.append(exact if len(exact) < width else amount(count))
        if weighted:
            cells += [amount(n) for n in (heavy.tp, heavy.fp, heavy.fn, heavy.tn)]
        lines.append(_line(_name(row), cells, widths))
    return lines


def _parts(parts: Sequence[SliceFigures]) -> list[str]:
    widths = [WIDTH // 4] * len(parts)
    lines = [
        _line("F1 / AP", [part.title for part in parts], widths),
        _line("sessions", [f"{part.sessions:,}" for part in parts], widths),
        _line("anomalies", [f"{part.anomalies:,}" for part in parts], widths),
        _line("left out", [f"{sum(part.excluded.values()):,}" for part in parts], widths),
    ]
    for rows in zip(*(part.rows for part in parts), strict=True):
        cells = [f"{figure(row.figures.f1):>5} / {figure(row.figures.average_precision):>5}" for row in rows]
        lines.append(_line(_name(rows[0]), cells, widths))
    for part in parts:
        lines.extend(wrapped(f"left out of “{part.title}”: {left_out(part.excluded)}"))
    return lines


def _name(row: Row) -> str:
    return row.detector if row.kind == "model" else f" {row.detector}"


def _line(name: str, cells: Sequence[str], widths: Sequence[int]) -> str:
    if len(name) > _NAME:
        name = name[: _NAME - 1] + "…"
    line = f"{name:<{_NAME}}"
    for cell, width in zip(cells, widths, strict=False):
        line += f"{cell:>{width}}" if len(cell) < width else f" {cell}"
    return line.rstrip()
