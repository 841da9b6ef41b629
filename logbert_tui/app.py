"""The console: one app, five screens, one connection to the engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.screen import Screen

from logbert_engine.protocol import messages as m
from logbert_engine.protocol.errors import LogbertError
from logbert_engine.protocol.locations import program
from logbert_engine.protocol.methods import PresetList, RunList
from logbert_tui.background import in_background
from logbert_tui.keys import KEYS, bindings
from logbert_tui.link import EngineLink
from logbert_tui.screens.console import ConsoleScreen
from logbert_tui.state import ConsoleState
from logbert_tui.themes import LOGBERT

TICKS_PER_S = 10


def _screen(module: str, name: str) -> Callable[[], Screen[None]]:
    """A screen that is imported when it is first shown, so that the first one paints at once."""

    def make() -> Screen[None]:
        made: Screen[None] = getattr(import_module(f"logbert_tui.screens.{module}"), name)()
        return made

    return make


class LogbertApp(App[str]):
    """Shows runs and steers them. Its result is what to say in the terminal after it has gone.

    Args:
        run_dir: A run to open at once.
        socket: The engine's socket; None for the user's own engine.
        read_only: Refuse everything that changes a run.
        data: The data path to begin with.
        inference: Open the inference screen on the run.
        must_connect: Leave with status 1 when the first attempt to connect fails; the result says why.
    """

    TITLE = "LogBERT"
    CSS_PATH = "app.tcss"
    BINDINGS = bindings("everywhere")
    SCREENS: ClassVar[dict[str, Callable[[], Screen[None]]]] = {
        "picker": _screen("picker", "PickerScreen"),
        "run": _screen("run", "RunScreen"),
        "logs": _screen("logs", "LogsScreen"),
        "inference": _screen("inference", "InferenceScreen"),
        "help": _screen("help", "HelpScreen"),
    }

    def __init__(
        self,
        run_dir: str = "",
        *,
        socket: Path | None = None,
        read_only: bool = False,
        data: str = "",
        inference: bool = False,
        must_connect: bool = False,
    ) -> None:
        super().__init__()
        self.state = ConsoleState(read_only=read_only)
        self.link = EngineLink(self.state, socket)
        self.data = data
        """The data path to begin with."""
        self._first_run, self._first_inference = run_dir, inference
        self._must_connect = must_connect
        self._past: list[str] = []
        """Screens to go back to."""
        self._shown = ""
        self._switching = asyncio.Lock()
        self.register_theme(LOGBERT)
        self.theme = LOGBERT.name
        self.animation_level = "none"  # over SSH a page costs a dozen times as much with it

    @property
    def shown(self) -> str:
        """The name of the screen that is shown."""
        return self._shown

    async def on_mount(self) -> None:
        """Show the first screen, then connect: painting waits for nothing."""
        self.link.on_connected = self._greeted
        first = "picker" if not self._first_run else "inference" if self._first_inference else "run"
        await self.show(first)
        self.link.start()
        self.set_interval(1 / TICKS_PER_S, self._tick)
        if self._first_run:
            in_background(self, partial(self.open_run, self._first_run, show=False))

    async def on_unmount(self) -> None:
        """Let go of the engine."""
        await self.link.close()

    def _tick(self) -> None:
        if self._must_connect and self.state.engine is None and self.state.connection == "lost":
            self.exit(self.state.connection_problem, return_code=1)
            return
        self.state.expire(time.time())
        top = self.screen_stack[-1] if self.screen_stack else None  # none while the app is leaving
        if isinstance(top, ConsoleScreen):
            top.tick()

    async def _greeted(self) -> None:
        """After each connection: what there is to choose from."""
        try:
            presets: PresetList = await self.link.call("list_presets")
            self.state.set_presets(presets.presets)
            hardware: m.Hardware = await self.link.call("hardware")
            self.state.set_hardware(hardware)
            await self.refresh_runs()
        except LogbertError as error:
            self.state.notice(str(error), "error")

    async def refresh_runs(self) -> None:
        """Ask which runs there are."""
        runs: RunList = await self.link.call("list_runs")
        self.state.set_runs(runs.runs)

    async def open_run(self, run_dir: str, *, show: bool = True) -> bool:
        """Follow a run, and show it. What goes wrong is said in a sentence.

        Returns:
            Whether the run is followed now.
        """
        try:
            info: m.RunInfo = await self.link.call("open_run", m.RunRef(run_dir=run_dir))
            await self.link.follow(info.run_dir)
        except LogbertError as error:
            self.state.notice(str(error), "error")
            return False
        if show:
            await self.show("run")
        return True

    async def show(self, name: str) -> None:
        """Show a screen by name; Esc comes back from it."""
        async with self._switching:
            if name == self._shown or self._covered():
                return
            before, self._shown = self._shown, name
            if before:
                self._past = [*(past for past in self._past if past != name), before]
                await self.switch_screen(name)
            else:
                await self.push_screen(name)

    def _covered(self) -> bool:
        """Whether a question or the palette lies over the screen: switching would take its place."""
        return bool(self._shown) and not isinstance(self.screen, ConsoleScreen)

    async def action_show(self, name: str) -> None:
        """Keys 1 to 5 and their letters."""
        await self.show(name)

    async def action_back(self) -> None:
        """Leave a field, dismiss the message, leave what the screen has open, or go back to the one before."""
        if isinstance(self.screen, ConsoleScreen) and self.screen.typing and self.screen.take_back():
            return
        if self.state.dismiss():
            return
        if isinstance(self.screen, ConsoleScreen) and self.screen.take_back():
            return
        async with self._switching:
            if self._past and not self._covered():
                self._shown = self._past.pop()
                await self.switch_screen(self._shown)

    def action_detach(self) -> None:
        """Leave; what runs goes on."""
        self.exit(parting_words(self.state))

    async def action_quit(self) -> None:
        """ctrl+q: the same."""
        self.action_detach()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The command palette: the keys of the screen, and the theme."""
        where = screen.WHERE if isinstance(screen, ConsoleScreen) else "everywhere"
        for key in KEYS:
            if key.where in ("everywhere", where) and key.action != "back":
                yield SystemCommand(key.label.capitalize(), key.help, partial(self.run_action, key.target))
        yield SystemCommand("Theme", "Change the colours.", self.action_change_theme)


def parting_words(state: ConsoleState) -> str:
    """One line for the terminal after the console has gone: what goes on, and how to come back."""
    if not state.run_dir:
        return ""
    home = state.engine.home if state.engine is not None else ""
    name = state.run_dir if " " not in state.run_dir else f"'{state.run_dir}'"
    if home and state.run_dir.startswith(home + "/") and " " not in name:
        name = "~" + state.run_dir[len(home) :]
    back = f"{program('logbert-tui')} {name}"
    trains = state.run is not None and state.run.active
    if state.scoring is not None and state.connection == "connected":
        goes_on = "Training and scoring go on" if trains else "Scoring goes on"
        return f"{goes_on}; come back with: {back} --inference"
    if trains:
        return f"Training goes on; come back with: {back}"
    return f"The run is kept; open it again with: {back}"
