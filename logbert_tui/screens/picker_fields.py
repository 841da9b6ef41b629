"""The form of a new run: one line a field, so that it fits into 24 rows."""

from __future__ import annotations

from collections.abc import Mapping

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Button, Input, Label

from logbert_tui.screens.picker_form import DEVICES, YES_NO
from logbert_tui.widgets.choice import Choice
from logbert_tui.widgets.form import FieldForm
from logbert_tui.widgets.lines import Lines
from logbert_tui.widgets.text_field import TextField

FIELDS = (
    "data",
    "run_dir",
    "start_ratio",
    "step_size",
    "max_ratio",
    "epochs_per_stage",
    "sample_ratio",
    "max_files",
    "max_memory_mb",
    "nproc",
    "overrides",
)
CHOICES = ("progressive", "device")


class Form(FieldForm):
    """Fields, the command that does the same, and the button. Says ``Start``.

    Args:
        data: What the data path begins with.
    """

    class Start(Message):
        """The button was pressed."""

    def __init__(self, data: str = "") -> None:
        super().__init__()
        self._begin_with = data
        self._suggested = ""

    def compose(self) -> ComposeResult:
        """The fields; their ids are their names in ``RunSpec``."""
        with Horizontal():
            yield Label("data", classes="name")
            yield TextField(
                self._begin_with, id="data", compact=True, placeholder="folder or file", select_on_focus=False
            )
        with Horizontal(id="check-row"):
            yield Label("", classes="name")
            yield Lines(id="check")
        with Horizontal():
            yield Label("run dir", classes="name")
            yield TextField(id="run_dir", compact=True, select_on_focus=False)
        with Horizontal():
            yield Label("stages", classes="name")
            yield from self._small("start_ratio")
            yield Label(" to ")
            yield from self._small("max_ratio")
            yield Label(" by ")
            yield from self._small("step_size")
        with Horizontal():
            yield Label("", classes="name")
            yield from self._small("epochs_per_stage")
            yield Label(" epochs each, growing ", classes="long")
            yield Label(" epochs, grow ", classes="brief")
            yield Choice(YES_NO, id="progressive")
        with Horizontal():
            yield Label("use", classes="name")
            yield from self._small("sample_ratio")
            yield Label(" of ")
            yield from self._small("max_files")
            yield Label(" files on ")
            yield Choice(DEVICES, own="auto", id="device")
        with Horizontal(id="limits"):
            yield Label("memory", classes="name")
            yield from self._small("max_memory_mb")
            yield Label(" MB at most, in ", classes="long")
            yield Label(" MB, in ", classes="brief")
            yield from self._small("nproc")
            yield Label(" processes")
        with Horizontal(id="set-row"):
            yield Label("set", classes="name")
            yield TextField(
                id="overrides", compact=True, placeholder="path.to.key=value …", select_on_focus=False
            )
        yield Lines(id="command")
        yield Button("Start training", id="start", compact=True)

    def _small(self, name: str) -> ComposeResult:
        yield TextField(id=name, compact=True, classes="small", select_on_focus=True)

    # Values

    def typed(self) -> dict[str, str]:
        """What stands in the fields, by name."""
        values = {name: self.query_one(f"#{name}", Input).value for name in FIELDS}
        return values | {name: self.query_one(f"#{name}", Choice).value for name in CHOICES}

    def set_own(self, shown: Mapping[str, str], progressive: str) -> None:
        """Show a preset's own values where nothing is typed."""
        for name, text in shown.items():
            self.query_one(f"#{name}", Input).placeholder = text
        self.query_one("#progressive", Choice).set_own(progressive)

    def suggest_run_dir(self, path: str) -> None:
        """Fill in a run directory unless another was typed."""
        field = self.query_one("#run_dir", TextField)
        if field.value in ("", self._suggested):
            field.put(path)
        self._suggested = path

    def put_overrides(self, text: str) -> None:
        """Fill in settings of the preset that are overridden."""
        self.query_one("#overrides", TextField).put(text)

    def mark(self, wrong: set[str]) -> None:
        """Show which fields cannot be understood."""
        for name in FIELDS:
            self.query_one(f"#{name}", Input).set_class(name in wrong, "-wrong")

    def busy(self, is_busy: bool) -> None:
        """The run is being started."""
        button = self.query_one("#start", Button)
        button.disabled = is_busy
        button.label = "Starting …" if is_busy else "Start training"

    def entered(self, name: str, /) -> None:
        """Enter behind the data path goes to the button, as the rest has values already."""
        if name == "data":
            self.focus_field("start")
        else:
            super().entered(name)

    @on(Button.Pressed, "#start")
    def _pressed(self) -> None:
        self.post_message(self.Start())
