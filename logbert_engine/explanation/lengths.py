"""How unusual a session's length is among the ordinary ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from logbert_engine.data.normals import Normals


@dataclass(frozen=True)
class LengthRow:
    """A session's length beside those of ordinary sessions."""

    here: int
    """Events."""
    usual: int
    """The median of the ordinary sessions, events."""
    as_extreme: int
    """Ordinary sessions as short or shorter, for one above the median as long or longer."""
    sessions: int
    """Ordinary sessions compared with."""


def measured(length: int, normals: Normals) -> LengthRow:
    """Place a length among those of ordinary sessions, of which there is at least one."""
    lengths = np.diff(normals.offsets)
    order = np.argsort(lengths, kind="stable")
    reached = np.cumsum(normals.counts[order])
    sessions = int(reached[-1])
    usual = int(lengths[order][np.searchsorted(reached, (sessions + 1) // 2)])
    beyond = lengths >= length if length > usual else lengths <= length
    return LengthRow(length, usual, int(normals.counts[beyond].sum()), sessions)
