"""Reading a file that anybody may have put there: a pipe or a device in its place is refused, never waited for."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

SMALL = 1 << 20
"""Bytes that no preset, request or list of a few lines has."""
_MOST = 1 << 30


class NotAFileError(OSError):
    """A pipe, a device, a folder or a socket where a file belongs."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.EINVAL, "it is a pipe, a device or a folder, not a file", str(path))


class TooLargeError(OSError):
    """A file that is larger than what it should hold can be."""

    def __init__(self, path: Path, size: int, most: int) -> None:
        super().__init__(errno.EINVAL, f"it has more than {most >> 20} MiB", str(path))
        self.size = size


def opened(path: Path) -> BufferedReader:
    """A regular file, open for reading.

    Raises:
        NotAFileError: to open or read it might wait for ever, or never come to an end.
        OSError: it is not there, or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a device that is not there
            raise NotAFileError(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFileError(path)
    return os.fdopen(descriptor, "rb")


def content(path: Path, most: int = _MOST) -> bytes:
    """What a regular file holds, as much as its size tells: one that the system makes up while it is read has none.

    Args:
        path: the file.
        most: bytes above which it is not what it should be.

    Raises:
        NotAFileError: as ``opened``.
        TooLargeError: it is larger.
        OSError: it is not there, or cannot be read.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise TooLargeError(path, size, most)
        return file.read(size)
