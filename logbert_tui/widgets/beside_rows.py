"""A scored session beside the ordinary one that it is most like, and how often its events occur. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from logbert_engine.protocol.results import CountDifference, DifferenceStep, ResultDetail
from logbert_tui.figures import NONE, count
from logbert_tui.widgets.cells import clean, fit, width_of
from logbert_tui.widgets.rows import Span

LONGEST_EVENT = 16
KEPT_AROUND = 2
"""Events in common that are shown on either side of a difference."""
MARKS = {
    "keep": ("  ", "dim"),
    "insert": ("+ ", "bad"),
    "delete": ("− ", "accent"),
    "substitute": ("≠ ", "warn"),
}
NOT_LOOKED_UP = "The nearest ordinary session is looked up for the top of the list only."
TOO_LONG = "The nearest ordinary session is too long to be laid beside this one."
KEY = "+ only here   − only in the ordinary session   ≠ one instead of the other"

_Line = tuple[tuple[str, str], ...]


def nearest_words(detail: ResultDetail) -> str:
    """The nearest ordinary session in a few words; empty where none was looked up."""
    nearest = detail.session.nearest
    if nearest is None:
        return ""
    seen = f"seen {count(nearest.sessions)} {'time' if nearest.sessions == 1 else 'times'} in training"
    if nearest.distance == 0:
        return f"this very sequence was {seen}"
    least = "at least " if nearest.approximate else ""
    changes = "change" if nearest.distance == 1 else "changes"
    return f"nearest ordinary session: {least}{count(nearest.distance)} {changes}, {seen}"


class BesideRows:
    """The comparison as the source of a list."""

    def __init__(self, detail: ResultDetail) -> None:
        self._templates = {event: clean(" ".join(text.split())) for event, text in detail.templates.items()}
        session = detail.session
        self._place = max(3, len(count(session.length)))
        shown = [event for step in (session.nearest.steps if session.nearest else []) for event in step.seen]
        shown += [row.event for row in session.counts]
        self._event = min(LONGEST_EVENT, max([5, *(width_of(clean(str(event))) for event in shown)]))
        self._lines = list(self._compose(detail))

    @property
    def count(self) -> int:
        """Lines."""
        return len(self._lines)

    def request(self, first: int, last: int) -> None:
        """Everything is here."""

    def row(self, index: int, width: int) -> Sequence[Span]:
        """One line."""
        spans: list[Span] = []
        room = width
        for text, tone in self._lines[index]:
            if room <= 0:
                break
            shown = text if width_of(text) <= room else fit(text, room)
            spans.append(Span(shown, tone))
            room -= width_of(shown)
        return spans

    def _compose(self, detail: ResultDetail) -> Iterator[_Line]:
        session = detail.session
        nearest = session.nearest
        if nearest is None:
            yield ((NOT_LOOKED_UP, "dim"),)
        else:
            words = nearest_words(detail)
            yield ((words[0].upper() + words[1:] + ".", "strong"),)
            if nearest.steps:
                yield ((KEY, "dim"),)
                for i, step in enumerate(nearest.steps):
                    yield from self._step(step, first=i == 0, last=i + 1 == len(nearest.steps))
            else:
                yield ((TOO_LONG, "warn"),)
        if session.counts:
            yield (("", ""),)
            yield (
                (
                    "Events that occur more or less often than in the ordinary sessions most like it.",
                    "strong",
                ),
            )
            titles = (fit("event", self._event), fit("here", 7, right=True), fit("ordinary", 9, right=True))
            yield (("  ".join((*titles, "lowest to highest")), "dim"),)
            for row in session.counts:
                yield self._count(row)

    def _step(self, step: DifferenceStep, *, first: bool, last: bool) -> Iterator[_Line]:
        if step.kind == "keep":
            head = 0 if first else KEPT_AROUND
            tail = 0 if last else KEPT_AROUND
            hidden = len(step.seen) - head - tail
            for i, event in enumerate(step.seen):
                if hidden < 2 or i < head or i >= len(step.seen) - tail:
                    yield self._line(step.at + i, event, *MARKS["keep"])
                elif i == head:
                    yield ((f"{'':{self._place}}  … {count(hidden)} events alike", "dim"),)
            return
        for i, event in enumerate(step.seen):
            instead = i < len(step.ordinary)
            yield self._line(step.at + i, event, *(MARKS["substitute"] if instead else MARKS["insert"]))
            if instead:
                yield self._line(None, step.ordinary[i], *MARKS["delete"])
        for event in step.ordinary[len(step.seen) :]:
            yield self._line(None, event, *MARKS["delete"])

    def _line(self, place: int | None, event: int | str, mark: str, tone: str) -> _Line:
        where = "" if place is None else count(place + 1)
        return (
            (fit(where, self._place, right=True) + "  ", "dim"),
            (mark + fit(clean(str(event)), self._event) + "  ", tone),
            (self._templates.get(str(event), ""), "dim" if tone == "dim" else ""),
        )

    def _count(self, row: CountDifference) -> _Line:
        beyond = not row.lowest <= row.here <= row.highest
        extent = f"{count(row.lowest)} to {count(row.highest)}" if row.lowest < row.highest else NONE
        return (
            (fit(clean(str(row.event)), self._event) + "  ", ""),
            (fit(count(row.here), 7, right=True) + "  ", "bad" if beyond else "warn"),
            (fit(count(row.median), 9, right=True) + "  ", ""),
            (fit(extent, 18), "dim"),
            (self._templates.get(str(row.event), ""), "dim"),
        )
