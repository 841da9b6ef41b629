"""Files that are the old or the new one, never half of it: temp, fsync, rename, fsync of the folder."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from logbert_engine.protocol.errors import StorageError

_FULL_SYNC = getattr(fcntl, "F_FULLFSYNC", None) if sys.platform == "darwin" else None


def storage_error(path: Path, error: OSError) -> StorageError:
    """One sentence for a file system's refusal."""
    reason = error.strerror or str(error)
    cut_short = error.errno is None and "requested and" in reason  # numpy's words for a short write
    if cut_short or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StorageError(
            f"disk full: no room to write {path}; nothing already saved is lost. "
            "Free some space and try again; a run resumes where it was."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(f"cannot write {path}: {reason}; choose a directory that you may write to.")
    return StorageError(f"cannot write {path}: {reason}.")


def sync_file(descriptor: int) -> None:
    """Put a file's data on the disk. On macOS fsync stops at the drive's cache, F_FULLFSYNC does not."""
    if _FULL_SYNC is not None:
        fcntl.fcntl(descriptor, _FULL_SYNC)
    else:
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Put a folder's entries (a rename) on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path, before: Callable[[Path], None] | None = None) -> Iterator[BinaryIO]:
    """A file to write to that takes ``path``'s place, safely on disk, when the block ends without an error.

    Args:
        path: the file to replace.
        before: called with the synced temporary file just before it takes its place.

    Raises:
        StorageError: no room, no permission, a failed sync. ``path`` is then as it was.
    """
    # The thread belongs in the name: the engine writes from several at once.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_native_id()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            sync_file(file.fileno())
        if before is not None:
            before(temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_file(path: Path, content: bytes | str) -> None:
    """Replace a file's content as a whole.

    Raises:
        StorageError: as ``replacing``.
    """
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
