"""The ranked list of sessions: which columns fit, and what stands in them. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from logbert_engine.protocol.results import ResultRow, ResultsPage
from logbert_tui.figures import NONE, count, moment
from logbert_tui.widgets.cells import clean, fit, width_of
from logbert_tui.widgets.pages import Pages
from logbert_tui.widgets.rows import Span
from logbert_tui.widgets.session_rows import probability

LONGEST_ID = 24
LEAST_REASON = 40
"""Cells; a column goes before the reason gets narrower."""
GAP = "  "
MOST_MIND = 4
"""Rows that one thing to mind may take."""

Part = list[tuple[str, str]]
"""Texts with the names of their styles."""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        title: Its heading.
        width: Cells.
        right: Whether figures stand at the right edge.
        keep: The column with the lowest number goes first where room is short; 9 stays.
        text: What stands in it.
        tone: The tone of it.
    """

    title: str
    width: int
    right: bool
    keep: int
    text: Callable[[ResultRow], str]
    tone: Callable[[ResultRow], str] = lambda _: ""


VERDICTS = {"normal": "✓ normal", "anomaly": "✗ agreed", "ignore": "– ignored", "suppress": "– silent"}
"""What people judged, as the list shows it."""


def _anomaly_tone(row: ResultRow) -> str:
    if row.verdict:
        return {"normal": "good", "anomaly": "bad"}.get(row.verdict, "dim")
    return "bad" if row.is_anomaly else "dim"


def _verdict(row: ResultRow) -> str:
    return VERDICTS.get(row.verdict, "✗ anomaly" if row.is_anomaly else "")


def result_columns(
    rows: Sequence[ResultRow], total: int, width: int, *, by_evidence: bool = False
) -> list[Column]:
    """The columns that fit, the reason last.

    Args:
        rows: Some of the rows, from which the widths are taken.
        total: How many sessions there are, for the width of the rank.
        width: Cells in all.
        by_evidence: Whether the list is ranked by the evidence, within a budget, instead of the score.
    """

    def longest(texts: list[str], least: int, most: int) -> int:
        return min(most, max([least, *map(width_of, texts)]))

    columns = [
        Column("#", max(2, len(count(total))), True, 9, lambda row: count(row.rank + 1), lambda _: "dim"),
        Column("evidence", 8, True, 9, lambda row: f"{row.evidence:.2f}", _anomaly_tone)
        if by_evidence
        else Column("score", 7, True, 9, lambda row: f"{row.anomaly_score:.2f}", _anomaly_tone),
        Column("anomaly", 9, False, 3, _verdict, _anomaly_tone),
        Column(
            "session",
            longest([clean(str(row.session_id)) for row in rows], 7, LONGEST_ID),
            False,
            9,
            lambda row: clean(str(row.session_id)),
        ),
    ]
    if any(row.service_name for row in rows):
        names = [clean(row.service_name or "") for row in rows]
        columns.append(
            Column("service", longest(names, 7, 12), False, 5, lambda row: clean(row.service_name or NONE))
        )
    if any(row.timestamp for row in rows):
        times = [clean(row.timestamp or "") for row in rows]
        columns.append(
            Column("time", longest(times, 5, 19), False, 2, lambda row: clean(row.timestamp or NONE), _dim)
        )
    columns.append(Column("events", 6, True, 6, lambda row: count(row.length)))
    if any(row.identical > 1 for row in rows):
        columns.append(Column("same", 6, True, 4, _identical, _dim))
    if any(row.unseen_events for row in rows):
        columns.append(Column("unseen", 6, True, 7, _unseen, lambda _: "warn"))
    if any(row.label is not None for row in rows):
        columns.append(
            Column("label", 5, True, 1, lambda row: NONE if row.label is None else str(row.label), _dim)
        )

    def taken() -> int:
        return sum(column.width + len(GAP) for column in columns)

    while width - taken() < LEAST_REASON:
        least = min(columns, key=lambda column: column.keep)
        if least.keep == 9:
            break
        columns.remove(least)
        if least.title == "anomaly":
            columns.insert(2, Column("", 1, False, 9, lambda row: _verdict(row)[:1], _anomaly_tone))
    columns.append(Column("reason", max(8, width - taken()), False, 9, lambda row: clean(row.reason)))
    return columns


def _dim(_row: ResultRow) -> str:
    return "dim"


def _identical(row: ResultRow) -> str:
    return f"×{row.identical:,}" if row.identical > 1 else ""


def _unseen(row: ResultRow) -> str:
    return count(row.unseen_events) if row.unseen_events else ""


def heading(columns: Sequence[Column]) -> list[Span]:
    """The titles of the columns."""
    return [Span(fit(column.title, column.width, right=column.right) + GAP, "dim") for column in columns]


def result_spans(row: ResultRow, columns: Sequence[Column]) -> list[Span]:
    """A row of the list."""
    return [
        Span(fit(column.text(row), column.width, right=column.right) + GAP, column.tone(row))
        for column in columns
    ]


def summary_spans(
    page: ResultsPage, width: int, *, brief: bool = False, outdated: bool = False
) -> list[list[tuple[str, str]]]:
    """What all sessions of the results come to, in as few rows as their parts fit into.

    Args:
        page: the results, with the figures of the whole file.
        width: cells.
        brief: whether there is room for the first words only of what is to be minded.
        outdated: whether newer results are on their way.
    """
    share = page.anomalies / page.total if page.total else 0.0
    found: Part = [
        (f"✗ {count(page.anomalies)} {'anomaly' if page.anomalies == 1 else 'anomalies'}", "bad")
        if page.anomalies
        else ("no anomaly", "good"),
        (f" ({share:.2%} of this input)", "dim"),
    ]
    spread: Part = [("score", "dim")]
    for name, value in (
        ("mean", page.mean),
        ("deviation", page.deviation),
        ("min", page.lowest),
        ("max", page.highest),
    ):
        spread += [(f"  {name} ", "dim"), (f"{value:.2f}", "")]
    before: Part = (
        [(f" ▲ results of before, written {moment(page.written_at)}  ", "warn")] if outdated else []
    )
    rows = [[*before, (f" {count(page.total)} session{'' if page.total == 1 else 's'}", "strong")]]
    for part in (found, _limit(page, width - 1), spread):
        if _cells(rows[-1]) + 3 + _cells(part) <= width:
            rows[-1] += [("   ", ""), *part]
        else:
            rows.append([(" ", ""), *part])
    rows += _mind(page.drift, width)
    for words, end in ((page.tails, ":"), (page.unused, ";")):
        rows += _mind(words.partition(end)[0], width, 1) if brief else _mind(words, width)
    return rows


def _limit(page: ResultsPage, room: int) -> Part:
    """What alarms, and on how many ordinary sessions; with an interval in as many words as there is room for."""
    begin: Part = []
    if page.threshold is not None:
        begin = [("threshold ", "dim"), (f"{page.threshold:.2f}", "")]
    elif page.budget is not None:
        begin = [("budget ", "dim"), (f"{page.budget * 100:.4g}%", "")]
    if page.false_alarm_rate is None:
        return begin
    rate, of = f"≈{probability(page.false_alarm_rate)}", "of ordinary sessions"
    choices = [f" (alarms on {rate} {of})"]
    if page.false_alarm_span is not None:
        low, high = (probability(share) if share else "0%" for share in page.false_alarm_span)
        choices = [
            f" (alarms on {rate} {of}, {low} to {high} with 95% confidence)",
            f" (alarms on {rate} {of}, 95%: {low} to {high})",
            f" ({rate} {of}, 95%: {low} to {high})",
            f" ({rate}, 95%: {low} to {high})",
        ]
    fitting = (words for words in choices if _cells(begin) + width_of(words) <= room)
    return [*begin, (next(fitting, choices[-1]), "dim")]


def _cells(part: Part) -> int:
    return sum(width_of(text) for text, _ in part)


def _mind(words: str, width: int, most: int = MOST_MIND) -> list[Part]:
    """A sentence to mind, in some rows at most; none where it is empty."""
    room = max(20, width - 4)
    lines = textwrap.wrap(clean(words[:1].upper() + words[1:]), room)
    if len(lines) > most:
        lines = [*lines[: most - 1], fit(" ".join(lines[most - 1 :]), room)]
    return [[(f" {'  ' if y else '▲ '}{line}", "warn")] for y, line in enumerate(lines)]


class ResultRows:
    """A results file as the source of a list: pages of it, fetched as they come into view."""

    def __init__(self, pages: Pages[ResultRow], first: ResultsPage) -> None:
        self._pages = pages
        self.first = first
        """The first page, with the figures of the whole file."""
        self._columns: list[Column] = []
        self._width = 0

    @property
    def count(self) -> int:
        """Sessions in the file."""
        return self.first.total

    def columns(self, width: int) -> list[Column]:
        """The columns at a width."""
        if width != self._width:
            self._width = width
            self._columns = result_columns(
                self.first.rows, self.first.total, width, by_evidence=self.first.budget is not None
            )
        return self._columns

    def row(self, index: int, width: int) -> Sequence[Span] | None:
        """A session, or None while its page is on its way."""
        row = self._pages.get(index)
        return None if row is None else result_spans(row, self.columns(width))

    def result(self, index: int) -> ResultRow | None:
        """A session, or None while its page is on its way."""
        return self._pages.get(index)

    def request(self, first: int, last: int) -> None:
        """Fetch what comes into view."""
        self._pages.request(first, last)

    def renew(self, index: int) -> None:
        """Fetch what stands around a row again."""
        self._pages.renew(index)
