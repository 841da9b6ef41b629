"""Calls with which people judge sessions of the results."""

from __future__ import annotations

import getpass
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from logbert_engine.daemon.paths import absolute
from logbert_engine.daemon.results import record
from logbert_engine.protocol.errors import TriageError
from logbert_engine.protocol.messages import Done
from logbert_engine.protocol.results import GiveVerdict, SessionResult, UndoVerdict
from logbert_engine.triage.of_run import triage_of
from logbert_engine.triage.verdicts import Change, Target

if TYPE_CHECKING:
    from logbert_engine.daemon.connection import Connection
    from logbert_engine.daemon.engine import Engine

_DAY_S = 86_400.0
_WORDS = {
    "normal": "normal from now on",
    "anomaly": "an anomaly",
    "ignore": "ignored this once",
    "suppress": "silent until {until}",
}


async def give_verdict(engine: Engine, client: Connection, params: GiveVerdict) -> Done:
    """``give_verdict``."""
    path = absolute(params.output, "the results file")
    return await client.think(
        lambda: _give(record(engine.results.load(path), params.rank, params.output), path, params)
    )


async def undo_verdict(_engine: Engine, client: Connection, params: UndoVerdict) -> Done:
    """``undo_verdict``."""
    path = absolute(params.output, "the results file")
    return await client.think(lambda: _undo(path))


def _give(session: SessionResult, path: Path, asked: GiveVerdict) -> Done:
    """Judge a session; normal and anomaly settle all sessions of the same events."""
    alone = asked.verdict == "ignore"
    if alone or not session.signature:
        target, of_all = Target("session", session.session_id), False
    else:
        target, of_all = Target("signature", session.signature), True
    until = time.time() + asked.days * _DAY_S if asked.verdict == "suppress" else None
    triage_of(path).record(
        target,
        asked.verdict,
        who=_user(),
        note=asked.note,
        until=until,
        events=session.event_sequence if of_all else None,
    )
    alike = (
        f" and {session.identical - 1:,} more of the same events" if of_all and session.identical > 1 else ""
    )
    return Done(message=f"session {session.session_id}{alike}: {_in_words(asked.verdict, until)}")


def _undo(path: Path) -> Done:
    changes = triage_of(path).undo(who=_user())
    if not changes:
        raise TriageError("there is no verdict of yours to take back.")
    return Done(message=f"taken back: {_of(changes[0])}")


def _of(change: Change) -> str:
    what = (
        f"session {change.target.id}"
        if change.target.kind == "session"
        else "all sessions of the same events"
    )
    return f"“{_in_words(change.verdict, change.until)}” for {what}"


def _in_words(verdict: str, until: float | None) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(until)) if until is not None else ""
    return _WORDS[verdict].format(until=when)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # of no name on this machine
        return f"uid {os.getuid()}"
