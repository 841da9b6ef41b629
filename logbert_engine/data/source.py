"""An open session file, plain or gzip, that knows how far it was read and names what is wrong with it."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from logbert_engine.protocol.errors import DataError

_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLOCK = 1 << 20
_MEND = "Fetch or write the file again, or take it out of the directory."


class BrokenFileError(DataError):
    """What a file holds is damaged, cut short or nothing that it should be. The file system is not to blame."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what reading a file can raise into one sentence that names it.

    Raises:
        BrokenFileError: its gzip data is damaged or cut short.
        DataError: the file cannot be read.
    """
    try:
        yield
    except EOFError as error:
        size = path.stat().st_size
        raise BrokenFileError(
            f"{path} is cut short: its gzip data breaks off at byte {size} of the file. {_MEND}"
        ) from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise BrokenFileError(
            f"{path} is damaged: its gzip data cannot be unpacked ({error}). {_MEND}"
        ) from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}.") from error


@dataclass(frozen=True)
class Source:
    """A file being read."""

    path: Path
    content: BinaryIO
    """Its text as bytes, unpacked, without a byte order mark."""
    packed: BinaryIO
    """The file as it lies on the disk; the same as ``content`` where it is not packed."""

    def consumed(self) -> int:
        """Bytes of the file on disk read so far."""
        return self.packed.tell()

    def verify(self) -> None:
        """Read a packed file to its end, where the checksum of its text stands, and go back to its beginning.

        A file that is cut short has no checksum: what is there of it passes.

        Raises:
            gzip.BadGzipFile, zlib.error: its text is not what was packed.
            OSError: it cannot be read.
        """
        if self.packed is self.content:
            return
        with suppress(EOFError):
            while self.content.read(_BLOCK):
                pass
        self.rewind()

    def rewind(self) -> None:
        """Go back to the first byte of the text."""
        self.content.seek(0)
        if self.content.read(len(_BYTE_ORDER_MARK)) != _BYTE_ORDER_MARK:
            self.content.seek(0)


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """Open a session file. Whether it is packed is told by its first bytes, not by its name.

    Raises:
        DataError: it cannot be read. Reads from the source itself are to be wrapped in ``naming``.
    """
    with naming(path):
        packed: BinaryIO = path.open("rb")
        if os.fstat(packed.fileno()).st_size == 0:  # to read one that the system makes up might wait for ever
            packed.close()
            packed = io.BytesIO()
    with packed:
        with naming(path):
            is_gzip = packed.read(2) == _GZIP
            packed.seek(0)
            content = cast("BinaryIO", gzip.GzipFile(fileobj=packed)) if is_gzip else packed
        with content:
            source = Source(path=path, content=content, packed=packed)
            with naming(path):
                source.rewind()
            yield source


def unpacked_size(path: Path) -> int:
    """Bytes of the text in a file; of a gzip file as its last four bytes tell (modulo 4 GiB).

    Raises:
        DataError: the file cannot be read.
    """
    with naming(path), path.open("rb") as file:
        is_gzip = file.read(2) == _GZIP
        size = file.seek(0, 2)
        if not is_gzip or size < 4:
            return size
        file.seek(-4, 2)
        return int.from_bytes(file.read(4), "little")
