"""Findings: what is, whether that is well, and how to mend what is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

State = Literal["well", "notice", "wrong"]
"""``wrong``: training, or the console, could not work. ``notice``: it can, with less than the machine has."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    state: State
    what: str
    mend: str = ""
    """A sentence; empty where all is well."""


class Section(msgspec.Struct, frozen=True):
    """Findings about one thing."""

    title: str
    findings: Sequence[Finding]


def well(what: str) -> Finding:
    """Nothing to do."""
    return Finding("well", what)


def notice(what: str, mend: str) -> Finding:
    """Training works; something could be better."""
    return Finding("notice", what, mend)


def wrong(what: str, mend: str) -> Finding:
    """Training, or the console, could not work."""
    return Finding("wrong", what, mend)


def refused(state: State, sentence: str, mend: str = "") -> Finding:
    """An error's sentence, which ends in what to do about it; ``mend`` where it does not."""
    what, _, advice = sentence.rpartition("; ")
    if not what:
        return Finding(state, sentence, mend)
    return Finding(state, what, f"{advice[:1].upper()}{advice[1:]}")


def gigabytes(megabytes: float) -> str:
    """``16.0 GB``; below one gigabyte in megabytes."""
    return f"{megabytes / 1024:,.1f} GB" if megabytes >= 1024 else f"{megabytes:.0f} MB"
