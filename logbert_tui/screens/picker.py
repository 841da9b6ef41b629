"""The picker: this machine, the presets, recent runs, and the form that starts a run."""

from __future__ import annotations

import os
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
from logbert_engine.protocol.estimates import Estimate, EstimateQuery, MeasureQuery
from logbert_engine.protocol.locations import DEFAULT_RUN_DIR
from logbert_tui.background import in_background
from logbert_tui.keys import Where, bindings
from logbert_tui.screens import picker_detail as pages
from logbert_tui.screens import picker_panels as panels
from logbert_tui.screens.console import ConsoleScreen
from logbert_tui.screens.picker_asking import Estimating, Looking, Measurement, Planning
from logbert_tui.screens.picker_fields import Form
from logbert_tui.screens.picker_form import merge_overrides, placeholders, read_form, whole_path
from logbert_tui.screens.picker_machine import MOST_ROWS, hardware_rows
from logbert_tui.screens.picker_pane import PAGES, DetailPane
from logbert_tui.screens.picker_presets import PresetPanel
from logbert_tui.state import Part
from logbert_tui.widgets.choice import Choice
from logbert_tui.widgets.frame import KeyLine
from logbert_tui.widgets.line_list import LineList
from logbert_tui.widgets.lines import Lines, Row
from logbert_tui.widgets.text_view import TextView

_OVERRIDE = "--set "
"""In what the engine says of an override."""
TINY = 72
"""Columns below which the form needs the whole width."""
BREAKPOINTS_HEIGHT = [(0, "-short"), (38, "-tall")]
"""Tall: machine and data have panels of several lines."""


class PickerScreen(ConsoleScreen):
    """Chooses a preset and starts a run, or opens one that is there."""

    WHERE: ClassVar[Where] = "picker"
    BINDINGS: ClassVar[list[BindingType]] = bindings("picker")
    VERTICAL_BREAKPOINTS = BREAKPOINTS_HEIGHT
    CSS_PATH = "picker.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._preset: m.PresetInfo | None = None
        self._spec: m.RunSpec | None = None
        self._starting = False
        self._wrong: set[str] = set()
        """Fields that cannot be understood."""
        self._looking = Looking(self, self._data_changed)
        self._planning = Planning(self, self._planned)
        self._estimating = Estimating(self, self._estimates_changed)
        self._measurement = Measurement(self, self._measured)

    # What is on it

    def compose_content(self) -> ComposeResult:
        """Hardware, presets beside data and recent runs, the preset's figures beside the form."""
        yield Lines(id="hardware")
        with Horizontal(id="upper"):
            yield PresetPanel()
            with Vertical(id="side"):
                with Vertical(id="found", classes="panel") as found:
                    found.border_title = "data"
                    yield TextView(partial(self._page, "data"), id="data-found")
                with Vertical(id="recent", classes="panel") as recent:
                    recent.border_title = "recent runs"
                    yield LineList(id="run-list", empty="None yet: ^S starts one.")
        with Horizontal(id="lower"):
            yield DetailPane(self._page)
            with Vertical(id="setup", classes="panel") as setup:
                setup.border_title = "new run"
                setup.border_subtitle = (
                    "[@click=screen.copy]y command[/]  [@click=screen.copy_yaml]Y run.yaml[/]"
                )
                yield Form(self.console.data)

    def on_mount(self) -> None:
        """Keys act on the presets at first."""
        self.query_one("#preset-list").focus()
        self._show_data()
        self._show_page()
        self._changed()

    def on_resize(self) -> None:
        """Lines that depend on the width are made again; very narrow terminals show form or figures."""
        self.set_class(self.size.width < TINY, "-tiny")
        self.call_after_refresh(self._resized)

    def _resized(self) -> None:
        self._show_hardware()
        self.query_one(PresetPanel).fit()
        self._show_data()
        self._show_command()

    # What the engine says

    def refresh_state(self, changed: set[Part]) -> None:
        """Presets, machine and runs as they come."""
        if "connection" in changed:
            if self.state.connection == "lost":
                self._measurement.lost()
            elif self.state.engine is not None:
                self.query_one(Form).suggest_run_dir(self._default_run_dir())
                self._changed()
                self._look()
        if "measuring" in changed:
            self._measurement.look()
        if "catalogue" in changed:
            self._show_hardware()
            panel = self.query_one(PresetPanel)
            if panel.presets is not self.state.presets:
                names = [preset.name for preset in self.state.presets]
                chosen = self._preset.name if self._preset is not None else ""
                cursor = names.index(chosen) if chosen in names else 0
                panel.offer(self.state.presets, cursor)
                self._choose(cursor)
            home = self.state.engine.home if self.state.engine is not None else ""
            runs = self.query_one("#run-list", LineList)
            runs.set_source(
                panels.RunRows(self.state.runs, home), min(runs.cursor, max(0, len(self.state.runs) - 1))
            )

    def on_screen_resume(self) -> None:
        """Runs may have come or gone while another screen was shown, and memory been taken or freed."""
        super().on_screen_resume()
        if self.state.connection == "connected":
            in_background(self, self._renew_runs, group="runs", exclusive=True)
            self._estimate(again=True)

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

    def _show_hardware(self) -> None:
        lines = self.query_one("#hardware", Lines)
        rows = hardware_rows(
            self.state.hardware, lines.size.width, MOST_ROWS if self.has_class("-tall") else 1
        )
        lines.styles.height = len(rows)
        lines.show(rows)

    # The preset

    @on(LineList.Moved, "#preset-list")
    def _moved(self, event: LineList.Moved) -> None:
        self._choose(event.index)

    @on(LineList.Chosen, "#preset-list")
    def _taken(self) -> None:
        self.action_focus_field("start" if self._looking.data is not None else "data")

    def _choose(self, index: int) -> None:
        if index < len(self.state.presets):
            self._preset = self.state.presets[index]
            own = "yes" if self._preset.progressive else "no"
            self.query_one(Form).set_own(placeholders(self._preset), own)
            self._changed()
            self._show_page(top=True)

    @property
    def _chosen(self) -> Estimate | None:
        """The estimate of the chosen preset."""
        return self._estimating.answer.estimates.get(self._preset.name) if self._preset is not None else None

    def _estimate(self, *, again: bool = False) -> None:
        """Ask what the presets would take, with the form's settings; data that are looked at are waited for."""
        if self._spec is None or not self.state.presets or self._looking.checking:
            return
        spec = msgspec.structs.replace(self._spec, data="", run_dir="", preset=self.state.presets[0].name)
        names = [preset.name for preset in self.state.presets]
        self._estimating.ask(EstimateQuery(spec=spec, presets=names, data=self._looking.data), again=again)

    def _estimates_changed(self) -> None:
        self.query_one(PresetPanel).renew(self._estimating.answer)
        self._show_page()
        self._show_command()

    # The pane of figures

    def _page(self, name: str, width: int) -> list[Row]:
        """The rows of a page."""
        answer, looking = self._estimating.answer, self._looking
        if name == "run.yaml":
            return pages.yaml_rows(self._planning.plan.run_yaml, width)
        if name == "data":
            return panels.data_rows(looking.data, looking.problem, looking.checking, width)
        if name == "guide":
            return pages.guide_rows(answer, width)
        if self._preset is None:
            return pages.detail_rows(None, width)
        has_data, measuring = looking.data is not None, self._measurement.progress
        chosen = pages.Chosen(self._preset, answer, has_data, measuring, self.state.is_training)
        return pages.detail_rows(chosen, width)

    def _show_page(self, *, top: bool = False) -> None:
        """The pane, and the keys that have to do with it."""
        can_fit = self._chosen is not None and bool(self._chosen.verdict.settings)
        measuring = self._measurement.progress is not None
        self.query_one(DetailPane).renew(can_fit=can_fit, measuring=measuring, top=top)
        self.query_one(KeyLine).hide([] if can_fit else ["picker.fit"])

    def action_turn(self, by: int) -> None:
        """Another page; where the pane is not shown, the one that it was on."""
        hidden = self.has_class("-tiny") and not self.has_class("-detail")
        self.action_page(self.query_one(DetailPane).page_from_here(0 if hidden else by))

    def action_page(self, name: str) -> None:
        """A page of the pane."""
        self.query_one(DetailPane).page = name
        self.add_class("-detail")
        self._show_page(top=True)

    def action_figures(self) -> None:
        """To the pane, so that keys scroll it."""
        self.add_class("-detail")
        self.call_after_refresh(self.query_one(DetailPane).focus_page)

    def action_fit(self) -> None:
        """The settings of the verdict, into the form."""
        if self._chosen is None or self._spec is None:
            self.state.notice("There is no estimate of this preset yet.", "warning")
        elif not self._chosen.verdict.settings:
            self.state.notice(f"Nothing to set: {self._chosen.preset} {self._chosen.verdict.words}.")
        else:
            settings = self._chosen.verdict.settings
            self.query_one(Form).put_overrides(merge_overrides(self._spec.overrides, settings))
            self.state.notice(f"Set {' '.join(settings)}, in the form's field Set.")

    # Measuring

    def action_measure(self) -> None:
        """Take real steps of the chosen preset, or end that."""
        if self._measurement.progress is not None:
            self._measurement.cancel()
        elif self._preset is None or self._spec is None:
            self.state.notice("Choose a preset first: the engine has not answered yet.", "warning")
        else:
            self.action_page(PAGES[0])
            spec = msgspec.structs.replace(self._spec, data="", run_dir="")
            self._measurement.start(MeasureQuery(spec=spec, data=self._looking.data))

    def _measured(self, ended: bool) -> None:
        if ended:
            self._estimate(again=True)
        self._show_page()

    # The form

    @on(Input.Changed)
    @on(Choice.Changed)
    def _typed(self, event: Input.Changed | Choice.Changed) -> None:
        if isinstance(event, Input.Changed) and event.input.id == "data":
            self._look()
        self._changed()

    def _changed(self) -> None:
        """Read the form again, and ask for the plan when typing rests."""
        name = self._preset.name if self._preset is not None else ""
        spec, problems = read_form(name, self.query_one(Form).typed(), self._folder())
        if not self.state.engine and "run_dir" in problems:
            del problems["run_dir"]  # the engine's default comes with the connection
        self._spec = spec
        self._wrong = set(problems)
        is_whole = name and spec.data and spec.run_dir and not problems
        self._planning.ask(spec if is_whole else None, next(iter(problems.values()), ""))
        self._estimate()

    def _planned(self) -> None:
        self._show_command()
        self._show_page()

    def _show_command(self) -> None:
        problem, answer = self._planning.problem, self._estimating.answer
        if not problem and self._preset is not None and not answer.waiting:
            known = answer.problem_of(self._preset.name)  # while no data are named there is no plan to say it
            problem = known if _OVERRIDE in known else ""
        self.query_one(Form).mark(self._wrong | ({"overrides"} if _OVERRIDE in problem else set()))
        lines = self.query_one("#command", Lines)
        width, height = lines.size
        lines.show(panels.command_rows(self._planning.plan.command, problem, width, max(1, height)))

    # The data

    def _look(self) -> None:
        self._looking.look(whole_path(self.query_one(Form).typed()["data"], self._folder()))

    def _data_changed(self) -> None:
        self._show_data()
        self._estimate()
        self._show_page()

    def _show_data(self) -> None:
        lines = self.query_one("#check", Lines)
        most = 3 if self.has_class("-tall") else 2
        look = self._looking
        rows = panels.data_row(look.data, look.problem, look.checking, lines.size.width or 40, most)
        lines.styles.height = len(rows)
        lines.show(rows)
        self.query_one("#data-found", TextView).renew(top=True)
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
            self.state.notice(pages.why_not_trainable(self._preset), "warning")
        elif not self._spec.data:
            self.state.notice(
                "Name the sessions to train on: a folder or a file, in the field Data.", "warning"
            )
            self.action_focus_field("data")
        elif self._planning.problem:
            self.state.notice(self._planning.problem, "error")
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
        command = self._planning.plan.command
        self._copy(command, f"Copied: {command}")

    def action_copy_yaml(self) -> None:
        """The configuration that would run, to the clipboard."""
        text = self._planning.plan.run_yaml
        self._copy(text, f"Copied the run.yaml, {len(text.splitlines())} lines.")

    def _copy(self, text: str, said: str) -> None:
        if not text:
            self.state.notice("There is no command yet: name the data to train on.", "warning")
            return
        self.app.copy_to_clipboard(text)
        self.state.notice(said)

    def action_focus_field(self, name: str) -> None:
        """To a field of the form."""
        self.remove_class("-detail")
        self.call_after_refresh(self.query_one(Form).focus_field, name)

    def action_recent(self) -> None:
        """To the recent runs; on small terminals they take the place of the presets, and back."""
        showing = self.has_class("-recent")
        self.set_class(not showing, "-recent")
        target = "#preset-list" if showing else "#run-list"
        self.call_after_refresh(self.query_one(target).focus)

    def take_back(self) -> bool:
        """Esc ends a measurement, then leaves the form, the figures or the recent runs for the presets."""
        if self._measurement.progress is not None and not self.typing:
            self._measurement.cancel()
            return True
        presets = self.query_one("#preset-list")
        if self.focused is presets and not (self.has_class("-tiny") and self.has_class("-detail")):
            return False
        self.remove_class("-recent", "-detail")
        self.call_after_refresh(presets.focus)
        return True
