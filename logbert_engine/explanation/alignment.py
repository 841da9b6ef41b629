"""A session beside an ordinary one: what was put in, left out or replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rapidfuzz.distance import Levenshtein

Kind = Literal["keep", "insert", "delete", "substitute"]
_KINDS: dict[str, Kind] = {
    "equal": "keep",
    "insert": "insert",
    "delete": "delete",
    "replace": "substitute",
}


@dataclass(frozen=True)
class Step:
    """A run of events that are alike, or differ in the same way."""

    kind: Kind
    """``insert``: in the session and not in the normal one; ``delete``: the other way round."""
    seen_at: int
    """Where it begins in the session; for ``delete``, where the events are missing."""
    normal_at: int
    """Where it begins in the normal one; for ``insert``, where it lacks the events."""
    seen: tuple[int | str, ...]
    """The session's events; none for ``delete``."""
    normal: tuple[int | str, ...]
    """The normal one's events; none for ``insert``."""


def align(seen: Sequence[int | str], normal: Sequence[int | str]) -> list[Step]:
    """The fewest insertions, deletions and substitutions that make ``seen`` of ``normal``, from left to right.

    Args:
        seen: the session's events, tokens or event ids.
        normal: the ordinary session's events, of the same kind.

    Returns:
        Runs that cover both whole; no two in a row are of one kind.

    Source: Hyyrö, A Note on Bit-Parallel Alignment Computation, 2004 (rapidfuzz).
    """
    letters: dict[int | str, str] = {}
    texts = [
        "".join([letters.setdefault(event, chr(len(letters))) for event in events])
        for events in (normal, seen)
    ]
    steps: list[Step] = []
    for run in Levenshtein.opcodes(*texts):
        kind = _KINDS[run.tag]
        seen_at, normal_at = run.dest_start, run.src_start
        ours, theirs = tuple(seen[seen_at : run.dest_end]), tuple(normal[normal_at : run.src_end])
        if steps and steps[-1].kind == kind:
            before = steps.pop()
            ours, theirs = before.seen + ours, before.normal + theirs
            seen_at, normal_at = before.seen_at, before.normal_at
        steps.append(Step(kind, seen_at, normal_at, ours, theirs))
    return steps


def applied(steps: Sequence[Step], normal: Sequence[int | str]) -> list[int | str]:
    """Change an ordinary session by the steps of ``align``.

    Raises:
        ValueError: the steps are not of this session.
    """
    changed: list[int | str] = []
    at = 0
    for step in steps:
        if tuple(normal[at : at + len(step.normal)]) != step.normal:
            raise ValueError(f"the step at {step.normal_at} is not of this session")
        at += len(step.normal)
        changed += step.seen
    if at != len(normal):
        raise ValueError(f"the steps end at {at} of {len(normal)}")
    return changed
