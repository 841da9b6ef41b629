"""``SHA256SUMS`` beside checkpoints: a flipped bit in a weight file otherwise loads without a word."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from logbert_engine.protocol.errors import CheckpointError
from logbert_engine.rundir.atomic import replacing, storage_error, write_file
from logbert_engine.rundir.reading import NotAFileError, content, opened

SUMS = "SHA256SUMS"
_FIRST_LINE = b"# sha256 of the lines below: "
"""A comment for ``sha256sum``, by which damage to the list itself is told from damage to a file."""
_LINES = re.compile(rb"(?:[0-9a-f]{64}  [^\n]+\n)+")
Sums = dict[str, set[str]]
"""Name, relative to the folder of the sums, to hex digests."""


def sha256_of(path: Path) -> str:
    """The hex digest of a file's content.

    Raises:
        OSError: it is not there, cannot be read, or is no file.
    """
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_sums(folder: Path) -> Sums:
    """File name to hex digests, as recorded in the folder (the format of ``sha256sum``).

    While a file is being replaced it has two: the old content's and the new one's.
    """
    sums: Sums = {}
    for line in _list_in(folder).decode(errors="replace").splitlines():  # a damaged line matches nothing
        digest, _, name = line.partition("  ")
        if name:
            sums.setdefault(name, set()).add(digest)
    return sums


def sums_are_whole(folder: Path) -> bool:
    """Whether a folder's SHA256SUMS is there as it was written; without a first line that tells, well formed."""
    listed = _list_in(folder)
    first, _, below = listed.partition(b"\n")
    if first.startswith(_FIRST_LINE):
        return first.removeprefix(_FIRST_LINE) == hashlib.sha256(below).hexdigest().encode()
    return _LINES.fullmatch(listed) is not None


def _list_in(folder: Path) -> bytes:
    """What a folder's SHA256SUMS holds; nothing where there is none, or a pipe or folder of that name."""
    try:
        return content(folder / SUMS)
    except (FileNotFoundError, NotADirectoryError, NotAFileError):
        return b""


def recorded(path: Path, folder: Path | None = None) -> set[str]:
    """The digests recorded for a file, one or while it is being replaced two; none where it is not listed.

    Args:
        path: the file.
        folder: that of the sums, where it is not the file's own.
    """
    folder = folder or path.parent
    return read_sums(folder).get(_name(path, folder), set())


def record_digest(path: Path, digest: str, folder: Path | None = None) -> None:
    """Record the one digest that a file has from now on.

    Raises:
        StorageError: no room, no permission.
    """
    folder = folder or path.parent
    _update(folder, {_name(path, folder): {digest}})


def admit_digest(path: Path, digest: str, folder: Path | None = None) -> None:
    """Record one more digest that a file may have, before it is replaced.

    Raises:
        StorageError: no room, no permission.
    """
    folder = folder or path.parent
    name = _name(path, folder)
    _update(folder, {name: _read_to_change(folder).get(name, set()) | {digest}})


def forget_digests(folder: Path, *paths: Path) -> None:
    """Record no digests any more for some files, whose sums are in a folder.

    Raises:
        StorageError: no room, no permission.
    """
    _update(folder, {_name(path, folder): set() for path in paths})


def forget_missing(folder: Path) -> None:
    """Record digests of those files alone that are there.

    Raises:
        StorageError: no room, no permission.
    """
    _update(folder, {name: set() for name in _read_to_change(folder) if not (folder / name).exists()})


def _name(path: Path, folder: Path) -> str:
    return path.name if path.parent == folder else Path(os.path.relpath(path, folder)).as_posix()


def _update(folder: Path, changes: Sums) -> None:
    """Put the digests of some files in the place of those recorded; an empty set removes the file's."""
    before = _read_to_change(folder)
    after = {name: digests for name, digests in {**before, **changes}.items() if digests}
    if after != before or (after and not sums_are_whole(folder)):
        _write_sums(folder, after)


def _read_to_change(folder: Path) -> Sums:
    try:
        return read_sums(folder)
    except OSError as error:
        raise storage_error(folder / SUMS, error) from error


def _write_sums(folder: Path, sums: Sums) -> None:
    lines = [f"{digest}  {name}\n" for name, digests in sorted(sums.items()) for digest in sorted(digests)]
    below = "".join(lines).encode()
    write_file(folder / SUMS, _FIRST_LINE + hashlib.sha256(below).hexdigest().encode() + b"\n" + below)


class HashedFile:
    """A file that is written from its beginning to its end, whose digest is known without reading it again."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> int:
        """Write all of the data.

        Raises:
            OSError: as the file.
        """
        self._sha256.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Hand what is buffered to the system."""
        self._file.flush()

    def digest(self) -> str:
        """The hex digest of what was written."""
        return self._sha256.hexdigest()


@contextmanager
def replacing_checked(
    path: Path, *, previous: Path | None = None, folder: Path | None = None
) -> Iterator[HashedFile]:
    """As ``replacing``, with the digest recorded so that at every instant the files on disk have a valid one.

    Args:
        path: the file to replace.
        previous: the file in the same folder that what was at ``path`` takes the place of. Content that is
            known not to be whole, or that nothing is recorded for, takes no whole file's place.
        folder: that of the sums, where it is not the file's own.

    Raises:
        StorageError: as ``replacing``.
    """
    sums_in = folder or path.parent
    name = _name(path, sums_in)
    digest = ""
    old = set() if previous is None else _digest_of_whole(path, _read_to_change(sums_in).get(name, set()))
    keep = previous if old else None

    def admit_new(_temporary: Path) -> None:
        nonlocal digest
        digest = hashed.digest()
        sums = _read_to_change(sums_in)
        changes = {name: sums.get(name, set()) | {digest}}
        if keep is not None:
            changes[keep.name] = sums.get(keep.name, set()) | old
        _update(sums_in, changes)

    with replacing(path, before=admit_new, previous=keep) as file:
        hashed = HashedFile(file)
        yield hashed
    _update(sums_in, {name: {digest}} | ({keep.name: old} if keep is not None else {}))


def _digest_of_whole(path: Path, known: set[str]) -> set[str]:
    """Of the digests recorded for a file, the one it has. It is read only where there are several."""
    if not path.is_file():
        return set()
    try:
        return known if len(known) < 2 else known & {sha256_of(path)}
    except OSError as error:
        raise storage_error(path, error) from error


def record_sums(folder: Path) -> None:
    """Record the digest of every file that a folder holds.

    Raises:
        StorageError: no room, no permission.
    """
    try:
        sums = {path.name: {sha256_of(path)} for path in folder.iterdir() if path.name != SUMS}
    except OSError as error:
        raise storage_error(folder, error) from error
    _write_sums(folder, sums)


def remove_checked(*paths: Path) -> None:
    """Remove files of one folder, in this order, and then their digests.

    Raises:
        StorageError: the file system refuses.
    """
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(path, error) from error
    if paths:
        forget_digests(paths[0].parent, *paths)


def verify(path: Path, folder: Path | None = None) -> str:
    """Check a file against the digest recorded for it.

    Args:
        path: the file.
        folder: that of the sums, where it is not the file's own.

    Returns:
        The hex digest of its content.

    Raises:
        CheckpointError: the content differs from what was recorded.
    """
    digest = sha256_of(path)
    known = recorded(path, folder)
    if known and digest not in known:
        raise CheckpointError(f"{path} is damaged: its content does not have the sha256 recorded in {SUMS}.")
    return digest
