"""What a run was documented and estimated to take beside what it took, for its results and its summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from logbert_engine.protocol import figures_in_words
from logbert_engine.protocol.expectation import Beside, beside, highest, peak_mb, together
from logbert_engine.training.plan import StageMetrics

_NONE = "–"


class Comparison(msgspec.Struct, kw_only=True, frozen=True):
    """Of a stage, or of the run."""

    name: str
    """The stage's; ``run`` for all complete stages together."""
    seconds: Beside
    """Training time."""
    memory_mb: Beside
    """At the peak: of a GPU with memory of its own there, else of the process."""


def comparisons_of(stages: Sequence[StageMetrics], documented: Mapping[str, str]) -> list[Comparison]:
    """The run, then its complete stages.

    Args:
        stages: complete ones.
        documented: what the source documents expect of the whole run, by name.
    """
    if not stages:
        return []
    times = [s.expected.seconds for s in stages if s.expected is not None]
    known = [time for time in times if time is not None]
    run = Comparison(
        name="run",
        seconds=beside(
            documented.get("time", ""),
            together(known) if len(known) == len(stages) else None,
            round(sum(s.seconds for s in stages), 3),
        ),
        memory_mb=beside(
            documented.get("memory", ""),
            highest(s.expected.memory for s in stages if s.expected is not None),
            max((peak for s in stages if (peak := _peak(s)) is not None), default=None),
        ),
    )
    return [run, *map(_of_stage, stages)]


def _of_stage(stage: StageMetrics) -> Comparison:
    expected = stage.expected
    return Comparison(
        name=stage.name,
        seconds=beside("", expected.seconds if expected is not None else None, stage.seconds),
        memory_mb=beside("", expected.memory if expected is not None else None, _peak(stage)),
    )


def _peak(stage: StageMetrics) -> float | None:
    if stage.peak_memory_mb is None:
        return stage.peak_device_mb
    return peak_mb(stage.device, stage.peak_memory_mb, stage.peak_device_mb)


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Columns for people; a ratio says how many times the estimate it was."""
    rows = [("", "", "documented", "estimated", "", "actual", "")]
    for one in comparisons:
        seconds, memory = one.seconds, one.memory_mb
        told = figures_in_words.duration(seconds.estimated) if seconds.estimated is not None else _NONE
        took = figures_in_words.seconds(seconds.actual) if seconds.actual is not None else _NONE
        rows.append((one.name, "time", *_row(seconds, told, took)))
        told = figures_in_words.memory(memory.estimated) if memory.estimated is not None else _NONE
        took = figures_in_words.megabytes(memory.actual) if memory.actual is not None else _NONE
        rows.append(("", "memory", *_row(memory, told, took)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(found: Beside, told: str, took: str) -> tuple[str, str, str, str, str]:
    origin = found.estimated.origin if found.estimated is not None else ""
    off = f"{found.off:.2f} × the estimate" if found.off is not None else ""
    return found.documented or _NONE, told, origin, took, off
