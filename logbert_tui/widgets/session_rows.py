"""The events of a scored session: a row each, with its surprisal and what was expected instead. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from logbert_engine.protocol.results import EventScore, ResultDetail, SessionResult
from logbert_tui.figures import NONE, count
from logbert_tui.widgets.cells import clean, fit, width_of
from logbert_tui.widgets.heat_strip import heat_bar, heat_tone, heat_top
from logbert_tui.widgets.rows import Span

LONGEST_EVENT = 16
NAMED_IN_ROW = 2
"""Expected events that a row names; all of them stand below."""

TOO_LONG = "This session is too long to be sent whole: these are its most surprising events."
NO_DETAILS = (
    "Only the most surprising events of this session were kept: every event is kept for alarms and for the "
    "top of the list. To have them, score again with a lower threshold or a larger share."
)


def probability(share: float) -> str:
    """A probability with as many digits as it needs: ``72%``, ``0.4%``, ``<0.01%``."""
    value = share * 100
    if value >= 9.95:
        return f"{value:.0f}%"
    return f"{value:.2g}%" if value >= 0.01 else "<0.01%"


class SessionRows:
    """A session as the source of a list."""

    def __init__(self, detail: ResultDetail) -> None:
        session = detail.session
        self.templates = {event: clean(" ".join(text.split())) for event, text in detail.templates.items()}
        self.high = {score.position: score for score in session.highest}
        self.complete = session.event_sequence is not None
        self.missing = "" if self.complete else TOO_LONG if session.is_anomaly else NO_DETAILS
        """Why events are missing, in a sentence or two."""
        self._events: list[tuple[int, int | str, float | None]] = _events(session)
        known = [surprisal for _, _, surprisal in self._events if surprisal is not None]
        self.surprisals = known if self.complete and len(known) == len(self._events) else []
        self._top = heat_top(known)
        self._place = max(3, len(count(session.length)))
        self._event = min(
            LONGEST_EVENT, max([5, *(width_of(clean(str(event))) for _, event, _ in self._events)])
        )

    @property
    def count(self) -> int:
        """Events that are known."""
        return len(self._events)

    def request(self, first: int, last: int) -> None:
        """Everything is here."""

    def event_at(self, index: int) -> tuple[int, int | str, float | None]:
        """(position from 0, event id, surprisal in nats or None) of a row."""
        return self._events[index]

    def next_high(self, index: int, step: int) -> int | None:
        """The next row up or down whose event was among the most surprising; None when there is no other."""
        stop = self.count if step > 0 else -1
        return next((i for i in range(index + step, stop, step) if self._events[i][0] in self.high), None)

    def first_high(self) -> int:
        """The row of the most surprising event."""
        places = [
            (score.surprisal, -i)
            for i, (position, _, _) in enumerate(self._events)
            if (score := self.high.get(position)) is not None
        ]
        return -max(places)[1] if places else 0

    def _bar(self, width: int) -> int:
        return 10 if width >= 90 else 6

    def heading(self, width: int) -> list[Span]:
        """The titles of the columns."""
        titles = (
            fit("#", self._place, right=True),
            fit("surprisal, nats" if width >= 90 else "surprisal", self._bar(width) + 8),
            fit("event", self._event),
        )
        last = "≠ expected instead, and the text of the event" if width >= 80 else "≠ expected instead, text"
        return [Span("  ".join((*titles, last)), "dim")]

    def row(self, index: int, width: int) -> Sequence[Span]:
        """One event."""
        position, event, surprisal = self._events[index]
        text = self.templates.get(str(event), "")
        spans = [Span(fit(count(position + 1), self._place, right=True) + "  ", "dim")]
        if surprisal is None:
            spans.append(Span(fit(NONE, self._bar(width) + 10, right=False), "dim"))
        else:
            spans.append(heat_bar(surprisal, self._top, self._bar(width)))
            spans.append(Span(f" {surprisal:7.2f}  ", heat_tone(surprisal)))
        high = self.high.get(position)
        surprising = high is not None and bool(instead(high))
        spans.append(Span(fit(clean(str(event)), self._event) + "  ", "strong" if surprising else ""))
        if high is not None and surprising:
            names = ", ".join(
                f"{clean(str(other))} ({probability(p)})" for other, p in instead(high)[:NAMED_IN_ROW]
            )
            spans.append(Span(f"≠ {names}  ", "warn"))
        room = width - sum(width_of(span.text) for span in spans)
        if text and room > 3:
            spans.append(Span(fit(text, room), "" if surprising else "dim"))
        return spans

    def explain(self, index: int, width: int, height: int) -> list[tuple[tuple[str, str], ...]]:
        """What stands out at a row: its text, and what was expected there, likeliest first."""
        if not self.count:
            return []
        position, event, surprisal = self._events[index]
        name = clean(str(event))
        head: list[tuple[str, str]] = [(f" event {name}", "strong"), (f" at {count(position + 1)}", "dim")]
        if surprisal is not None:
            given = f"  {surprisal:.2f} nats, {probability(math.exp(-max(0.0, surprisal)))} probable"
            head.append((given, "warn" if surprisal >= 2 else "dim"))
        rows: list[tuple[tuple[str, str], ...]] = [tuple(head)]
        text = self.templates.get(str(event), "")
        if text:
            rows.append(((" " + fit(text, max(1, width - 2)).rstrip(), ""),))
        high = self.high.get(position)
        if high is None:
            rows.append(
                ((" What was expected is kept for the most surprising events: e goes to the next.", "dim"),)
            )
            return rows[:height]
        others = instead(high)
        if not others:
            rows.append(((" The likeliest event there.", "dim"),))
        for other, share in others[: max(0, height - len(rows))]:
            line = f"{clean(str(other))}  {self.templates.get(str(other), '')}"
            rows.append(
                (
                    (" expected ", "dim"),
                    (fit(probability(share), 7, right=True) + "  ", "accent"),
                    (fit(line, max(1, width - 20)).rstrip(), ""),
                )
            )
        return rows[:height]


def instead(score: EventScore) -> list[tuple[int | str, float]]:
    """What was likelier than the event that came, likeliest first."""
    others: list[tuple[int | str, float]] = []
    for event, share in score.expected:
        if event == score.event:
            break
        others.append((event, share))
    return others


def _events(session: SessionResult) -> list[tuple[int, int | str, float | None]]:
    if session.event_sequence is None:
        return [
            (score.position, score.event, score.surprisal) for score in sorted(session.highest, key=_position)
        ]
    surprisals = session.surprisals or []
    return [
        (position, event, surprisals[position] if position < len(surprisals) else None)
        for position, event in enumerate(session.event_sequence)
    ]


def _position(score: EventScore) -> int:
    return score.position
