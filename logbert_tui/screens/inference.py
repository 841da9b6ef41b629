"""Scoring sessions with a run's checkpoint, and the ranked list of what was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical

from logbert_engine.protocol import messages as m
from logbert_engine.protocol import results
from logbert_engine.protocol.errors import DataError, LogbertError
from logbert_tui.background import in_background
from logbert_tui.keys import Where, bindings
from logbert_tui.screens.inference_fields import InferenceForm
from logbert_tui.screens.inference_panels import FileRows, Reason, Summary, Titles, progress_row
from logbert_tui.screens.judging import JudgingScreen
from logbert_tui.screens.session import SessionScreen
from logbert_tui.state import UNSEEN, Part
from logbert_tui.widgets.cells import clean
from logbert_tui.widgets.line_list import LineList
from logbert_tui.widgets.lines import Lines
from logbert_tui.widgets.pages import PAGE_ROWS, Pages
from logbert_tui.widgets.result_rows import ResultRows

NO_RUN = "No run is open. 1 chooses a preset and starts one, or opens a recent run."
NOT_YET = "Nothing was scored yet. ^S scores the input with the checkpoint above; d goes to the form."
ON_THEIR_WAY = "The results are on their way."
HOLDS_NONE = "These results hold no session."
UNREADABLE = "These results cannot be read any more. ^S scores again; o opens others."


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
        """What is being scored for this run, whichever console began it."""
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
            self._options, self._inference = None, None
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
        if first and options.results and not self._output:
            in_background(self, self._open, options.results[0].path, group="open", exclusive=True)

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

        def failed(problem: LogbertError) -> None:
            self.state.notice(str(problem), "error")
            if isinstance(problem, DataError) and output == self._output:
                self._show_results(None)
                self._say_empty(UNREADABLE)
                self._load_options()

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
        self._show_results(ResultRows(pages, first))

    def _show_results(self, source: ResultRows | None) -> None:
        """Show the ranked list, or that there is none."""
        self.remove_class("-files")
        summary, titles = self.query_one(Summary), self.query_one(Titles)
        summary.page, titles.source = source.first if source is not None else None, source
        ranked = self.query_one("#ranked", LineList)
        summary.fit(ranked.size.width or self.size.width)
        titles.styles.height = 1 if source is not None else 0
        if source is None:
            self._output = ""
        ranked.set_source(source if source is not None else FileRows((), ""))
        self._say_empty(HOLDS_NONE if source is not None else NOT_YET if self._run_dir else NO_RUN)
        self._name_results()
        self.set_class(source is not None, "-found")
        self.call_after_refresh(self._resized)

    def _say_empty(self, words: str) -> None:
        ranked = self.query_one("#ranked", LineList)
        ranked.empty = ON_THEIR_WAY if words == NOT_YET and self._inference is not None else words
        ranked.repaint()

    def _name_results(self) -> None:
        name = self._output.removeprefix(self._run_dir.rstrip("/") + "/")
        self.query_one("#results").border_title = clean(name) if name else "results"

    def on_resize(self) -> None:
        """The summary takes more rows or fewer, and the columns change."""
        self.call_after_refresh(self._resized)

    def _resized(self) -> None:
        summary = self.query_one(Summary)
        summary.fit(summary.size.width)
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
        """Show how far the inference is, whoever began it; when it has ended, show what it found."""
        running = self._inference
        last = self.state.inference.get(running.id) if running is not None else None
        if running is not None and last is not None and last.state != "running":
            self._inference = None
            self._ended(last, running.output)
        if self._inference is None and (found := self.state.scoring) is not None:
            self._inference = m.InferenceRef(id=found.id, output=found.output)
        self._show_progress()

    def _show_progress(self) -> None:
        line, running = self.query_one("#progress", Lines), self._inference
        line.display = running is not None
        if running is not None:
            starting = m.InferenceProgress(id=running.id, phase="starting", done=0, total=0)
            shown = self.state.inference.get(running.id, starting)
            line.show([progress_row(shown, line.size.width or self.size.width)])
        summary = self.query_one(Summary)
        if summary.outdated != (running is not None):
            summary.outdated = running is not None
            self.query_one(InferenceForm).busy(summary.outdated)
            self._resized()
            if not self._output:
                self._say_empty(NOT_YET)

    def _ended(self, last: m.InferenceProgress, output: str) -> None:
        if last.state == "finished":
            in_background(self, self._open, output, group="open", exclusive=True)
        elif last.message == "cancelled":
            self.state.notice("The inference was cancelled; no results were written.")
        elif last.message == UNSEEN:
            self.state.notice(
                "The inference ended while the engine was away: o shows its results if it came to its end, "
                "^S scores again.",
                "warning",
            )
        else:
            self.state.notice(f"The inference failed: {last.message}", "error")
        self._load_options()

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
        self._name_results()
        self.call_after_refresh(self.query_one("#ranked").focus)

    def take_back(self) -> bool:
        """Esc leaves the form or the earlier results for the ranked list."""
        if self.has_class("-files") or self.focused is not self.query_one("#ranked"):
            self._to_ranked()
            return True
        return False
