"""The end of a worker that could not write its own: killed, crashed, or gone before it opened the run."""

from __future__ import annotations

import os
import signal as signals
from collections.abc import Callable
from pathlib import Path

from logbert_engine.protocol.errors import LogbertError, RunError
from logbert_engine.protocol.events import Log, RunEnded
from logbert_engine.rundir.atomic import storage_error
from logbert_engine.rundir.condition import Condition, condition
from logbert_engine.rundir.journal import TORN, JournalWriter, last_event
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import held, holder
from logbert_engine.rundir.reading import NotAFileError, opened

_MOST_WORDS = 500
"""Characters of a worker's last line that go into the journal."""


def record_death(
    run: RunLayout,
    *,
    exit_code: int | None = None,
    signal: int | None = None,
    resumes: str = "",
    after_seq: int = 0,
) -> bool:
    """Journal that the run's worker is gone, unless it said so itself or another one is at work.

    Safe to call from several processes at once: the run's lock decides.

    Args:
        run: the run directory.
        exit_code: the worker's exit status, where it is known.
        signal: the signal that ended it, where it is known.
        resumes: in words, where a resume would pick up.
        after_seq: the journal's last ``seq`` when the worker was started. An end that was journaled up to
            there belongs to an earlier attempt; with 0 any end counts.

    Returns:
        Whether an end was written.

    Raises:
        StorageError: the journal or the lock cannot be written.
    """
    if not run.root.is_dir():
        return False  # removed as a whole: it is not made anew to say so
    said = last_words(run)  # before the lock is taken, which tells when the worker took it
    try:
        with held(run):
            last = last_event(run.journal)
            if last is None and exit_code is None and signal is None:
                return False  # no worker is known to have been there at all
            if isinstance(last, RunEnded) and last.seq > after_seq:
                return False
            _remove(run.pid)
            end = RunEnded(
                state="failed",
                reason=death_in_words(exit_code, signal, said, supervisor=True),
                exit_code=exit_code,
                signal=signal,
                resumes=resumes,
            )
            with JournalWriter(run.journal) as journal:
                if journal.torn:
                    journal.append(Log(level="warning", message=TORN, source="journal"))
                journal.append(end)
                journal.sync()
    except RunError:
        return False  # another worker has the run: it is alive
    return True


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error


def settled(run: RunLayout, resume_words: Callable[[RunLayout], str]) -> Condition:
    """How a run stands, after the end of a worker that is gone has been journaled.

    Args:
        run: the run directory.
        resume_words: tells where a resume would pick up.

    Raises:
        RunError: the directory holds no run.
        StorageError: the journal or the lock cannot be written.
    """
    found = condition(run)
    if not found.abandoned:
        return found
    record_death(run, resumes=words_or_why_not(run, resume_words))
    return condition(run)


def taken_by_another(run: RunLayout, pid: int) -> str:
    """The sentence for a worker that ended because another one has the run; empty where none has.

    Args:
        run: the run directory.
        pid: the worker that ended.
    """
    other = holder(run)
    if other is None or other.pid == pid:
        return ""
    return f"{other} is at work on {run.root}: another request came first, and this one changed nothing."


def words_or_why_not(run: RunLayout, resume_words: Callable[[RunLayout], str]) -> str:
    """Where a resume would pick up, or the sentence that says why none can."""
    try:
        return resume_words(run)
    except LogbertError as error:
        return str(error)


def death_in_words(
    exit_code: int | None, signal: int | None, said: str = "", *, supervisor: bool = False
) -> str:
    """One sentence about how a worker, or its supervisor, ended, with the last line of its standard error."""
    end = "the worker ended without a word"
    if signal is not None:
        try:
            name = f"signal {signal}, {signals.Signals(signal).name}"
        except ValueError:
            name = f"signal {signal}"
        end = f"the {'supervisor' if supervisor else 'worker'} was killed ({name})"
        if supervisor:
            end += ", and the worker with it"
        elif signal == signals.SIGKILL:
            end += "; if the kernel ran out of memory, this is how it ends a process"
    elif exit_code:
        end = f"the worker ended with exit status {exit_code}"
    elif said:
        end = "the worker ended"
    elif exit_code is None:
        end += ": killed, out of memory, or the machine was restarted"
    return f"{end}: {said}" if said else end


def last_words(run: RunLayout) -> str:
    """The last line of the attempt's standard error; what was there before its lock is an earlier one's."""
    path = run.worker_errors
    try:
        if run.lock.exists() and path.stat().st_mtime_ns < run.lock.stat().st_mtime_ns:
            return ""
        with opened(path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 64 * 1024))
            text = file.read().decode(errors="replace")
    except (FileNotFoundError, NotAFileError):
        return ""
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    return last if len(last) <= _MOST_WORDS else f"{last[:_MOST_WORDS]}…"
