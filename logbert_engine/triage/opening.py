"""The file of the verdicts: made whole, opened only when it is ours, its troubles told in a sentence."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote_from_bytes

from logbert_engine.protocol.errors import LogbertError, TriageError
from logbert_engine.rundir.atomic import make_folder, storage_error, sync_file, sync_folder

APPLICATION_ID = 0x4C425452
"""``LBTR``: in the header of our files, and of no others."""
VERSION = 1
"""Of the schema, in ``user_version``."""
BUSY_TIMEOUT_S = 10.0

_SCHEMA = f"""
BEGIN;
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY,
    act INTEGER NOT NULL,
    at REAL NOT NULL,
    who TEXT NOT NULL,
    target_kind TEXT NOT NULL CHECK (target_kind IN ('session', 'signature')),
    target TEXT NOT NULL, -- JSON: 5 is not "5", and a number may have any size
    verdict TEXT NOT NULL CHECK (verdict IN ('normal', 'anomaly', 'ignore', 'suppress')),
    note TEXT NOT NULL,
    until REAL,
    events TEXT, -- JSON, of a signature
    undoes INTEGER UNIQUE REFERENCES changes (seq)
);
CREATE INDEX changes_by_target ON changes (target_kind, target);
CREATE INDEX changes_by_who ON changes (who, act);
CREATE TRIGGER changes_stay BEFORE UPDATE ON changes
BEGIN SELECT RAISE(ABORT, 'the audit is never changed'); END;
CREATE TRIGGER changes_are_kept BEFORE DELETE ON changes
BEGIN SELECT RAISE(ABORT, 'the audit is never changed'); END;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
COMMIT;
"""

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
"""``SQLITE_ERROR`` is what a missing table or column answers: our statements hold for our schema."""
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_REFUSED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def damaged(path: Path, detail: str) -> TriageError:
    """The sentence for a file that can no longer be trusted."""
    return TriageError(
        f"{path} is damaged ({detail}) and was left as it is; put a saved copy in its place, "
        "or move it away to begin without verdicts."
    )


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Tell SQLite's errors as ours.

    Raises:
        TriageError: the file is damaged, in use, or may not be opened.
        StorageError: the disk is full, or refuses.
    """
    try:
        yield
    except sqlite3.Error as error:
        known = _said(path, error)
        if known is None:
            raise  # a mistake of ours, not the file's
        raise known from error


def _said(path: Path, error: sqlite3.Error) -> LogbertError | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # text that is no UTF-8 comes without a code
        return damaged(path, str(error)) if isinstance(error, sqlite3.OperationalError) else None
    code &= 0xFF  # the rest is detail
    if code in _DAMAGED:
        return damaged(path, str(error))
    if code in _BUSY:
        return TriageError(f"{path} is held by another program; nothing was recorded, try again in a moment.")
    if code in _REFUSED:
        return TriageError(
            f"cannot open {path}: {error}; it has to be a file in a folder that you may write to."
        )
    if code == sqlite3.SQLITE_FULL:
        return storage_error(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    if code == sqlite3.SQLITE_IOERR:
        return storage_error(path, OSError(errno.EIO, str(error)))
    return None


def is_there(path: Path) -> bool:
    """Whether there is anything at a path.

    Raises:
        StorageError: a folder above it may not be looked into.
    """
    try:
        return path.exists()
    except OSError as error:
        raise storage_error(path, error) from error


@contextmanager
def opened_to_write(path: Path, *, checked: bool) -> Iterator[sqlite3.Connection]:
    """A transaction that is on disk when the block ends, and never was when it fails.

    The file is made where there is none. Others wait meanwhile, as this waits for them.

    Args:
        path: of the database.
        checked: this process has looked for damage before.

    Raises:
        TriageError: the file is damaged, foreign, of a newer version or in use.
        StorageError: no room, no permission.
    """
    if not is_there(path):
        _make(path)
    with told(path), closing(_connect(path, "mode=rw")) as connection:
        _recognise(path, connection, checked=checked)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = 1")  # macOS, where fsync alone stops at the drive's cache
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.rollback()
            raise
        connection.commit()


@contextmanager
def opened_to_read(path: Path, *, checked: bool) -> Iterator[sqlite3.Connection | None]:
    """A connection to read from, or None where there is no file.

    Raises:
        TriageError: as ``opened_to_write``.
        StorageError: the disk refuses.
    """
    if not is_there(path):
        yield None
        return
    with told(path), closing(_connect(path, _way_to_read(path))) as connection:
        _recognise(path, connection, checked=checked)
        yield connection


def _way_to_read(path: Path) -> str:
    """Reading takes files beside the database, which somebody else's folder does not let us make."""
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return "mode=rw"
    log = path.with_name(path.name + "-wal")
    return "mode=ro" if log.exists() else "mode=ro&immutable=1"


def _connect(path: Path, how: str) -> sqlite3.Connection:
    address = f"file:{quote_from_bytes(os.fsencode(path.absolute()))}?{how}"
    return sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)


def _recognise(path: Path, connection: sqlite3.Connection, *, checked: bool) -> None:
    """Let only a sound database of ours pass; nothing has been written to it by then."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise TriageError(
            f"{path} holds something other than verdicts and was left as it is; move it away, "
            "and a new one is begun."
        )
    if version > VERSION:
        raise TriageError(
            f"{path} was written by a newer logbert-engine (schema {version}, this one knows {VERSION}); "
            "upgrade this one."
        )
    if version < 1:
        raise damaged(path, f"schema {version}")
    if not checked:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise damaged(path, " ".join(str(found).split()))


def _make(path: Path) -> None:
    """Make an empty database beside its place and put it there, unless somebody else was faster."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_native_id()}.tmp")
    try:
        make_folder(path.parent)
        temporary.unlink(missing_ok=True)
        with told(path), closing(_connect(temporary, "mode=rwc")) as connection:
            connection.executescript(_SCHEMA)
            connection.execute("PRAGMA journal_mode = WAL")  # stays with the file
        with temporary.open("rb+") as file:
            sync_file(file.fileno())
        _put(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        for end in ("", "-wal", "-shm", "-journal"):
            with suppress(OSError):
                temporary.with_name(temporary.name + end).unlink(missing_ok=True)


def _put(temporary: Path, path: Path) -> None:
    try:
        path.hardlink_to(temporary)  # unlike a rename it never replaces what is there
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if not path.exists():
            temporary.rename(path)
