"""The comparison as lines of plain text, for a terminal of 100 columns."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from logbert_engine.evaluation.comparison import Comparison, Row, SliceFigures
from logbert_engine.evaluation.wording import (
    amount,
    cautions,
    counts,
    excluded,
    facts,
    false_alarms,
    figure,
    measures,
    not_in,
    title,
    verdict,
)

WIDTH = 100
_NAME = 23


def table(comparison: Comparison) -> list[str]:
    """Lines of at most ``WIDTH`` columns: the verdict, all sessions in full, the slices, the oracle.

    The verdict stands in the end again: the beginning has scrolled away when a command ends.
    """
    whole, *parts = comparison.slices
    judged = [verdict(comparison), *wrapped(comparison.sentence)]
    return [
        *wrapped(title(comparison)),
        *judged,
        *wrapped(false_alarms(comparison)),
        "",
        *wrapped("; ".join(facts(comparison.data))),
        *wrapped(excluded(comparison.data)),
        *(line for told in cautions(comparison) for line in wrapped(told)),
        "",
        *_measures(whole),
        "",
        *_intervals(whole, comparison),
        "",
        *_counts(whole),
        "",
        *_parts(parts),
        "",
        "oracle F1, optimistic: the threshold is chosen by the labels, so nobody gets it in use",
        *(_line(row.detector, [figure(row.figures.oracle_f1)], [7]) for row in whole.rows),
        "",
        *judged,
    ]


def wrapped(text: str) -> list[str]:
    """Text in lines of at most ``WIDTH`` columns, broken between words; a longer word, as of a path, stays whole."""
    return wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _measures(whole: SliceFigures) -> list[str]:
    widths = [6, 7, 7, 7, 7, 7, 7, 9, 8, 6, 6]
    heads = ["F1", "prec.", "recall", "AP", "AUROC", "MCC", "acc.", "FA rate", "al./day", "@20", "@100"]
    rows = (_line(_name(row), [value for value, _ in measures(row)], widths) for row in whole.rows)
    return [_line("all sessions", heads, widths), *rows]


def _intervals(whole: SliceFigures, comparison: Comparison) -> list[str]:
    heads = ["F1", "prec.", "recall", "AP", "AUROC", "MCC", "false alarms"]
    widths = [10, 10, 10, 10, 10, 12, 15]
    rows = (_line(_name(row), [span for _, span in measures(row) if span], widths) for row in whole.rows)
    return [_line(f"{comparison.level:.0%} intervals", heads, widths), *rows]


def _counts(whole: SliceFigures) -> list[str]:
    widths = [9, 9, 9, 11, 9, 9, 9, 11]
    weighted = any(weight for row in whole.rows for _, weight in counts(row))
    heads = ["tp", "fp", "fn", "tn"] + (["w. tp", "w. fp", "w. fn", "w. tn"] if weighted else [])
    lines = [_line("sessions (w.: weighted)" if weighted else "sessions", heads, widths)]
    for row in whole.rows:
        cells = []
        for (count, _), width in zip(counts(row), widths, strict=False):
            exact = f"{count:,}"
            cells.append(exact if len(exact) < width else amount(count))
        if weighted:
            cells += [weight or amount(count) for count, weight in counts(row)]
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
        lines.extend(wrapped(not_in(part)))
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
