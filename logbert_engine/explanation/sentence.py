"""Why a session is unusual, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from logbert_engine.detection.wording import named, reason
from logbert_engine.explanation.counts import CountRow
from logbert_engine.explanation.lengths import LengthRow
from logbert_engine.protocol.results import EventScore

Component = Literal["order", "bag", "unseen", "counts", "end", "length", "distance"]


@dataclass(frozen=True)
class Ending:
    """A session that stops where ordinary ones go on."""

    last: int | str
    """Its last event."""
    expected: tuple[int | str, float] | None = None
    """The likeliest event to follow, with its probability."""


@dataclass(frozen=True)
class Evidence:
    """What is known of a session. A component without its evidence falls back on the top position."""

    component: Component | None
    """That fired; None where none did."""
    top: EventScore
    """The position of highest surprisal: of the bag's events for ``bag``, else of the session's."""
    length: int
    """Events."""
    rarer_than: tuple[int, int] = (0, 0)
    """(a, n): more unusual than ``a`` of ``n`` normal sessions, by the component."""
    unseen: Sequence[int | str] = ()
    """Events that training never saw, in order."""
    counts: Sequence[CountRow] = ()
    """Rows of ``differing``, with event ids for tokens."""
    ending: Ending | None = None
    length_row: LengthRow | None = None


def sentence(evidence: Evidence, templates: Mapping[str, str]) -> str:
    """Say what stands out, and how rare that is.

    Args:
        evidence: of one session.
        templates: event id as text to template.
    """
    if evidence.component == "length" and evidence.length_row is not None:
        return _length(evidence.length_row)  # says itself how rare it is
    return _joined(_what(evidence, templates), _rarity(*evidence.rarer_than))


def _what(evidence: Evidence, templates: Mapping[str, str]) -> str:
    if evidence.unseen and (evidence.component == "unseen" or evidence.top.event in evidence.unseen):
        return reason(evidence.top, list(evidence.unseen), evidence.length, templates)
    if evidence.component == "counts" and evidence.counts:
        return _counts(evidence.counts, templates)
    if evidence.component == "end" and evidence.ending is not None:
        return _end(evidence.ending, templates)
    if evidence.component == "bag":
        return _bag(evidence.top, templates)
    if evidence.component == "distance":
        return "as a whole far from what ordinary sessions look like"
    return reason(evidence.top, [], evidence.length, templates)


def _counts(rows: Sequence[CountRow], templates: Mapping[str, str]) -> str:
    row = rows[0]
    event = named(row.event, templates)
    here = f"event {event} {_occurs(row.here)}" if row.here else f"event {event} is missing"
    there = f"{row.median:,}" if row.median else "none"
    if row.lowest < row.highest:
        there += f" ({row.lowest:,} to {row.highest:,})" if row.median else f" or up to {row.highest:,}"
    return _joined(f"{here}, ordinary sessions like it have {there}", _more(len(rows) - 1))


def _occurs(count: int) -> str:
    return "occurs once" if count == 1 else f"occurs {count:,} times"


def _more(rows: int) -> str:
    if rows < 1:
        return ""
    return "1 more event differs" if rows == 1 else f"{rows:,} more events differ"


def _end(ending: Ending, templates: Mapping[str, str]) -> str:
    said = f"ends after {named(ending.last, templates)}, where ordinary sessions go on"
    if ending.expected is None:
        return said
    event, probability = ending.expected
    return f"{said} with {named(event, templates)} ({probability:.0%})"


def _bag(top: EventScore, templates: Mapping[str, str]) -> str:
    """The bag has no order, so no place to name."""
    seen = named(top.event, templates)
    if not top.expected:
        return f"event {seen} is unusual among the others"
    event, probability = top.expected[0]
    if event == top.event:
        return f"nothing unexpected; least certain among the others: {seen}"
    return f"expected {named(event, templates)} ({probability:.0%}) among the others, saw {seen}"


def _length(row: LengthRow) -> str:
    events = "1 event" if row.here == 1 else f"{row.here:,} events"
    way = "longer" if row.here > row.usual else "shorter"
    those = f"all but {row.as_extreme:,} of" if row.as_extreme else "all"
    return f"{events}, {way} than {those} {row.sessions:,} normal sessions (median {row.usual:,})"


def _rarity(below: int, sessions: int) -> str:
    if not sessions:
        return ""
    those = f"all {sessions:,}" if below >= sessions else f"{below:,} of {sessions:,}"
    return f"more unusual than {those} normal sessions"


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
