"""A run on a device: what all of its figures are computed from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from logbert_engine.estimates.machine import Machine, Place
from logbert_engine.estimates.memory import Load
from logbert_engine.estimates.work import Work
from logbert_engine.presets.shape import Shape


@dataclass(frozen=True)
class Setting:
    """A run on a device."""

    work: Work
    shape: Shape
    place: Place
    machine: Machine

    def load(self, micro_batch: int, tokens: int, *, accumulates: bool = False) -> Load:
        """What is on the device at once."""
        return Load(self.place.kind, self.place.precision, micro_batch, tokens, accumulates)

    def micro_batches(self, batch: int, micro_batch: int) -> int:
        """That each process takes in a step."""
        return -(-batch // (micro_batch * self.place.count))

    def recomputing(self, checkpointing: bool) -> Setting:
        """With or without gradient checkpointing."""
        return replace(self, shape=replace(self.shape, checkpointing=checkpointing))

    def with_rows(self, rows: int) -> Setting:
        """With as many events as the embedding then has rows."""
        return replace(self, shape=replace(self.shape, rows=rows or self.shape.rows))
