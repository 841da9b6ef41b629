"""The verdicts of a run, in an SQLite file that only grows: every change and every undo is a row."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from logbert_engine.protocol.errors import TriageError
from logbert_engine.triage.opening import damaged, is_there, opened_to_read, opened_to_write
from logbert_engine.triage.verdicts import Change, Judgement, Target, Verdict, Verdicts, check, holding

_COLUMNS = "seq, act, at, who, target_kind, target, verdict, note, until, events, undoes"
_INSERT = f"INSERT INTO changes ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_OF_LAST_ACT = f"""
SELECT {_COLUMNS} FROM changes AS given
WHERE who = :who AND undoes IS NULL AND act = (
    SELECT max(act) FROM changes AS mine
    WHERE who = :who AND undoes IS NULL
    AND NOT EXISTS (SELECT 1 FROM changes AS undo WHERE undo.undoes = mine.seq)
) ORDER BY seq
"""


class Triage:
    """The verdicts in one file. Any number of threads and processes may use the same file at once.

    The file is made by the first verdict. Each call opens it, waits up to ten seconds for others, and leaves it
    closed; what a call has recorded is on disk when it returns.

    Every method raises:
        TriageError: the file is damaged, foreign, of a newer version or in use; or what was asked makes no sense.
        StorageError: the disk is full, or refuses.

    Args:
        path: of the database, ``triage.sqlite`` in the run directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._checked = False

    def record(
        self,
        target: Target,
        verdict: Verdict,
        *,
        who: str,
        note: str = "",
        until: float | None = None,
        events: Sequence[int | str] | None = None,
        now: float | None = None,
    ) -> Change:
        """Give a verdict.

        Args:
            target: a session, or the signature of many.
            verdict: ``ignore`` is for sessions only.
            who: name of the user.
            note: why, for people to read.
            until: end of a ``suppress``, seconds since 1970 UTC.
            events: of the signature, to learn from.
            now: the time of the verdict; the clock's when None.
        """
        kept = tuple(events) if events is not None else None
        judgement = Judgement(target=target, verdict=verdict, note=note, until=until, events=kept)
        return self.record_many([judgement], who=who, now=now)[0]

    def record_many(
        self, judgements: Sequence[Judgement], *, who: str, now: float | None = None
    ) -> list[Change]:
        """Give verdicts all together: all of them or, on an error, none; one ``undo`` takes all of them back."""
        when, who = _checked_time(now), _checked_name(who)
        for judgement in judgements:
            check(judgement, when)
        if not judgements:
            return []
        with opened_to_write(self.path, checked=self._checked) as connection:
            first = _next(connection)
            changes = [
                Change(
                    seq=seq,
                    act=first,
                    when=when,
                    who=who,
                    target=judgement.target,
                    verdict=judgement.verdict,
                    note=_storable(judgement.note),
                    until=judgement.until,
                    events=judgement.events,
                )
                for seq, judgement in enumerate(judgements, first)
            ]
            _insert(connection, changes)
        self._checked = True
        return changes

    def undo(self, *, who: str, now: float | None = None) -> list[Change]:
        """Take back the user's last change that is not yet undone; of verdicts given together all.

        Returns:
            The undos, one for each verdict taken back; none where there was nothing to undo.
        """
        when, who = _checked_time(now), _checked_name(who)
        if not is_there(self.path):
            return []
        with opened_to_write(self.path, checked=self._checked) as connection:
            given = self._read(connection.execute(_OF_LAST_ACT, {"who": who}))
            first = _next(connection)
            changes = [
                msgspec.structs.replace(change, seq=seq, act=first, when=when, note="", undoes=change.seq)
                for seq, change in enumerate(given, first)
            ]
            _insert(connection, changes)
        self._checked = True
        return changes

    def history(self, target: Target | None = None) -> list[Change]:
        """Every change to a target, or to all of them, in the order they were made; undos too."""
        with opened_to_read(self.path, checked=self._checked) as connection:
            if connection is None:
                return []
            if target is None:
                rows = connection.execute(f"SELECT {_COLUMNS} FROM changes ORDER BY seq")
            else:
                rows = connection.execute(
                    f"SELECT {_COLUMNS} FROM changes WHERE target_kind = ? AND target = ? ORDER BY seq",
                    (target.kind, json.dumps(target.id)),
                )
            changes = self._read(rows)
        self._checked = True
        return changes

    def current(self, now: float | None = None) -> Verdicts:
        """The verdicts that hold at a time, by default now."""
        return holding(self.history(), _checked_time(now))

    def _read(self, rows: Iterable[tuple[Any, ...]]) -> list[Change]:
        changes = []
        for seq, act, when, who, kind, target, verdict, note, until, events, undoes in rows:
            try:
                raw = {
                    "seq": seq,
                    "act": act,
                    "when": when,
                    "who": who,
                    "target": {"kind": kind, "id": json.loads(target)},
                    "verdict": verdict,
                    "note": note,
                    "until": until,
                    "events": json.loads(events) if events is not None else None,
                    "undoes": undoes,
                }
                changes.append(msgspec.convert(raw, Change))
            except (ValueError, TypeError) as error:  # msgspec's ValidationError is a ValueError
                raise damaged(self.path, f"change {seq}: {error}") from error
        return changes


def _next(connection: sqlite3.Connection) -> int:
    (last,) = connection.execute("SELECT max(seq) FROM changes").fetchone()
    return (last or 0) + 1


def _insert(connection: sqlite3.Connection, changes: Iterable[Change]) -> None:
    connection.executemany(
        _INSERT,
        (
            (
                change.seq,
                change.act,
                change.when,
                change.who,
                change.target.kind,
                json.dumps(change.target.id),
                change.verdict,
                change.note,
                change.until,
                json.dumps(change.events) if change.events is not None else None,
                change.undoes,
            )
            for change in changes
        ),
    )


def _checked_time(now: float | None) -> float:
    when = time.time() if now is None else float(now)
    if not math.isfinite(when):
        raise TriageError(f"{when} is not a time.")
    return when


def _checked_name(who: str) -> str:
    if not who.strip():
        raise TriageError("a verdict needs the name of who gives it.")
    return _storable(who)


def _storable(text: str) -> str:
    """Bytes that a terminal passed on although they are no text are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()
