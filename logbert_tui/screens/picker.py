"""The picker: this machine, the presets, recent runs, and the form that starts a run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from functools import partial
from typing import ClassVar

import msgspec
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input

from logbert_engine.protocol import messages as m
from logbert_engine.protocol.errors import LogbertError
from logbert_engine.protocol.locations import DEFAULT_RUN_DIR
from logbert_engine.protocol.methods import DataPath, Plan
from logbert_tui.background import in_background
from logbert_tui.keys import Where, bindings
from logbert_tui.screens import picker_panels as panels
from logbert_tui.screens.console import ConsoleScreen
from logbert_tui.screens.picker_fields import Form
from logbert_tui.screens.picker_form import placeholders, read_form, whole_path
from logbert_tui.state import Part
from logbert_tui.widgets.choice import Choice
from logbert_tui.widgets.line_list import LineList
from logbert_tui.widgets.lines import Lines, Row
from logbert_tui.widgets.text_view import TextView

TINY = 72
"""Columns below which the form needs the whole width."""
PAUSE_S = 0.3
"""How long typing rests before the engine is asked."""


class PickerScreen(ConsoleScreen):
    """Chooses a preset and starts a run, or opens one that is there."""

    WHERE: ClassVar[Where] = "picker"
    BINDINGS: ClassVar[list[BindingType]] = bindings("picker")
    CSS_PATH = "picker.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._preset: m.PresetInfo | None = None
        self._spec: m.RunSpec | None = None
        self._data: m.DataSummary | None = None
        self._data_problem = ""
        self._checking = False
        self._checked = ""
        """The data path that was looked at last."""
        self._problem = ""
        self._command = ""
        self._starting = False

    # What is on it

    def compose_content(self) -> ComposeResult:
        """Hardware, presets beside recent runs, the preset's figures beside the form."""
        yield Lines(id="hardware")
        with Horizontal(id="upper"):
            with Vertical(id="presets", classes="panel") as presets:
                presets.border_title = "presets"
                yield Lines(id="header")
                yield LineList(id="preset-list", empty="Waiting for the engine …")
            with Vertical(id="recent", classes="panel") as recent:
                recent.border_title = "recent runs"
                yield LineList(id="run-list", empty="No run yet.")
        with Horizontal(id="lower"):
            with Vertical(id="detail", classes="panel") as detail:
                detail.border_title = "preset"
                yield TextView(self._detail, id="figures")
            with Vertical(id="setup", classes="panel") as setup:
                setup.border_title = "new run"
                yield Form(self.console.data)

    def on_mount(self) -> None:
        """Keys act on the presets at first."""
        self.query_one("#preset-list").focus()
        self._show_data()
        self._changed()

    def on_resize(self) -> None:
        """Lines that depend on the width are made again; very narrow terminals do without the figures."""
        self.set_class(self.size.width < TINY, "-tiny")
        self.call_after_refresh(self._resized)

    def _resized(self) -> None:
        self._show_hardware()
        self._fit_presets()
        self._show_data()
        self._show_command()

    # What the engine says

    def refresh_state(self, changed: set[Part]) -> None:
        """Presets, machine and runs as they come."""
        if "connection" in changed and self.state.engine is not None:
            self.query_one(Form).suggest_run_dir(self._default_run_dir())
            self._changed()
            self._checked = ""
            self._look()
        if "catalogue" in changed:
            self._show_hardware()
            presets = self.query_one("#preset-list", LineList)
            if self._presets() is not self.state.presets:
                names = [preset.name for preset in self.state.presets]
                chosen = self._preset.name if self._preset is not None else ""
                cursor = names.index(chosen) if chosen in names else 0
                presets.set_source(panels.PresetRows(self.state.presets), cursor)
                self._fit_presets()
                self._choose(cursor)
            home = self.state.engine.home if self.state.engine is not None else ""
            runs = self.query_one("#run-list", LineList)
            runs.set_source(
                panels.RunRows(self.state.runs, home), min(runs.cursor, max(0, len(self.state.runs) - 1))
            )

    def on_screen_resume(self) -> None:
        """Runs may have come or gone while another screen was shown."""
        super().on_screen_resume()
        if self.state.connection == "connected":
            in_background(self, self._renew_runs, group="runs", exclusive=True)

    async def _renew_runs(self) -> None:
        try:
            await self.console.refresh_runs()
        except LogbertError as error:
            self.state.notice(str(error), "error")

    def _folder(self) -> str:
        """What relative paths count from: where the console was started, if the engine sees the same files."""
        return os.getcwd() if self.link.is_local else ""  # noqa: PTH109

    def _default_run_dir(self) -> str:
        if self.link.is_local:
            return whole_path(DEFAULT_RUN_DIR, self._folder())
        return self.state.engine.default_run_dir if self.state.engine is not None else ""

    def _fit_presets(self) -> None:
        """The header, and the same columns below it."""
        header, presets = self.query_one("#header", Lines), self.query_one("#preset-list", LineList)
        header.show([panels.preset_header(header.size.width)])
        if isinstance(presets.source, panels.PresetRows):
            presets.source.width = header.size.width - panels.LIST_MARGIN
            presets.repaint()

    def _presets(self) -> object:
        source = self.query_one("#preset-list", LineList).source
        return source.presets if isinstance(source, panels.PresetRows) else None

    def _show_hardware(self) -> None:
        line = self.query_one("#hardware", Lines)
        line.show([panels.hardware_row(self.state.hardware, line.size.width)])

    # The preset

    @on(LineList.Moved, "#preset-list")
    def _moved(self, event: LineList.Moved) -> None:
        self._choose(event.index)

    @on(LineList.Chosen, "#preset-list")
    def _taken(self) -> None:
        self.query_one(Form).focus_field("start" if self._data is not None else "data")

    def _choose(self, index: int) -> None:
        if index < len(self.state.presets):
            self._preset = self.state.presets[index]
            own = "yes" if self._preset.progressive else "no"
            self.query_one(Form).set_own(placeholders(self._preset), own)
            self._changed()
            self.query_one("#figures", TextView).renew(top=True)

    def _detail(self, width: int) -> list[Row]:
        return panels.detail_rows(self._preset, self._spec, self._data, self.state.hardware, width)

    # The form

    @on(Input.Changed)
    @on(Choice.Changed)
    def _typed(self) -> None:
        self._changed()

    @on(Input.Changed, "#data")
    def _data_typed(self) -> None:
        self._checking = bool(self.query_one(Form).typed()["data"].strip())
        self._data, self._data_problem = None, ""
        self._show_data()
        self._renew("data", self._look_soon)

    def _changed(self) -> None:
        """Read the form again, and ask for the plan when typing rests."""
        name = self._preset.name if self._preset is not None else ""
        spec, problems = read_form(name, self.query_one(Form).typed(), self._folder())
        if not self.state.engine and "run_dir" in problems:
            del problems["run_dir"]  # the engine's default comes with the connection
        self._spec = spec
        self.query_one(Form).mark(set(problems))
        self._problem, self._command = next(iter(problems.values()), ""), ""
        self._show_command()
        self.query_one("#figures", TextView).renew()
        if name and spec.data and spec.run_dir and not problems:
            self._renew("plan", partial(self._plan, spec))
        else:
            self.workers.cancel_group(self, "plan")

    async def _plan(self, spec: m.RunSpec) -> None:
        await self._rest()
        try:
            plan: Plan = await self.link.call("plan_run", spec)
        except LogbertError as error:
            self._problem, self._command = str(error), ""
        else:
            self._problem, self._command = "", plan.command
        self._show_command()

    def _show_command(self) -> None:
        lines = self.query_one("#command", Lines)
        width, height = lines.size
        lines.show(panels.command_rows(self._command, self._problem, width, max(1, height)))

    # The data

    def _look(self) -> None:
        self._renew("data", self._look_soon)

    async def _look_soon(self) -> None:
        path = whole_path(self.query_one(Form).typed()["data"], self._folder())
        if not path:
            self._data, self._data_problem, self._checking = None, "", False
            self._show_data()
            return
        await self._rest()
        self._checking, self._checked = True, path
        self._show_data()
        try:
            self._data = await self.link.call("inspect_data", DataPath(path=path))
            self._data_problem = ""
        except LogbertError as error:
            self._data, self._data_problem = None, str(error)
        self._checking = False
        self._show_data()
        self.query_one("#figures", TextView).renew()

    def _renew(self, group: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """In the background, in the place of what is under way in the group; that may not even have begun."""
        in_background(self, work, group=group, exclusive=True)

    async def _rest(self) -> None:
        """Wait until typing has rested; a later change cancels the worker that waits here."""
        await asyncio.sleep(PAUSE_S)

    def _show_data(self) -> None:
        lines = self.query_one("#check", Lines)
        rows = panels.data_row(self._data, self._data_problem, self._checking, lines.size.width or 40)
        lines.styles.height = len(rows)
        lines.show(rows)
        self.call_after_refresh(self._show_command)  # which has as many lines as are left

    # Starting and opening

    @on(Form.Start)
    async def _start_pressed(self) -> None:
        self.action_start()

    def action_start(self) -> None:
        """Start the run as the form describes it."""
        if self._starting:
            return
        if self.state.read_only:
            self.state.notice(
                "This console is read-only: start it without --read-only to start runs.", "warning"
            )
        elif self._preset is None or self._spec is None:
            self.state.notice("Choose a preset first: the engine has not answered yet.", "warning")
        elif not self._preset.trainable:
            self.state.notice(panels.why_not_trainable(self._preset), "warning")
        elif not self._spec.data:
            self.state.notice(
                "Name the sessions to train on: a folder or a file, in the field Data.", "warning"
            )
            self.query_one(Form).focus_field("data")
        elif self._problem:
            self.state.notice(self._problem, "error")
        else:
            in_background(self, self._start, self._spec, group="start")

    async def _start(self, spec: m.RunSpec) -> None:
        self._starting = True
        self.query_one(Form).busy(True)
        try:
            info: m.RunInfo = await self.link.call("start_run", msgspec.structs.replace(spec))
            self.state.dismiss()
            await self.console.open_run(info.run_dir)
        except LogbertError as error:
            self.state.notice(str(error), "error")
        finally:
            self._starting = False
            self.query_one(Form).busy(False)

    @on(LineList.Chosen, "#run-list")
    def _open(self, event: LineList.Chosen) -> None:
        if event.index < len(self.state.runs):
            run_dir = self.state.runs[event.index].run_dir
            in_background(self, self.console.open_run, run_dir, group="open", exclusive=True)

    # Keys

    def action_copy(self) -> None:
        """The command that does the same, to the clipboard and in full on the screen."""
        if not self._command:
            self.state.notice("There is no command yet: name the data to train on.", "warning")
            return
        self.app.copy_to_clipboard(self._command)
        self.state.notice(f"Copied: {self._command}")

    def action_focus_field(self, name: str) -> None:
        """To a field of the form."""
        self.query_one(Form).focus_field(name)

    def action_recent(self) -> None:
        """To the recent runs; on small terminals they take the place of the presets, and back."""
        showing = self.has_class("-recent")
        self.set_class(not showing, "-recent")
        target = "#preset-list" if showing else "#run-list"
        self.call_after_refresh(self.query_one(target).focus)

    def take_back(self) -> bool:
        """Esc leaves the form, or the recent runs, for the presets."""
        presets = self.query_one("#preset-list")
        if self.focused is presets:
            return False
        self.remove_class("-recent")
        self.call_after_refresh(presets.focus)
        return True
