"""The presets as rows of a list: whether each fits this machine, what it takes of it, for how long, at what cost."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical

from logbert_engine.protocol.estimates import Estimate, Fit
from logbert_engine.protocol.figures_in_words import dollars, seconds
from logbert_engine.protocol.messages import PresetInfo
from logbert_tui.figures import NONE, megabytes, short
from logbert_tui.screens.picker_asking import Answer
from logbert_tui.widgets.cells import clean, fit
from logbert_tui.widgets.gauge import Gauge, marked_bar
from logbert_tui.widgets.line_list import LineList
from logbert_tui.widgets.lines import Lines, Row
from logbert_tui.widgets.rows import Span

SIGNS: dict[Fit, tuple[str, str]] = {
    "fits": ("✓", "good"),
    "adjusted": ("▲", "warn"),
    "too large": ("✗", "bad"),
    "no device": (NONE, "dim"),
}
"""Of a verdict: its sign, and its tone."""
WAITING = "…"

_COLUMNS: tuple[tuple[str, int, int], ...] = (
    # title, cells, importance (lower is kept longer)
    ("preset", 12, 0),
    ("here", 11, 1),
    ("memory bar", 10, 5),
    ("memory", 8, 2),
    ("run", 8, 3),
    ("cost", 9, 4),
    ("params", 6, 6),
    ("made for", 12, 7),
)
_TITLES = {"memory bar": "of free", "run": "time", "cost": "rented"}
_RIGHT = {"memory", "run", "cost", "params"}
LIST_MARGIN = 3
"""Cells of a list's row that are not the preset's: the cursor's mark and the scroll mark."""
_MOST_SPARE = 24


def columns(width: int) -> list[tuple[str, int]]:
    """The columns that fit, with their cells; room that is left goes to the machine made for, or to the bar."""
    kept: set[str] = set()
    used = 0
    for title, cells, _ in sorted(_COLUMNS, key=lambda column: column[2]):
        if used + cells + 1 > width:
            break
        kept.add(title)
        used += cells + 1
    wide = "made for" if "made for" in kept else "memory bar"
    spare = max(0, min(_MOST_SPARE, width - used))
    return [(title, cells + (spare if title == wide else 0)) for title, cells, _ in _COLUMNS if title in kept]


def preset_header(width: int) -> Row:
    """The columns' titles, after the cells of the cursor's mark."""
    cells = [
        fit(_TITLES.get(title, title), room, right=title in _RIGHT)
        for title, room in columns(width - LIST_MARGIN)
    ]
    return (("  " + " ".join(cells), "dim"),)


def preset_spans(preset: PresetInfo, answer: Answer, width: int) -> list[Span]:
    """A row of the list."""
    estimate = answer.estimates.get(preset.name)
    plain = "" if preset.trainable else "dim"
    spans: list[Span] = []
    for title, room in columns(width):
        if title == "preset":
            cells = [Span(fit(preset.name, room), "strong" if preset.trainable else "dim")]
        elif title == "made for":
            cells = [Span(fit(clean(preset.hardware), room), "dim")]
        elif estimate is None:
            missing = WAITING if answer.waiting and not answer.problem_of(preset.name) else NONE
            cells = [Span(fit(missing if title != "memory bar" else "", room, right=title in _RIGHT), "dim")]
        elif title == "here":
            sign, tone = SIGNS[estimate.verdict.fit]
            cells = [Span(fit(f"{sign} {estimate.verdict.fit}", room), tone)]
        elif title == "memory bar":
            cells = memory_bar(estimate, room)
        else:
            cells = [Span(fit(figure_text(estimate, title), room, right=True), plain)]
        spans += [*cells, Span(" ")]
    return spans


def figure_text(estimate: Estimate, title: str) -> str:
    """A figure of a row. A time that was not measured has a tilde; one of a run that does not fit is none."""
    if title == "memory":
        return megabytes((estimate.fitted or estimate.memory).value)
    if title == "params":
        return short(estimate.parameters)
    if title == "run":
        time = estimate.seconds
        if time is None or estimate.verdict.fit == "too large":
            return NONE
        return ("" if time.origin == "measured" else "~") + seconds(time.value).replace(" days", " d")
    there = estimate.elsewhere
    if there is None:
        return NONE
    return dollars(there.cost.value) if there.cost is not None else there.price.partition(";")[0] or NONE


def memory_bar(estimate: Estimate, width: int) -> list[Span]:
    """What a run needs of what the device has to offer, with the preset's budget marked."""
    need, room, budget = (estimate.fitted or estimate.memory).value, estimate.room_mb, estimate.budget_mb
    tone = SIGNS[estimate.verdict.fit][1]
    if tone == "good" and budget is not None and need > budget:
        tone = "warn"
    bar = Gauge("memory", need if room else None, room, "", budget=budget)
    return [Span(text, style) for text, style in marked_bar(bar, width, tone)]


class PresetRows:
    """The presets as rows of a list."""

    def __init__(self, presets: Sequence[PresetInfo], answer: Answer) -> None:
        self.presets, self.answer = presets, answer
        self.width = 0
        """Cells of a row, the same with and without a scroll mark, so that rows stand under the header."""

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.presets)

    def row(self, index: int, width: int) -> Sequence[Span]:
        """One preset."""
        return preset_spans(self.presets[index], self.answer, self.width or width)

    def request(self, first: int, last: int, /) -> None:
        """All are there."""


class PresetPanel(Vertical):
    """The list below its header."""

    def __init__(self) -> None:
        super().__init__(id="presets", classes="panel")
        self.border_title = "presets"
        self._rows = PresetRows((), Answer())

    @property
    def presets(self) -> Sequence[PresetInfo]:
        """The presets that are offered."""
        return self._rows.presets

    def compose(self) -> ComposeResult:
        """Header and list."""
        yield Lines(id="header")
        yield LineList(id="preset-list", empty="Waiting for the engine …")

    def offer(self, presets: Sequence[PresetInfo], cursor: int) -> None:
        """Show other presets."""
        self._rows = PresetRows(presets, self._rows.answer)
        self.query_one(LineList).set_source(self._rows, cursor)
        self.fit()

    def renew(self, answer: Answer) -> None:
        """Show other estimates, and whether more are to come."""
        self._rows.answer = answer
        self.query_one(LineList).repaint()
        said = "estimating …" if answer.waiting else None
        if self.border_subtitle != said:
            self.border_subtitle = said

    def fit(self) -> None:
        """The header for the width that there is, and the same columns below it."""
        header = self.query_one(Lines)
        header.show([preset_header(header.size.width)])
        self._rows.width = header.size.width - LIST_MARGIN
        self.query_one(LineList).repaint()
