"""The run screen: stages, the live curve, the machine, and what can be done now."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Resize

from logbert_engine.protocol import messages as m
from logbert_engine.protocol.errors import LogbertError, RunError
from logbert_tui.background import in_background
from logbert_tui.keys import Where, bindings
from logbert_tui.screens import run_notes as notes
from logbert_tui.screens import run_panels as panels
from logbert_tui.screens.confirm import ConfirmScreen
from logbert_tui.screens.console import ConsoleScreen
from logbert_tui.screens.run_beside import beside_rows
from logbert_tui.state import Part
from logbert_tui.widgets.chart import Chart, Window
from logbert_tui.widgets.frame import KeyLine, notice_rows
from logbert_tui.widgets.lines import Lines, Row
from logbert_tui.widgets.timeline import Timeline

CHART_EVERY_S = 0.25
QUESTIONS = {
    "stop": (
        "Stop this run?",
        "Finished stages and their checkpoints stay; the state within the current stage is saved, and a resume "
        "goes on from there. To leave the console and let it train on, press q instead.",
    ),
    "restart_stage": (
        "Train this stage again?",
        "The run goes back to the last completed stage. What the current stage has learned so far is lost.",
    ),
}
"""What is asked before something that a slip of a finger should not do."""
TINY = 72
"""Columns below which the machine's gauges give way to one line."""


class RunScreen(ConsoleScreen):
    """Shows the run that is followed."""

    WHERE: ClassVar[Where] = "run"
    BINDINGS: ClassVar[list[BindingType]] = bindings("run")
    CSS_PATH = "run.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._charted_at = 0.0
        self._chart_due = False
        self._whole_run = True

    def compose_content(self) -> ComposeResult:
        """Headline, stages, curve beside machine, what happened, latest lines."""
        yield Lines(id="headline")
        yield Lines(id="progress")
        yield Timeline()
        with Vertical(id="notes-box"):
            yield Lines(id="notes")
        with Horizontal(id="middle"):
            with Vertical(id="curve", classes="panel") as curve:
                curve.border_title = "loss, nats"
                yield Chart(id="chart")
            with Vertical(id="machine", classes="panel") as machine:
                machine.border_title = "machine"
                yield MachineLines()
        yield Lines(id="brief")
        with Vertical(id="card-box"):
            yield Lines(id="card")
        with Horizontal(id="latest-box"):
            with Vertical(id="latest", classes="panel") as latest:
                latest.border_title = "latest lines"
                yield LatestLines()
            with Vertical(id="beside", classes="panel") as beside:
                beside.border_title = "what the run takes"
                yield BesideLines()

    def on_resize(self, event: Resize) -> None:
        """Terminals too narrow for two columns get one."""
        self.set_class(event.size.width < TINY, "-tiny")
        self.call_after_refresh(self._paint, {"run", "metric", "resources"})

    def tick(self) -> None:
        """As everywhere; a chart that was put off is drawn when its time has come."""
        super().tick()
        if self._chart_due and time.monotonic() - self._charted_at >= CHART_EVERY_S:
            self._draw_chart()

    def refresh_state(self, changed: set[Part]) -> None:
        """Bring what changed up to date; the chart four times a second at most."""
        self._paint(changed)

    def _paint(self, changed: set[Part]) -> None:
        run = self.state.run
        about_run = bool(changed & {"run", "metric"})
        if about_run:
            self._show_heads()
            self.query_one(Timeline).draw(run)
            self._chart_due = True
            if time.monotonic() - self._charted_at >= CHART_EVERY_S or "run" in changed:
                self._draw_chart()
        if about_run or "resources" in changed:
            self.query_one(MachineLines).update()
            self.query_one(BesideLines).update()
            brief = self.query_one("#brief", Lines)
            brief.show([panels.brief_row(self.state, brief.size.width)])
        if changed & {"run", "notices"}:
            self._show_words()
        if "run" in changed:
            self.query_one(LatestLines).update()

    def _show_heads(self) -> None:
        run = self.state.run
        headline, progress = self.query_one("#headline", Lines), self.query_one("#progress", Lines)
        if run is None:
            text = (
                f"Opening {self.state.run_dir} …"
                if self.state.run_dir
                else "No run is open. Press 1 to start one or to open a recent one."
            )
            headline.show([((text, "dim"),)])
            progress.show([])
            return
        headline.show([panels.headline(run, headline.size.width)])
        progress.show([panels.progress_row(run, progress.size.width)])

    def _show_words(self) -> None:
        """What is to be noticed, and how the run ended; the latest lines give way, the curve keeps a few rows."""
        run = self.state.run
        self.query_one(KeyLine).hide(panels.idle_keys(run))
        said = notice_rows(self.state.notices[-1], self.size.width, 3) if self.state.notices else []
        words = notes.arrange(
            run,
            self.size.width,
            self.size.height - (len(said) + 1 if said else 0),
            tall=self.has_class("-tall"),
            tiny=self.has_class("-tiny"),
        )
        for name, rows in (("#notes", words.noted), ("#card", words.card)):
            if rows:
                lines = self.query_one(name, Lines)
                lines.styles.height = len(rows)
                lines.show(rows)
        self.query_one("#latest-box").styles.height = words.latest
        self.set_class(bool(words.noted), "-noted")
        self.set_class(bool(words.card), "-ended")
        self.set_class(not words.latest, "-crowded")
        self.set_class(not words.curve, "-squeezed")

    def _draw_chart(self) -> None:
        run, chart = self.state.run, self.query_one(Chart)
        chart.window = Window() if self._whole_run or run is None else panels.stage_window(run)
        chart.draw(panels.chart_data(run))
        self._charted_at, self._chart_due = time.monotonic(), False

    # Keys

    def action_scale(self) -> None:
        """Logarithmic or linear losses."""
        chart = self.query_one(Chart)
        chart.chart_scale = "linear" if chart.chart_scale == "log" else "log"
        chart.update()

    def action_zoom(self) -> None:
        """The whole run, or the current stage."""
        self._whole_run = not self._whole_run
        self._draw_chart()

    async def action_control(self, method: str) -> None:
        """Pause, resume, restart the stage, or stop, after a question."""
        if self.state.read_only:
            self.state.notice(
                "This console is read-only: start it without --read-only to steer runs.", "warning"
            )
        elif not self.state.run_dir:
            self.state.notice("No run is open. Press 1 to start one or to open a recent one.", "warning")
        elif method in QUESTIONS and self._may_lose(method):
            title, meaning = QUESTIONS[method]
            question = ConfirmScreen(title, self.state.run_dir, meaning)
            self.app.push_screen(question, lambda answer: self._ask(method) if answer else None)
        else:
            self._ask(method)

    def _may_lose(self, method: str) -> bool:
        """Whether there is something that a slip of a finger would cost."""
        run = self.state.run
        return run is not None and (run.active or (method == "restart_stage" and run.phase != "finished"))

    def _ask(self, method: str) -> None:
        in_background(self, self._control, method)

    async def _control(self, method: str) -> None:
        run_dir = self.state.run_dir
        try:
            done: m.Done = await self.link.call(method, m.RunRef(run_dir=run_dir))
        except LogbertError as error:
            run = self.state.run
            idle = method in ("pause", "stop") and run is not None and not run.active
            # a run that does nothing is in the state that was asked for, or nearly: nothing went wrong
            self.state.notice(str(error), "info" if idle and isinstance(error, RunError) else "error")
            return
        if done.message:
            self.state.notice(done.message)


class MachineLines(Lines):
    """Gauges and figures."""

    DEFAULT_CSS = """
    MachineLines { height: 1fr; }
    """

    def build(self, width: int, height: int, /) -> Sequence[Row]:
        """As many as there is room for."""
        return panels.machine_rows(_console(self).state, width, height)


class LatestLines(Lines):
    """The latest lines of record."""

    DEFAULT_CSS = """
    LatestLines { height: 1fr; }
    """

    def build(self, width: int, height: int, /) -> Sequence[Row]:
        """As many as there is room for."""
        return panels.log_rows(_console(self).state.run, width, height)


class BesideLines(Lines):
    """Documented, estimated, actual."""

    DEFAULT_CSS = """
    BesideLines { height: 1fr; }
    """

    def build(self, width: int, height: int, /) -> Sequence[Row]:
        """As many as there is room for."""
        return beside_rows(_console(self).state.run, width, height)


def _console(widget: Lines) -> ConsoleScreen:
    screen = widget.screen
    if not isinstance(screen, ConsoleScreen):  # widgets of this module live on its screen alone
        raise TypeError(f"{type(widget).__name__} on {type(screen).__name__}")
    return screen
