"""The memory policy: warn close to the budget, then halve the micro-batch, and say when that cannot help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

SHARE = 0.8
"""Of the budget, above which memory counts as short (the source documents' figure)."""
HELPS = 0.03
"""A halving that lowers the peak by less than this share of it has not helped."""


class MemoryState(msgspec.Struct, kw_only=True):
    """What a guard remembers, as plain data."""

    micro_batch: int
    """Sessions on a device at once, now."""
    peak_mb: float = 0.0
    """Highest memory seen with this micro-batch."""
    before_mb: float | None = None
    """The same with the micro-batch before; None once it is known whether the halving helped."""
    settling: bool = False
    """Whether the next look may still show steps from before the halving."""
    warned: bool = False
    helps: bool = True
    """Whether the last halving lowered the peak."""
    said_helpless: bool = False


@dataclass(frozen=True)
class Advice:
    """What a look leads to."""

    kind: Literal["warn", "halve", "helpless"]
    micro_batch: int
    """From now on; differs from the one before for ``halve`` only."""
    message: str
    """For people."""


def halved(micro_batch: int) -> int:
    """The next smaller micro-batch: 7, 4, 2, 1."""
    return (micro_batch + 1) // 2


class MemoryGuard:
    """Looks at the peak of each window of steps and advises.

    The first look above 80% of the budget warns; each later one halves the micro-batch, of which as many more
    are taken a step, so that the batch, and the result, stay the same. The look that follows a halving decides
    nothing: its window may hold steps from before it. The look after that tells whether the halving helped; if
    it did not, the memory is taken by what no micro-batch makes smaller, and halving on would only cost time.

    Windows are of training steps alone: validation and saving, which no micro-batch changes, are left out. After
    a halving the caller gives freed memory back to the system, or the allocators' caches hide its effect.
    """

    def __init__(
        self,
        budget_mb: float,
        micro_batch: int,
        floor: int = 1,
        held_mb: Mapping[str, float] | None = None,
        state: MemoryState | None = None,
    ) -> None:
        """Watch a budget.

        Args:
            budget_mb: memory that training may take.
            micro_batch: to begin with.
            floor: the smallest micro-batch.
            held_mb: what takes memory whatever the micro-batch, by name (model, optimizer, data), for messages.
            state: goes on from there; ``micro_batch`` is then not used.
        """
        self._budget, self._floor, self._held = budget_mb, floor, dict(held_mb or {})
        self.state = state or MemoryState(micro_batch=max(micro_batch, floor))

    @property
    def micro_batch(self) -> int:
        """Sessions on a device at once, now."""
        return self.state.micro_batch

    def look(self, used_mb: float) -> Advice | None:
        """Judge the window since the last look.

        Args:
            used_mb: the peak of that window.

        Returns:
            What to say and do now, or None.
        """
        state = self.state
        if state.settling:
            state.settling = False
            return None
        state.peak_mb = max(state.peak_mb, used_mb)
        if state.before_mb is not None:
            state.helps = state.peak_mb <= state.before_mb * (1 - HELPS)
            state.before_mb = None
        if used_mb <= SHARE * self._budget or state.said_helpless:
            return None
        if not state.warned:
            state.warned = True
            return self._warn(used_mb)
        if state.micro_batch <= self._floor or not state.helps:
            state.said_helpless = True
            return self._helpless(used_mb)
        return self._halve(used_mb)

    def lowered(self, micro_batch: int) -> None:
        """The micro-batch was lowered by others: another rank's advice, or memory that ran out."""
        if micro_batch != self.state.micro_batch:
            self._begin(micro_batch)

    def _begin(self, micro_batch: int) -> None:
        state = self.state
        state.before_mb, state.peak_mb, state.settling = state.peak_mb or None, 0.0, True
        state.micro_batch = micro_batch

    def _warn(self, used_mb: float) -> Advice:
        micro = self.state.micro_batch
        next_step = (
            f"if it stays so, the micro-batch of {micro} is halved (the batch stays as it is)"
            if micro > self._floor
            else "the micro-batch is already as small as it gets"
        )
        return Advice("warn", micro, f"{self._used(used_mb)}; {next_step}.")

    def _halve(self, used_mb: float) -> Advice:
        before = self.state.micro_batch
        self._begin(max(self._floor, halved(before)))
        now = self.state.micro_batch
        message = (
            f"{self._used(used_mb)}: the micro-batch goes from {before} to {now}, and a step takes more of them "
            "(the batch stays as it is)."
        )
        return Advice("halve", now, message)

    def _helpless(self, used_mb: float) -> Advice:
        micro = self.state.micro_batch
        if micro <= self._floor:
            why = f"and the micro-batch is already {micro}"
        else:
            why = f"and halving the micro-batch to {micro} did not lower it, so it stays there"
        held = ", ".join(f"{name} {mb:,.0f} MB" for name, mb in self._held.items())
        taken = held or "model, optimizer and data"
        return Advice(
            "helpless",
            micro,
            f"{self._used(used_mb)}, {why}. What no micro-batch makes smaller takes it: {taken}. Raise "
            "--max-memory-mb, or take a smaller model (--set model.hidden=…), shorter inputs "
            "(--set model.max_length=…) or fewer sessions (--sample-ratio).",
        )

    def _used(self, used_mb: float) -> str:
        return f"memory reached {used_mb:,.0f} MB, {used_mb / self._budget:.0%} of the {self._budget:,.0f} MB budget"
