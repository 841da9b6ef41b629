"""The logs of a run: the whole run's and each stage's, live."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Label

from logbert_engine.protocol import messages as m
from logbert_engine.protocol.errors import LogbertError
from logbert_tui.background import in_background
from logbert_tui.figures import keep_end, percent, size
from logbert_tui.keys import Where, bindings
from logbert_tui.screens.console import ConsoleScreen
from logbert_tui.state import Part
from logbert_tui.widgets.lines import Lines, Row, spread, width_of
from logbert_tui.widgets.log_seek import Step
from logbert_tui.widgets.log_view import LogView
from logbert_tui.widgets.text_field import TextField

POLL_S = 0.25
FILES_EVERY_S = 2.0
SIDE_STEP = 8

_STAMP = re.compile(r"_(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)$")
_STAGE = re.compile(r"^stage_(\d+)_(\d+)pct$")


def file_labels(files: Sequence[m.LogFile]) -> list[str]:
    """A short name for each log; those of several attempts carry their time."""
    bases, times = [], []
    for file in files:
        path = PurePosixPath(file.name)
        stem = path.stem if path.suffix == ".log" else path.name
        stamp = _STAMP.search(stem)
        base = stem[: stamp.start()] if stamp else stem
        stage = _STAGE.match(base)
        if stage:
            base = f"stage {stage[1]} {stage[2]}%"
        elif base == "progressive_training":
            base = "run"
        bases.append(base)
        times.append(f"{stamp[2]}-{stamp[3]} {stamp[4]}:{stamp[5]}:{stamp[6]}" if stamp else "")
    often = Counter(bases)
    return [
        f"{base} {when}" if often[base] > 1 and when else base
        for base, when in zip(bases, times, strict=True)
    ]


def file_row(files: Sequence[m.LogFile], current: int, width: int) -> Row:
    """The logs side by side, the one that is shown marked and always in view."""
    if not files:
        return ((" No log yet", "dim"),)
    labels = file_labels(files)
    place = f" {current + 1}/{len(files)} "
    room = width - len(place) - 4
    first = last = current
    used = len(labels[current]) + 2
    while True:
        after = len(labels[last + 1]) + 2 if last + 1 < len(labels) else width
        before = len(labels[first - 1]) + 2 if first > 0 else width
        if used + after <= room:
            last, used = last + 1, used + after
        elif used + before <= room:
            first, used = first - 1, used + before
        else:
            break
    row: list[tuple[str, str]] = [(place, "dim"), ("‹ " if first else "  ", "accent")]
    row.extend(
        (f" {labels[index]} ", "mark" if index == current else "dim") for index in range(first, last + 1)
    )
    if last + 1 < len(labels):
        row.append((" ›", "accent"))
    return tuple(row)


def status_row(view: LogView, name: str, width: int) -> Row:
    """Whether the log is followed, what a search found, and where in the file the view is."""
    buffer = view.buffer
    left: list[tuple[str, str]] = [
        (" ● following ", "good") if view.follow else (" ‖ held ", "warn"),
    ]
    if view.searched is not None:
        left.append((f" searching {percent(view.searched)}, Esc stops ", "accent"))
    if view.says:
        left.append((f" {view.says} ", "warn"))
    if view.pattern is not None and view.searched is None:
        place, count = view.counted()
        more = "" if buffer.at_start and buffer.at_end else "+"
        of = f"{place} of {count:,}{more}" if place else f"{count:,}{more}"
        left.append((f" match {of} " if place else f" {of} match{'' if count == 1 else 'es'} ", "accent"))
    if view.problem and buffer.lines:
        left.append((f" {view.problem} ", "bad"))
    right: list[tuple[str, str]] = []
    if view.left:
        right.append((f"column {view.left + 1}  ", "dim"))
    if buffer.size:
        right.append((f"{size(buffer.size)} ", "dim"))
    room = width - width_of(tuple(left)) - width_of(tuple(right)) - 3
    if name and room >= 12:
        right.insert(0, (keep_end(name, room) + "  ", "dim"))
    return spread(tuple(left), tuple(right), width)


class StatusLine(Lines):
    """The line below the log."""

    DEFAULT_CSS = """
    StatusLine { background: $surface; }
    """

    name_shown = ""

    def build(self, width: int, _height: int, /) -> Sequence[Row]:
        """One row."""
        return [status_row(self.screen.query_one(LogView), self.name_shown, width)]


class FileLine(Lines):
    """The line above the log: which logs there are."""

    files: Sequence[m.LogFile] = ()
    current = 0

    def build(self, width: int, _height: int, /) -> Sequence[Row]:
        """One row."""
        return [file_row(self.files, self.current, width)]


class LogsScreen(ConsoleScreen):
    """Shows one log at a time, by default the whole run's latest."""

    WHERE: ClassVar[Where] = "logs"
    BINDINGS: ClassVar[list[BindingType]] = bindings("logs")
    CSS_PATH = "logs.tcss"
    AUTO_FOCUS = "LogView"

    def __init__(self) -> None:
        super().__init__()
        self._run_dir = ""
        self._files: list[m.LogFile] = []
        self._log = ""
        """The log that is shown."""
        self._reading = False
        self._listed_at = 0.0
        self._problem = ""

    def compose_content(self) -> ComposeResult:
        """Names, the log, its status, and the search when it is open."""
        yield FileLine()
        yield LogView()
        yield StatusLine()
        with Horizontal(id="search-row"):
            yield Label("/")
            yield TextField(
                placeholder="regular expression; lower case finds both cases", id="search", compact=True
            )

    def on_mount(self) -> None:
        """Begin to read."""
        self._say_empty()
        self.set_interval(POLL_S, self._poll)

    def refresh_state(self, changed: set[Part]) -> None:
        """Another run, or new stages: see which logs there are."""
        if self.state.run_dir != self._run_dir:
            self._run_dir = self.state.run_dir
            self._files, self._log = [], ""
            self._show_files()
            in_background(self, self.query_one(LogView).close, group="open", exclusive=True)
            self._say_empty()
        if changed & {"run", "connection"}:
            self._listed_at = 0.0

    # Reading

    def _poll(self) -> None:
        """Four times a second while visible: new bytes, and now and then new files."""
        if self.is_current and self._run_dir and not self._reading:
            self._reading = True
            in_background(self, self._read, group="read")

    async def _read(self) -> None:
        try:
            if time.monotonic() - self._listed_at >= FILES_EVERY_S:
                await self._list()
            await self.query_one(LogView).poll()
        finally:
            self._reading = False

    async def _list(self) -> None:
        run_dir = self._run_dir
        try:
            answer: m.LogFiles = await self.link.call("list_logs", m.RunRef(run_dir=run_dir))
        except LogbertError as error:
            self._report(str(error))
            return
        if run_dir != self._run_dir:
            return
        self._listed_at, self._problem = time.monotonic(), ""
        self._files = answer.files
        names = [file.name for file in self._files]
        if self._log not in names and names:
            await self._open(names[0])
        self._show_files()

    async def _open(self, name: str) -> None:
        self._log = name
        run_dir = self._run_dir

        async def read(start: int, most: int) -> m.LogChunk:
            asked = m.ReadLog(run_dir=run_dir, name=name, start=start, most=most)
            chunk: m.LogChunk = await self.link.call("read_log", asked)
            return chunk

        self._show_files()
        view = self.query_one(LogView)
        view.empty = "This log is empty so far."
        await view.open(read)

    def _report(self, problem: str) -> None:
        """Say what is wrong, once."""
        if problem != self._problem:
            self._problem = problem
            self.state.notice(problem, "error")

    # Showing

    def _say_empty(self) -> None:
        self.query_one(LogView).empty = (
            "No log yet: the run writes its first lines when its worker starts."
            if self._run_dir
            else "No run is open. 1 chooses a preset and starts one; its logs are shown here."
        )
        self.query_one(LogView).repaint()

    def _show_files(self) -> None:
        names = [file.name for file in self._files]
        line = self.query_one(FileLine)
        line.files = self._files
        line.current = names.index(self._log) if self._log in names else 0
        line.update()
        status = self.query_one(StatusLine)
        status.name_shown = self._log
        status.update()

    @on(LogView.Changed)
    def _status_changed(self) -> None:
        self.query_one(StatusLine).update()

    # Keys

    def action_file(self, by: int) -> None:
        """Another log of the run."""
        names = [file.name for file in self._files]
        if len(names) > 1:
            at = names.index(self._log) if self._log in names else 0
            in_background(self, self._open, names[(at + by) % len(names)], group="open", exclusive=True)

    def action_rows(self, by: int) -> None:
        """Lines down or up."""
        view = self.query_one(LogView)
        view.scroll_rows_to(view.top + by)

    def action_pages(self, by: int) -> None:
        """Pages down or up; a line of the page before stays."""
        view = self.query_one(LogView)
        view.scroll_rows_to(view.top + by * max(1, view.page - 1))

    def action_first(self) -> None:
        """The beginning of the log."""
        self.query_one(LogView).to_first()

    def action_last(self) -> None:
        """The end of the log."""
        self.query_one(LogView).to_last()

    def action_sideways(self, by: int) -> None:
        """To the right or the left."""
        self.query_one(LogView).scroll_sideways(by * SIDE_STEP)

    def action_follow(self) -> None:
        """Follow, or stop following."""
        self.query_one(LogView).set_follow(not self.query_one(LogView).follow)

    def action_match(self, step: Step) -> None:
        """Next or previous match."""
        self.query_one(LogView).next_match(step)

    def action_trouble(self, step: Step) -> None:
        """Next or previous warning or error."""
        self.query_one(LogView).next_trouble(step)

    def action_search(self) -> None:
        """Open the line to type a search into."""
        self.query_one("#search-row").display = True
        self.query_one("#search", Input).focus()

    @on(Input.Submitted, "#search")
    def _search(self, event: Input.Submitted) -> None:
        try:
            self.query_one(LogView).search(event.value)
        except LogbertError as error:
            self.state.notice(str(error), "warning")
            return
        self.state.dismiss()
        self._close_search()

    def _close_search(self) -> None:
        self.query_one("#search-row").display = False
        self.query_one(LogView).focus()

    def take_back(self) -> bool:
        """Esc closes the search line, stops a search, drops the matches."""
        view = self.query_one(LogView)
        if self.query_one("#search-row").display:
            self._close_search()
        elif view.cancel_search():
            pass
        elif view.pattern is not None:
            view.search("")
        else:
            return False
        return True
