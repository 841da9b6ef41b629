"""What the inference screen is made of below its form: progress, summary, titles, reason, earlier results."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from logbert_engine.protocol import messages as m
from logbert_engine.protocol import results
from logbert_tui.figures import ago, count, size
from logbert_tui.screens.console import TALL
from logbert_tui.widgets.cells import clean, fit
from logbert_tui.widgets.line_list import MARK_WIDTH, LineList
from logbert_tui.widgets.lines import Lines, Row
from logbert_tui.widgets.result_rows import ResultRows, heading, summary_spans
from logbert_tui.widgets.rows import Span

BAR = 24


class FileRows:
    """Earlier results as the source of a list."""

    def __init__(self, files: Sequence[m.ResultsFile], run_dir: str) -> None:
        self.files, self._run_dir = files, run_dir

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.files)

    def row(self, index: int, width: int) -> Sequence[Span]:
        """When, how large, where."""
        file = self.files[index]
        name = clean(file.path.removeprefix(self._run_dir.rstrip("/") + "/"))
        when, large = fit(ago(file.written_at), 11), fit(size(file.size), 9, right=True)
        return [Span(f"{when}{large}  ", "dim"), Span(fit(name, max(8, width - 22)))]

    def request(self, first: int, last: int) -> None:
        """Everything is here."""


def progress_row(progress: m.InferenceProgress, width: int) -> Row:
    """How far an inference is: a bar, a share and figures."""
    share = min(1.0, progress.done / progress.total) if progress.total else 0.0
    bar = min(BAR, max(6, width - 44))
    full = round(share * bar)
    row = [(f" {clean(progress.phase)} ", ""), ("━" * full, "accent"), ("─" * (bar - full), "faint")]
    if progress.total:
        row.append((f" {share:4.0%}", "strong"))
        row.append((f"  {count(progress.done)} of {count(progress.total)}", "dim"))
    if width >= 80:
        row.append(("   c cancels", "dim"))
    return tuple(row)


class Titles(Lines):
    """The titles of the list's columns."""

    source: ResultRows | None = None

    def build(self, width: int, _height: int, /) -> Sequence[Row]:
        """One row; none while no results are shown."""
        if self.source is None:
            return []
        # The list keeps a column for its scroll mark when it is longer than the view.
        room = width - MARK_WIDTH - (self.source.count > self.screen.query_one("#ranked", LineList).page)
        return [((" " * MARK_WIDTH, ""), *heading(self.source.columns(room)))]


class Summary(Lines):
    """What the results come to."""

    page: results.ResultsPage | None = None
    outdated = False
    """Whether newer results are on their way."""

    def fit(self, width: int) -> None:
        """Take as many rows as the words need."""
        self.styles.height = len(self.build(width, 0))
        self.update()

    def build(self, width: int, _height: int, /) -> Sequence[Row]:
        """As many rows as they need."""
        if self.page is None:
            return []
        brief = self.screen.size.height < TALL
        return [tuple(row) for row in summary_spans(self.page, width, brief=brief, outdated=self.outdated)]


class Reason(Lines):
    """The whole reason of the session that the cursor is on, which its row may have cut."""

    result: results.ResultRow | None = None

    def build(self, width: int, height: int, /) -> Sequence[Row]:
        """As many rows as there are."""
        row = self.result
        if row is None:
            return []
        facts = (str(row.session_id), row.service_name, row.timestamp)
        head = [((" " + "  ".join(clean(fact) for fact in facts if fact), "dim"),)] if height > 2 else []
        lines = textwrap.wrap(clean(row.reason), max(10, width - 2))
        room = height - len(head)
        if len(lines) > room:
            lines = [*lines[: room - 1], fit(" ".join(lines[room - 1 :]), width - 2)]
        return [*head, *(((" " + line, "warn" if row.is_anomaly else ""),) for line in lines)]
