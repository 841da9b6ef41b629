"""What a run is expected to take, with how far that may be off, and what it took beside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Origin = Literal["computed", "calibrated", "measured"]
"""Of a figure: from sizes and nominal speeds; the same, with what other models took on this machine; from real steps
of this one. What the source documents say is text and never a figure."""
_SURER: tuple[Origin, ...] = ("computed", "calibrated", "measured")


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with its range."""

    value: float
    low: float
    high: float
    origin: Origin


class StageExpectation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a stage is expected to take, once its sessions have been read."""

    stage: int
    memory: Figure
    """MB (2^20 bytes) at the peak: of a GPU with memory of its own there, else of the process."""
    step_s: Figure | None = None
    """Seconds of an optimizer step; None where nothing is known of the device."""
    end_s: float = 0.0
    """Seconds of an epoch's end: validation, and writing its model."""
    seconds: Figure | None = None
    """Of the whole stage."""


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """Three sources of the same figure, which stay apart."""

    documented: str = ""
    """In the source documents' words; theirs, not measured."""
    estimated: Figure | None = None
    actual: float | None = None
    off: float | None = None
    """The actual figure as a multiple of the estimated one."""


def beside(documented: str, estimated: Figure | None, actual: float | None) -> Beside:
    """Lay them beside each other."""
    known = estimated is not None and estimated.value > 0 and actual is not None
    return Beside(
        documented=documented,
        estimated=estimated,
        actual=actual,
        off=round(actual / estimated.value, 3) if known and estimated and actual is not None else None,
    )


def together(figures: Iterable[Figure]) -> Figure | None:
    """One after the other: the sum, as sure as the least sure of them; None of none."""
    found = list(figures)
    if not found:
        return None
    return Figure(
        value=sum(figure.value for figure in found),
        low=sum(figure.low for figure in found),
        high=sum(figure.high for figure in found),
        origin=min((figure.origin for figure in found), key=_SURER.index),
    )


def highest(figures: Iterable[Figure]) -> Figure | None:
    """The one of highest value; None of none."""
    return max(figures, key=lambda figure: figure.value, default=None)


def peak_mb(device: str, resident_mb: float, device_mb: float | None) -> float:
    """The memory that counts where a process trains, and that a budget is held against.

    Args:
        device: ``cpu``, ``mps`` (which shares the process's memory) or ``cuda`` (which has its own).
        resident_mb: of the process.
        device_mb: taken of the device; None where it is not told.
    """
    if device_mb is None:
        return resident_mb
    return device_mb if device == "cuda" else max(device_mb, resident_mb)
