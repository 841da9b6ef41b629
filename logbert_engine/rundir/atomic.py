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

from logbert_engine.protocol.errors import DataError, DiskFullError, StorageError

_FULL_SYNC = getattr(fcntl, "F_FULLFSYNC", None) if sys.platform == "darwin" else None
_NOT_SUPPORTED = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""What a file system answers that knows no hard links (or no more of them)."""


def storage_error(path: Path, error: OSError) -> StorageError:
    """One sentence for a file system's refusal."""
    reason = error.strerror or str(error)
    cut_short = error.errno is None and "requested and" in reason  # numpy's words for a short write
    if cut_short or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFullError(
            f"disk full: no room to write {path}; nothing already saved is lost. "
            "Free some space and try again; a run resumes where it was."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(f"cannot write {path}: {reason}; choose a directory that you may write to.")
    return StorageError(f"cannot write {path}: {reason}.")


def only_over(path: Path, beginning: bytes, flag: str, what: str) -> None:
    """Refuse to write over a file that is there and is something else; an empty one may be replaced.

    Args:
        path: to be written.
        beginning: of the files that may be replaced.
        flag: that named the path.
        what: it holds otherwise, as in "no results".

    Raises:
        DataError: it begins otherwise, or is no file.
        StorageError: it cannot be read.
    """
    if not path.exists():
        return
    if not path.is_file():
        raise DataError(f"{flag} {path} is there and is not a file; choose another one.")
    try:
        with path.open("rb") as file:
            begins = file.read(len(beginning))
    except OSError as error:
        raise storage_error(path, error) from error
    if begins and begins != beginning:
        raise DataError(f"{flag} {path} is there and holds {what}; choose another file.")


def sync_file(descriptor: int) -> None:
    """Put a file's data on the disk. On macOS fsync stops at the drive's cache, F_FULLFSYNC does not."""
    if _FULL_SYNC is None:
        os.fsync(descriptor)
        return
    try:
        fcntl.fcntl(descriptor, _FULL_SYNC)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EINVAL, errno.ENOTTY):
            raise
        os.fsync(descriptor)  # a network file system, which has no such drive


def sync_folder(folder: Path) -> None:
    """Put a folder's entries (a rename) on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise  # else a file system that does it by itself, or knows no such thing
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, with their names on the disk.

    Raises:
        OSError: it cannot be made.
    """
    made = []
    above = folder
    while not above.is_dir() and above != above.parent:
        made.append(above)
        above = above.parent
    if not made:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for path in (*made, above):  # the one that was there may have been made a moment ago, for a log
        with suppress(PermissionError):  # a folder that may not be listed
            sync_folder(path.parent)


@contextmanager
def replacing(
    path: Path, before: Callable[[Path], None] | None = None, previous: Path | None = None
) -> Iterator[BinaryIO]:
    """A file to write to that takes ``path``'s place, safely on disk, when the block ends without an error.

    Args:
        path: the file to replace.
        before: called with the synced temporary file just before it takes its place.
        previous: the file in the same folder that what was at ``path`` takes the place of.

    Raises:
        StorageError: no room, no permission, a failed sync. ``path`` then holds the old content, or the new
            one where only putting the folder on the disk has failed.
    """
    # The thread belongs in the name: the engine writes from several at once.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_native_id()}.tmp")
    try:
        make_folder(path.parent)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            sync_file(file.fileno())
        if before is not None:
            before(temporary)
        if previous is not None and path.exists():
            _replace_keeping(temporary, path, previous)
        else:
            temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _replace_keeping(temporary: Path, path: Path, previous: Path) -> None:
    """Put a file in another's place, and that one in the place of the one before it.

    The old file gets a second name first, so that whenever this is cut off ``path`` is there, and the old
    predecessor goes only when both newer files are.
    """
    second = temporary.with_name(f"{temporary.stem}.old.tmp")
    second.unlink(missing_ok=True)
    try:
        second.hardlink_to(path)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise
        path.replace(previous)  # for an instant only ``previous`` is there
        temporary.replace(path)
        return
    try:
        temporary.replace(path)
        sync_folder(path.parent)  # else the second rename may be on the disk without the first
        second.replace(previous)
    finally:
        with suppress(OSError):
            second.unlink(missing_ok=True)


def write_file(path: Path, content: bytes | str) -> None:
    """Replace a file's content as a whole.

    Raises:
        StorageError: as ``replacing``.
    """
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
