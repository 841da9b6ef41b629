"""The form of an inference: one line a field, so that the ranked list keeps the room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Button, Checkbox, Input, Label

from logbert_engine.protocol.messages import CheckpointInfo, InferSpec
from logbert_tui.figures import loss
from logbert_tui.keys import bindings
from logbert_tui.screens.inference_form import DEFAULT_ALARM, default_output, make_spec
from logbert_tui.widgets.cells import clean
from logbert_tui.widgets.form import FieldForm
from logbert_tui.widgets.lines import Lines, Row, width_of
from logbert_tui.widgets.text_field import TextField

ADAPT_ON, ADAPT_OFF = "adapt: on", "adapt: off"


class CheckpointField(Lines, can_focus=True):
    """The checkpoint between two arrows; the arrow keys change it."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("choice")
    DEFAULT_CSS = """
    CheckpointField {
        width: 1fr; height: 1; background: $surface;
        &:focus { background: $primary 25%; }
    }
    """

    class Changed(Message):
        """Another checkpoint is chosen."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._checkpoints: Sequence[CheckpointInfo] = ()
        self._index = 0

    @property
    def checkpoint(self) -> CheckpointInfo | None:
        """What is chosen."""
        return self._checkpoints[self._index] if self._checkpoints else None

    def offer(self, checkpoints: Sequence[CheckpointInfo]) -> None:
        """Offer these; the one that is chosen stays chosen."""
        chosen = self.checkpoint
        paths = [checkpoint.path for checkpoint in checkpoints]
        self._checkpoints = checkpoints
        self._index = paths.index(chosen.path) if chosen is not None and chosen.path in paths else 0
        self.update()

    def build(self, width: int, _height: int, /) -> Sequence[Row]:
        """Its label, how many there are, and its loss, as there is room."""
        checkpoint = self.checkpoint
        if checkpoint is None:
            return [(("no checkpoint yet: the first is written when an epoch ends", "dim"),)]
        row = [("‹ ", "accent"), (clean(checkpoint.label), ""), (" ›", "accent")]
        if len(self._checkpoints) > 1:
            row.append((f"  {self._index + 1} of {len(self._checkpoints)}", "dim"))
        if checkpoint.valid_loss is not None:
            row.append((f"  valid loss {loss(checkpoint.valid_loss)}", "dim"))
        while len(row) > 3 and width_of(tuple(row)) > width:
            row.pop()
        return [tuple(row)]

    def action_step(self, by: int) -> None:
        """Next or previous checkpoint."""
        if self._checkpoints:
            self._index = (self._index + by) % len(self._checkpoints)
            self.update()
            self.post_message(self.Changed())

    def on_click(self) -> None:
        """Next checkpoint."""
        self.action_step(1)


class InferenceForm(FieldForm):
    """Checkpoint, input, output and alarm. Says ``Start``."""

    class Start(Message):
        """The button was pressed, or Enter in the last field."""

    def __init__(self) -> None:
        super().__init__()
        self._run_dir = ""
        self._taken: set[str] = set()
        self._suggested_input = ""
        self._suggested_output = ""

    def compose(self) -> ComposeResult:
        """The fields."""
        with Horizontal():
            yield Label("checkpoint", classes="name")
            yield CheckpointField(id="checkpoint")
        with Horizontal():
            yield Label("input", classes="name")
            yield TextField(
                id="inputs", compact=True, placeholder="files or folders of sessions", select_on_focus=False
            )
        with Horizontal():
            yield Label("output", classes="name")
            yield TextField(id="output", compact=True, placeholder="results.json", select_on_focus=False)
        with Horizontal():
            yield Label("alarm at", classes="name")
            yield TextField(DEFAULT_ALARM, id="alarm", compact=True)
            yield Label(" share in %, or a score", classes="hint")
            yield Checkbox(
                ADAPT_OFF,
                id="adapt",
                compact=True,
                tooltip="Logs that changed: learn first, without labels, which new events are ordinary now.",
            )
            yield Button("Score", id="start", compact=True)

    def offer(self, run_dir: str, checkpoints: Sequence[CheckpointInfo], taken: set[str], data: str) -> None:
        """What a run offers; what was typed stays, what was suggested gives way."""
        inputs = self.query_one("#inputs", TextField)
        if inputs.value in ("", self._suggested_input):
            inputs.put(f"'{data}'" if " " in data else data)
            self._suggested_input = inputs.value
        self._run_dir, self._taken = run_dir, taken
        self.query_one(CheckpointField).offer(checkpoints)
        self._suggest_output()

    def spec(self, home: str) -> InferSpec:
        """What the form describes.

        Raises:
            LogbertError: a field that cannot be understood.
        """
        checkpoint = self.query_one(CheckpointField).checkpoint
        return make_spec(
            checkpoint.path if checkpoint is not None else "",
            self.query_one("#inputs", Input).value,
            self.query_one("#output", Input).value,
            self.query_one("#alarm", Input).value,
            home,
            adapt=self.query_one("#adapt", Checkbox).value,
        )

    def busy(self, is_busy: bool) -> None:
        """An inference runs."""
        button = self.query_one("#start", Button)
        button.disabled = is_busy
        button.label = "Scoring …" if is_busy else "Score"

    @on(CheckpointField.Changed)
    @on(Input.Changed, "#inputs")
    def _suggest_output(self) -> None:
        output = self.query_one("#output", TextField)
        if output.value not in ("", self._suggested_output) or not self._run_dir:
            return
        inputs = self.query_one("#inputs", Input).value
        checkpoint = self.query_one(CheckpointField).checkpoint
        self._suggested_output = default_output(self._run_dir, inputs, checkpoint, self._taken)
        output.put(self._suggested_output)

    def entered(self, name: str, /) -> None:
        """Enter in the last field starts."""
        if name == "alarm":
            self.post_message(self.Start())
        else:
            super().entered(name)

    @on(Checkbox.Changed, "#adapt")
    def _adapt_changed(self, event: Checkbox.Changed) -> None:
        event.checkbox.label = ADAPT_ON if event.value else ADAPT_OFF

    @on(Button.Pressed, "#start")
    def _pressed(self) -> None:
        self.post_message(self.Start())
