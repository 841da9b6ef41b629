"""What the picker asks the engine: the data, the run's plan, what presets would take, what real steps take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from logbert_engine.protocol.errors import LogbertError
from logbert_engine.protocol.estimates import (
    Estimate,
    EstimateQuery,
    Estimates,
    MeasureQuery,
    MeasureRef,
    Measuring,
)
from logbert_engine.protocol.messages import DataSummary, RunSpec
from logbert_engine.protocol.methods import DataPath, Plan
from logbert_tui.background import in_background
from logbert_tui.screens.console import ConsoleScreen

PAUSE_S = 0.3
"""How long typing rests before the engine is asked."""
NO_PLAN = Plan(command="", run_yaml="")


async def rest() -> None:
    """Wait until typing has rested."""
    await asyncio.sleep(PAUSE_S)


@dataclass(frozen=True)
class Answer:
    """What the engine said last about the presets."""

    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    """Preset to why there is no estimate."""
    advice: tuple[str, ...] = ()
    problem: str = ""
    """Why there is no answer."""
    waiting: bool = False
    """Whether another one is under way."""

    def problem_of(self, preset: str) -> str:
        """Why there is no estimate of a preset, or nothing."""
        return self.problems.get(preset, self.problem if preset not in self.estimates else "")


class Estimating:
    """Asks for estimates: one question at a time, and always the latest.

    Args:
        screen: that asks.
        changed: called when ``answer`` is another.
    """

    def __init__(self, screen: ConsoleScreen, changed: Callable[[], None]) -> None:
        self._screen, self._changed = screen, changed
        self.answer = Answer()
        self._wanted: EstimateQuery | None = None
        self._answered: EstimateQuery | None = None
        self._busy = False

    def ask(self, query: EstimateQuery, *, again: bool = False) -> None:
        """Ask when typing rests.

        Args:
            query: what for. The question that was answered last is not asked twice.
            again: unless the answer may be another now.
        """
        if not again and query == (self._wanted or self._answered):
            return
        self._wanted = query
        self._take(replace(self.answer, waiting=True))
        if not self._busy:
            self._busy = True
            in_background(self._screen, self._work, group="estimate")

    async def _work(self) -> None:
        try:
            while (query := self._wanted) is not None:
                await rest()
                if query is not self._wanted:
                    continue
                try:
                    found: Estimates = await self._screen.link.call("estimate", query)
                except LogbertError as error:
                    answer = replace(self.answer, problem=str(error), waiting=False)
                else:
                    by_name = {estimate.preset: estimate for estimate in found.estimates}
                    answer = Answer(by_name, found.problems, tuple(found.advice))
                if query is self._wanted:
                    self._wanted, self._answered = None, None if answer.problem else query
                    self._take(answer)
        finally:
            self._busy = False

    def _take(self, answer: Answer) -> None:
        self.answer = answer
        self._changed()


class Looking:
    """Looks at the data that are named: always at the latest.

    Args:
        screen: that asks.
        changed: called when something else is known of them.
    """

    def __init__(self, screen: ConsoleScreen, changed: Callable[[], None]) -> None:
        self._screen, self._changed = screen, changed
        self.data: DataSummary | None = None
        self.problem = ""
        self.checking = False

    def look(self, path: str) -> None:
        """Look when typing rests; where no path is named, nothing is known."""
        self._found(None, checking=bool(path))
        in_background(self._screen, self._look, path, group="data", exclusive=True)

    async def _look(self, path: str) -> None:
        if path:
            await rest()
            try:
                self._found(await self._screen.link.call("inspect_data", DataPath(path=path)))
            except LogbertError as error:
                self._found(None, str(error))

    def _found(self, data: DataSummary | None, problem: str = "", *, checking: bool = False) -> None:
        self.data, self.problem, self.checking = data, problem, checking
        self._changed()


class Planning:
    """Asks for the command and the configuration of the run that the form describes.

    Args:
        screen: that asks.
        changed: called when ``plan`` or ``problem`` is another.
    """

    def __init__(self, screen: ConsoleScreen, changed: Callable[[], None]) -> None:
        self._screen, self._changed = screen, changed
        self.plan = NO_PLAN
        self.problem = ""
        """What stands in the way of the run."""

    def ask(self, spec: RunSpec | None, problem: str = "") -> None:
        """Ask when typing rests.

        Args:
            spec: the run; None where there is nothing to ask about.
            problem: what is known to stand in its way.
        """
        self._take(NO_PLAN, problem)
        if spec is not None:
            in_background(self._screen, self._ask, spec, group="plan", exclusive=True)
        else:
            self._screen.workers.cancel_group(self._screen, "plan")

    async def _ask(self, spec: RunSpec) -> None:
        await rest()
        try:
            self._take(await self._screen.link.call("plan_run", spec))
        except LogbertError as error:
            self._take(NO_PLAN, str(error))

    def _take(self, plan: Plan, problem: str = "") -> None:
        self.plan, self.problem = plan, problem
        self._changed()


class Measurement:
    """The measurement that was asked for on a screen, while it is under way.

    Args:
        screen: that asks.
        changed: called when it begins, when it has come further, and with ``True`` when it has come to its end.
    """

    def __init__(self, screen: ConsoleScreen, changed: Callable[[bool], None]) -> None:
        self._screen, self._changed = screen, changed
        self._preset = ""
        self._id: int | None = None
        self._cancelled = False

    @property
    def progress(self) -> Measuring | None:
        """How far it is; None when none is under way."""
        if not self._preset:
            return None
        known = self._screen.state.measuring.get(self._id) if self._id is not None else None
        return known or Measuring(id=0, preset=self._preset)

    def start(self, query: MeasureQuery) -> None:
        """Ask for one."""
        self._preset, self._id, self._cancelled = query.spec.preset, None, False
        in_background(self._screen, self._start, query, group="measure")
        self._changed(False)

    async def _start(self, query: MeasureQuery) -> None:
        try:
            ref: MeasureRef = await self._screen.link.call("measure", query)
        except LogbertError as error:
            self._end(str(error))
            return
        self._id = ref.id
        if self._cancelled:
            await self._cancel(ref.id)
        self.look()

    def cancel(self) -> None:
        """End it; nothing is learnt from it."""
        if not self._cancelled:
            self._cancelled = True
            if self._id is not None:
                in_background(self._screen, self._cancel, self._id, group="measure")

    async def _cancel(self, number: int) -> None:
        try:
            await self._screen.link.call("cancel_measure", MeasureRef(id=number))
        except LogbertError as error:
            self._screen.state.notice(str(error), "warning")

    def look(self) -> None:
        """Something was heard of it."""
        progress = self.progress
        if progress is None:
            return
        if progress.state == "running":
            self._changed(False)
        else:
            self._end(progress.message)

    def lost(self) -> None:
        """The engine is gone: what becomes of the measurement will not be heard."""
        if self._preset:
            self._end("the connection to the engine was lost while it measured.")

    def _end(self, problem: str) -> None:
        """Said in a sentence where it failed."""
        preset, self._preset, self._id = self._preset, "", None
        state = self._screen.state
        if self._cancelled:
            state.notice("The measurement was cancelled; nothing was learnt from it.")
        elif problem:
            state.notice(f"Measuring {preset} failed: {problem}", "error")
        else:
            state.notice(f"{preset} was measured on this machine.")
        self._changed(True)
