"""What the source documents, the estimate and the run itself say of its time and memory, side by side."""

from __future__ import annotations

from collections.abc import Callable

from logbert_engine.protocol.expectation import Beside, Figure, beside
from logbert_engine.protocol.runstate import RunState
from logbert_tui.figures import NONE, duration, keep_start, megabytes
from logbert_tui.widgets.cells import clean
from logbert_tui.widgets.lines import Row

_NAME, _SOURCE = 7, 11
_WHOLE = 6
"""Rows of time and memory with a row for each source."""


def beside_rows(run: RunState | None, width: int, height: int) -> list[Row]:
    """A row for each source where there is room, else one for time and one for memory."""
    if run is None or not run.stages:
        return [(("What the run is expected to take appears here.", "dim"),)]
    done = run.phase == "finished"
    time = beside(run.documented.get("time", ""), run.expected_seconds, run.seconds or None)
    memory = beside(run.documented.get("memory", ""), run.expected_memory, run.peak_mb or None)
    if height < _WHOLE:
        return [_brief("time", time, duration, width), _brief("memory", memory, megabytes, width)]
    return [
        *_rows("time", time, duration, "took" if done else "so far", width, done),
        *_rows("memory", memory, megabytes, "peak", width, done),
    ]


def _rows(
    name: str, found: Beside, written: Callable[[float | None], str], last: str, width: int, done: bool
) -> list[Row]:
    told = found.estimated
    sources = (
        ("documented", clean(found.documented) or NONE),
        ("estimated", f"{_ranged(told, written)}, {told.origin}" if told is not None else NONE),
        (last, written(found.actual) + (_off(found) if done else "")),
    )
    rows: list[Row] = []
    for number, (source, text) in enumerate(sources):
        head = f"{name if not number else '':<{_NAME}}{source:<{_SOURCE}}"
        style = "strong" if number == 2 else ""
        rows.append(((head, "dim"), (keep_start(text, max(1, width - len(head))), style)))
    return rows


def _brief(name: str, found: Beside, written: Callable[[float | None], str], width: int) -> Row:
    told = f" of {_ranged(found.estimated, written)} estimated" if found.estimated is not None else ""
    text = f"{written(found.actual)}{told}"
    return ((f"{name:<{_NAME}}", "dim"), (keep_start(text, max(1, width - _NAME)), ""))


def _ranged(figure: Figure, written: Callable[[float | None], str]) -> str:
    return f"{written(figure.value)} ({written(figure.low)}–{written(figure.high)})"


def _off(found: Beside) -> str:
    return f", {found.off:.2f} × the estimate" if found.off is not None else ""
