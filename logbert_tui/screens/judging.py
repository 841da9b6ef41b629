"""Judging a session of the results, from the ranked list or from the session itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

from logbert_engine.protocol import messages as m
from logbert_engine.protocol.errors import LogbertError
from logbert_engine.protocol.results import GiveVerdict, UndoVerdict
from logbert_tui.background import in_background
from logbert_tui.screens.console import ConsoleScreen

Verdict = Literal["normal", "anomaly", "ignore", "suppress"]


class JudgingScreen(ConsoleScreen):
    """A screen with a session that can be judged."""

    def judged_session(self) -> tuple[str, int] | None:
        """The results file and the rank from 0 of the session to judge; None where there is none."""
        raise NotImplementedError

    def after_verdict(self) -> None:
        """Show what is judged now."""
        raise NotImplementedError

    def action_judge(self, verdict: str) -> None:
        """Give a verdict on the session."""
        found = self.judged_session()
        if found is None:
            self.state.notice("No session is chosen.", "warning")
            return
        output, rank = found
        asked = GiveVerdict(output=output, rank=rank, verdict=cast("Verdict", verdict))
        self._ask("give_verdict", asked, lambda words: f"{words}. U takes it back.")

    def action_take_back_verdict(self) -> None:
        """Take the last verdict back."""
        found = self.judged_session()
        if found is not None:
            self._ask("undo_verdict", UndoVerdict(output=found[0]), lambda words: f"{words}.")

    def _ask(self, method: str, params: GiveVerdict | UndoVerdict, said: Callable[[str], str]) -> None:
        async def ask() -> None:
            try:
                done: m.Done = await self.link.call(method, params)
            except LogbertError as error:
                self.state.notice(str(error), "error")
                return
            self.state.notice(said(done.message[:1].upper() + done.message[1:]))
            self.after_verdict()

        in_background(self, ask, group="verdict")
