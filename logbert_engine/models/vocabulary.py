"""Event ids as the model numbers them: markers first, free rows for later events, then the known events."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.batches import Markers

EventId = int | str

PAD, CLS, END, MASK, UNK, BAG, MORE = range(7)
"""CLS is the paper's DIST; END closes a whole session, so that a missing end can be seen; BAG marks the
view of a session without order; MORE begins a later window of a long session."""
MARKERS = 8
"""Rows before the reserved ones; one is free."""
AROUND = Markers(pad=PAD, opens=CLS, goes_on=MORE, bag=BAG, end=END)


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True):
    """The events that a model knows, in the order of their rows."""

    events: list[EventId]
    reserved: int
    """Free rows between the markers and the events."""

    @property
    def first(self) -> int:
        """The row of the first event."""
        return MARKERS + self.reserved

    @property
    def size(self) -> int:
        """Rows of the embedding."""
        return self.first + len(self.events)

    def lookup(self, events: Sequence[EventId]) -> NDArray[np.int64]:
        """The model's id of each event, UNK for those it does not know."""
        known = {event: self.first + i for i, event in enumerate(self.events)}
        return np.array([known.get(event, UNK) for event in events], dtype=np.int64)

    def event(self, model_id: int) -> EventId | None:
        """The event of a row; None for markers and reserved rows."""
        index = model_id - self.first
        return self.events[index] if 0 <= index < len(self.events) else None

    def names(self) -> list[str]:
        """Each event as text, for keys of JSON objects."""
        return [str(event) for event in self.events]
