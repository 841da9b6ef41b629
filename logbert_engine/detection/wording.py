"""Why a session scores as it does, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping

from logbert_engine.protocol.results import EventScore

EventId = int | str
_LONGEST_TEMPLATE = 48


def named(event: EventId, templates: Mapping[str, str]) -> str:
    """An event with its template where it is known: ``26 (BLOCK* NameSystem.addStoredBlock: …)``."""
    text = " ".join(templates.get(str(event), "").split())
    if not text:
        return str(event)
    if len(text) > _LONGEST_TEMPLATE:
        text = text[: _LONGEST_TEMPLATE - 1].rstrip() + "…"
    return f"{event} ({text})"


def reason(worst: EventScore, unseen: list[EventId], length: int, templates: Mapping[str, str]) -> str:
    """Name what stands out most.

    Args:
        worst: the position of highest surprisal.
        unseen: events of the session that training never saw, in order.
        length: of the session.
        templates: event id as text to template.
    """
    if unseen:
        distinct = list(dict.fromkeys(unseen))
        more = f" and {len(distinct) - 1} more" if len(distinct) > 1 else ""
        return f"event {named(distinct[0], templates)}{more} never seen in training"
    place = f"at {worst.position + 1} of {length}"
    if not worst.expected:
        return f"{named(worst.event, templates)} {place} is unusual"
    event, probability = worst.expected[0]
    if event == worst.event:
        return f"nothing unexpected; least certain {place}: {named(worst.event, templates)}"
    return (
        f"expected {named(event, templates)} ({probability:.0%}) {place}, saw {named(worst.event, templates)}"
    )
