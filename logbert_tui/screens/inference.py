"""Scoring sessions with a run's checkpoint, and the ranked list of what was found."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical

from logbert_engine.protocol import messages as m
from logbert_engine.protocol import results
from logbert_engine.protocol.errors import LogbertError
from logbert_tui.background import in_background
from logbert_tui.figures import ago, count, size
from logbert_tui.keys import Where, bindings
from logbert_tui.screens.inference_fields import InferenceForm
from logbert_tui.screens.judging import JudgingScreen
from logbert_tui.screens.session import SessionScreen
from logbert_tui.state import Part
from logbert_tui.widgets.cells import clean, fit
from logbert_tui.widgets.line_list import MARK_WIDTH, LineList
from logbert_tui.widgets.lines import Lines, Row
from logbert_tui.widgets.pages import PAGE_ROWS, Pages
from logbert_tui.widgets.result_rows import ResultRows, heading, summary_spans
from logbert_tui.widgets.rows import Span

BAR = 24
NO_RUN = "No run is open. 1 chooses a preset and starts one, or opens a recent run."
NOT_YET = "Nothing was scored yet. ^S scores the input with the checkpoint above; d goes to the form."
UNREAD = "These results hold no session."


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

    def build(self, width: int, _height: int, /) -> Sequence[Row]:
        """As many rows as they need."""
        return [] if self.page is None else [tuple(row) for row in summary_spans(self.page, width)]


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


class InferenceScreen(JudgingScreen):
    """Scores sessions and shows them ranked; earlier results are opened without scoring again."""

    WHERE: ClassVar[Where] = "inference"
    BINDINGS: ClassVar[list[BindingType]] = bindings("inference")
    CSS_PATH = "inference.tcss"
    AUTO_FOCUS = "#ranked"

    def __init__(self) -> None:
        super().__init__()
        self._run_dir = ""
        self._options: m.InferenceOptions | None = None
        self._inference: m.InferenceRef | None = None
        self._output = ""
        """The results that are shown."""

    def compose_content(self) -> ComposeResult:
        """The form, how far an inference is, and the ranked list or the earlier results."""
        with Vertical(id="setup", classes="panel") as setup:
            setup.border_title = "score sessions"
            yield InferenceForm()
            yield Lines(id="progress")
        with Vertical(id="results", classes="panel") as found:
            found.border_title = "results"
            yield Summary()
            yield Titles()
            yield LineList(id="ranked", empty=NO_RUN)
            yield LineList(id="files", empty="This run has no results yet.")
            yield Reason()

    def on_mount(self) -> None:
        """Sessions are shown on a screen of their own."""
        if not self.app.is_screen_installed("session"):
            self.app.install_screen(SessionScreen(), "session")

    # What the engine says

    def refresh_state(self, changed: set[Part]) -> None:
        """Another run, or an inference that got on."""
        if self.state.run_dir != self._run_dir:
            self._run_dir = self.state.run_dir
            self._options, self._output = None, ""
            self._show_results(None)
            self._load_options()
        elif "connection" in changed and self.state.connection == "connected":
            self._load_options()
        if "inference" in changed:
            self._progress()

    def on_screen_resume(self) -> None:
        """Checkpoints may have been written while another screen was shown."""
        super().on_screen_resume()
        self._load_options()
        self.after_verdict()

    def _load_options(self) -> None:
        if self._run_dir:
            in_background(self, self._read_options, self._run_dir, group="options", exclusive=True)

    async def _read_options(self, run_dir: str) -> None:
        try:
            options: m.InferenceOptions = await self.link.call("inference_options", m.RunRef(run_dir=run_dir))
        except LogbertError as error:
            self.state.notice(str(error), "error")
            return
        first = self._options is None
        self._options = options
        taken = {file.path for file in options.results}
        self.query_one(InferenceForm).offer(run_dir, options.checkpoints, taken, options.data)
        self.query_one("#files", LineList).set_source(FileRows(options.results, run_dir))
        ranked = self.query_one("#ranked", LineList)
        ranked.empty = NOT_YET
        ranked.repaint()
        if first and options.results and not self._output and self._inference is None:
            await self._open(options.results[0].path)

    # Results

    def _fetch_into(self, output: str) -> tuple[Pages[results.ResultRow], list[results.ResultsPage]]:
        """Pages of a results file, and the first answer once it is there."""
        answers: list[results.ResultsPage] = []

        async def fetch(offset: int, most: int) -> Sequence[results.ResultRow]:
            rows: list[results.ResultRow] = []
            while len(rows) < most:
                asked = results.ReadResults(output=output, offset=offset + len(rows), most=most - len(rows))
                page: results.ResultsPage = await self.link.call("read_results", asked)
                answers.append(page)
                rows += page.rows
                if not page.rows or offset + len(rows) >= page.total:
                    break
            return rows

        def failed(problem: str) -> None:
            self.state.notice(problem, "error")

        def arrived() -> None:
            self.query_one("#ranked", LineList).rows_arrived()
            self._show_reason()

        return Pages(fetch, self.run_worker, arrived, failed), answers

    async def _open(self, output: str) -> None:
        """Show a results file from its highest score on."""
        pages, answers = self._fetch_into(output)
        try:
            rows = await pages.fetch(0, PAGE_ROWS)
        except LogbertError as error:
            self.state.notice(str(error), "error")
            return
        first = answers[0]
        first.rows = list(rows)
        pages.count = first.total
        pages.put(0, rows)
        self._output = output
        self._show_results(first, ResultRows(pages, first))

    def _show_results(self, page: results.ResultsPage | None, source: ResultRows | None = None) -> None:
        """Show the ranked list, or that there is none."""
        self.remove_class("-files")
        summary, titles = self.query_one(Summary), self.query_one(Titles)
        summary.page, titles.source = page, source
        width = self.query_one("#ranked").size.width or self.size.width
        summary.styles.height = len(summary_spans(page, width)) if page is not None else 0
        titles.styles.height = 1 if page is not None else 0
        ranked = self.query_one("#ranked", LineList)
        ranked.empty = UNREAD if page is not None else (NOT_YET if self._run_dir else NO_RUN)
        if source is not None:
            ranked.set_source(source)
        else:
            ranked.set_source(FileRows((), ""))
        name = self._output.removeprefix(self._run_dir.rstrip("/") + "/")
        self.query_one("#results").border_title = clean(name) if name else "results"
        self.set_class(source is not None, "-found")
        self.call_after_refresh(self._resized)

    def on_resize(self) -> None:
        """The summary takes more rows or fewer, and the columns change."""
        self.call_after_refresh(self._resized)

    def _resized(self) -> None:
        summary = self.query_one(Summary)
        if summary.page is not None:
            summary.styles.height = len(summary_spans(summary.page, summary.size.width))
        summary.update()
        self.query_one(Titles).update()
        self._show_reason()

    @on(LineList.Moved, "#ranked")
    def _show_reason(self) -> None:
        reason, ranked = self.query_one(Reason), self.query_one("#ranked", LineList)
        source = ranked.source
        reason.result = source.result(ranked.cursor) if isinstance(source, ResultRows) else None
        reason.update()

    @on(LineList.Chosen, "#files")
    def _file_chosen(self, event: LineList.Chosen) -> None:
        files = cast("FileRows", self.query_one("#files", LineList).source).files
        self._to_ranked()
        in_background(self, self._open, files[event.index].path, group="open", exclusive=True)

    @on(LineList.Chosen, "#ranked")
    async def _session_chosen(self, event: LineList.Chosen) -> None:
        total = event.line_list.source.count
        self.console.get_screen("session", SessionScreen).open(self._output, event.index, total)
        await self.console.show("session")

    # Scoring

    @on(InferenceForm.Start)
    def _start_pressed(self) -> None:
        self.action_start()

    def action_start(self) -> None:
        """Score as the form says."""
        if self._inference is not None:
            self.state.notice("An inference runs already; c cancels it.", "warning")
            return
        if not self._run_dir:
            self.state.notice(NO_RUN, "warning")
            return
        home = self.state.engine.home if self.state.engine is not None else ""
        try:
            spec = self.query_one(InferenceForm).spec(home)
        except LogbertError as error:
            self.state.notice(str(error), "warning")
            return
        self.state.dismiss()
        in_background(self, self._start, spec, group="start", exclusive=True)

    async def _start(self, spec: m.InferSpec) -> None:
        self.query_one(InferenceForm).busy(True)
        self.state.inference.clear()  # another engine counts from 1 again
        try:
            self._inference = await self.link.call("start_inference", spec)
        except LogbertError as error:
            self.query_one(InferenceForm).busy(False)
            self.state.notice(str(error), "error")
            return
        self.query_one("#ranked").focus()
        self._progress()

    def _progress(self) -> None:
        """Show how far the inference is; when it has ended, show what it found."""
        if self._inference is None:
            return
        progress = self.state.inference.get(self._inference.id)
        line = self.query_one("#progress", Lines)
        if progress is None or progress.state == "running":
            line.display = True
            shown = progress or m.InferenceProgress(id=self._inference.id, phase="starting", done=0, total=0)
            line.show([progress_row(shown, line.size.width or self.size.width)])
            return
        output, self._inference = self._inference.output, None
        line.display = False
        self.query_one(InferenceForm).busy(False)
        if progress.state == "finished":
            in_background(self, self._open, output, group="open", exclusive=True)
            self._load_options()
        elif progress.message == "cancelled":
            self.state.notice("The inference was cancelled; no results were written.")
        else:
            self.state.notice(f"The inference failed: {progress.message}", "error")

    async def action_cancel(self) -> None:
        """End the inference that runs."""
        if self._inference is None:
            self.state.notice("No inference runs.")
            return
        in_background(self, self._cancel, self._inference, group="cancel", exclusive=True)

    async def _cancel(self, running: m.InferenceRef) -> None:
        try:
            await self.link.call("cancel_inference", running)
        except LogbertError as error:
            self.state.notice(str(error), "error")

    # Verdicts

    def judged_session(self) -> tuple[str, int] | None:
        """The one that the cursor is on."""
        ranked = self.query_one("#ranked", LineList)
        there = isinstance(ranked.source, ResultRows) and ranked.source.count
        return (self._output, ranked.cursor) if there and not self.has_class("-files") else None

    def after_verdict(self) -> None:
        """Others than the session of the cursor may be of the same events."""
        ranked = self.query_one("#ranked", LineList)
        if isinstance(ranked.source, ResultRows):
            ranked.source.renew(ranked.cursor)

    # Keys

    def action_form(self) -> None:
        """To the form."""
        self.query_one("#inputs").focus()

    def action_ranked(self) -> None:
        """To the ranked list."""
        self._to_ranked()

    def action_results(self) -> None:
        """Show the earlier results in place of the ranked list, and back."""
        if self.has_class("-files"):
            self._to_ranked()
            return
        self.add_class("-files")
        self.query_one("#results").border_title = "earlier results: Enter opens"
        self.call_after_refresh(self.query_one("#files").focus)

    def _to_ranked(self) -> None:
        self.remove_class("-files")
        name = self._output.removeprefix(self._run_dir.rstrip("/") + "/")
        self.query_one("#results").border_title = clean(name) if name else "results"
        self.call_after_refresh(self.query_one("#ranked").focus)

    def take_back(self) -> bool:
        """Esc leaves the form or the earlier results for the ranked list."""
        if self.has_class("-files") or self.focused is not self.query_one("#ranked"):
            self._to_ranked()
            return True
        return False
