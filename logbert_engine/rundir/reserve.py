"""A little space held back on the disk, so that a run that fills it can still say so."""

from __future__ import annotations

import os

from logbert_engine.rundir.atomic import storage_error, write_file
from logbert_engine.rundir.layout import RunLayout

SIZE = 64 * 1024
"""Bytes; the last records of a run, with a log line each, are a few thousand."""


def make(run: RunLayout) -> None:
    """Hold the space back. What an attempt that was killed has left is taken over.

    Raises:
        StorageError: there is no room even for this.
    """
    try:
        if run.reserve.stat().st_size == SIZE:
            return
    except FileNotFoundError:
        pass
    except OSError as error:
        raise storage_error(run.reserve, error) from error
    # Random bytes, written and synced, take up room on every file system: zeros may be stored as a hole or
    # compressed away, and reserving blocks without writing is not to be had everywhere.
    write_file(run.reserve, os.urandom(SIZE))


def free(run: RunLayout) -> None:
    """Give the space back.

    Raises:
        StorageError: the file system refuses to remove the file.
    """
    try:
        run.reserve.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(run.reserve, error) from error
