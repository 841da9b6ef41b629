"""Verdicts of people on sessions, and which of them holds."""

from __future__ import annotations

import hashlib
import json
import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import msgspec

from logbert_engine.protocol.errors import TriageError

Verdict = Literal["normal", "anomaly", "ignore", "suppress"]
"""``ignore``: this session, this once; ``suppress``: silent until a time."""
TargetKind = Literal["session", "signature"]
VERDICTS: tuple[str, ...] = get_args(Verdict)

_SIGNATURE = re.compile(r"[0-9a-f]{64}")


class Target(msgspec.Struct, frozen=True):
    """What a verdict is on: one session, or all sessions of the same events."""

    kind: TargetKind
    id: int | str
    """The session's id as its record has it, or a ``signature``. 5 and "5" are two sessions."""


class Judgement(msgspec.Struct, kw_only=True, frozen=True):
    """A verdict to be recorded."""

    target: Target
    verdict: Verdict
    note: str = ""
    until: float | None = None
    """For ``suppress``: when it ends, seconds since 1970 UTC."""
    events: tuple[int | str, ...] | None = None
    """Those of the signature, so that it can be learned from."""


class Change(msgspec.Struct, kw_only=True, frozen=True):
    """A row of the audit: a verdict given, or one undone."""

    seq: int
    """1, 2, 3, …: the order of changes, whatever the clocks say."""
    act: int
    """The ``seq`` of the first change made together with this one."""
    when: float
    """Seconds since 1970, UTC."""
    who: str
    target: Target
    verdict: Verdict
    """Given; of an undo, the one taken back."""
    note: str = ""
    until: float | None = None
    events: tuple[int | str, ...] | None = None
    undoes: int | None = None
    """The ``seq`` that this change takes back; None: it gives a verdict."""


@dataclass(frozen=True)
class Verdicts:
    """The verdicts that hold at one time."""

    by_session: Mapping[int | str, Change]
    by_signature: Mapping[str, Change]

    def of(self, session: int | str, signature: str) -> Change | None:
        """The verdict on a session: its own one, else that on its signature, else None."""
        return self.by_session.get(session) or self.by_signature.get(signature)

    def taught(self) -> list[tuple[int | str, ...]]:
        """The sequences that are judged normal, as far as their events were kept; in the order of the verdicts."""
        normal = [change for change in self.by_signature.values() if change.verdict == "normal"]
        return [change.events for change in sorted(normal, key=lambda c: c.seq) if change.events]


def signature(events: Sequence[int | str]) -> str:
    """What sessions of the same events in the same order have in common: 64 hex digits.

    It is made of event ids, so that it is the same whichever model's vocabulary they are looked up in; the
    number 5 and the text "5" are two events.
    """
    ids = [event if isinstance(event, str) else operator.index(event) for event in events]
    return hashlib.sha256(json.dumps(ids, separators=(",", ":")).encode()).hexdigest()


def holding(changes: Iterable[Change], now: float) -> Verdicts:
    """The verdicts that hold at a time: on each target the last one that is neither undone nor over.

    When a ``suppress`` is over, the verdict before it holds again.

    Args:
        changes: in the order of ``seq``.
        now: seconds since 1970, UTC.
    """
    given: dict[int, Change] = {}
    for change in changes:
        if change.undoes is not None:
            given.pop(change.undoes, None)
        elif change.until is None or change.until > now:
            given[change.seq] = change
    by_session: dict[int | str, Change] = {}
    by_signature: dict[str, Change] = {}
    for change in given.values():
        if change.target.kind == "session":
            by_session[change.target.id] = change
        else:
            by_signature[str(change.target.id)] = change
    return Verdicts(by_session, by_signature)


def check(judgement: Judgement, now: float) -> None:
    """Refuse a verdict that says nothing or contradicts itself.

    Raises:
        TriageError: which part, and what it should be.
    """
    target, verdict, until = judgement.target, judgement.verdict, judgement.until
    if verdict not in VERDICTS:
        raise TriageError(f"{verdict!r} is not a verdict; choose one of {', '.join(VERDICTS)}.")
    if target.kind not in get_args(TargetKind):
        raise TriageError(f"a verdict is on a session or a signature, not on a {target.kind!r}.")
    if isinstance(target.id, bool) or not isinstance(target.id, int | str):
        raise TriageError(f"{target.id!r} is not a session id; that is a number or a text.")
    if target.kind == "signature" and not (isinstance(target.id, str) and _SIGNATURE.fullmatch(target.id)):
        raise TriageError(f"{target.id!r} is not a signature; that is 64 hex digits.")
    if judgement.events is not None and (
        target.kind != "signature" or signature(judgement.events) != target.id
    ):
        raise TriageError("the events are not those of the signature.")
    if verdict == "ignore" and target.kind == "signature":
        raise TriageError(
            "ignore is for one session only; on a signature choose normal, or suppress with a time."
        )
    if verdict != "suppress" and until is not None:
        raise TriageError(f"{verdict} holds until it is undone; only suppress takes a time.")
    if verdict == "suppress" and (until is None or not math.isfinite(until) or until <= now):
        raise TriageError("suppress needs a time in the future until which to be silent.")
