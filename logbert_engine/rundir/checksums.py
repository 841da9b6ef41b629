"""``SHA256SUMS`` beside checkpoints: a flipped bit in a weight file otherwise loads without a word."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from logbert_engine.protocol.errors import CheckpointError
from logbert_engine.rundir.atomic import replacing, write_file

SUMS = "SHA256SUMS"


def sha256_of(path: Path) -> str:
    """The hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_sums(folder: Path) -> dict[str, set[str]]:
    """File name to hex digests, as recorded in the folder (the format of ``sha256sum``).

    While a file is being replaced it has two: the old content's and the new one's.
    """
    path = folder / SUMS
    sums: dict[str, set[str]] = {}
    if path.exists():
        for line in path.read_text(errors="replace").splitlines():  # a damaged line matches nothing
            digest, _, name = line.partition("  ")
            if name:
                sums.setdefault(name, set()).add(digest)
    return sums


def _write_sums(folder: Path, sums: dict[str, set[str]]) -> None:
    lines = [f"{digest}  {name}\n" for name, digests in sorted(sums.items()) for digest in sorted(digests)]
    write_file(folder / SUMS, "".join(lines))


@contextmanager
def replacing_checked(path: Path) -> Iterator[BinaryIO]:
    """As ``replacing``, with the digest recorded so that at every instant the file on disk has a valid one."""

    digest = ""

    def admit(temporary: Path) -> None:
        nonlocal digest
        digest = sha256_of(temporary)
        sums = read_sums(path.parent)
        sums.setdefault(path.name, set()).add(digest)
        _write_sums(path.parent, sums)

    with replacing(path, before=admit) as file:
        yield file
    sums = read_sums(path.parent)
    if len(sums[path.name]) > 1:
        _write_sums(path.parent, {**sums, path.name: {digest}})


def record_sums(folder: Path) -> None:
    """Record the digest of every file that a folder holds."""
    _write_sums(folder, {path.name: {sha256_of(path)} for path in folder.iterdir() if path.name != SUMS})


def remove_checked(path: Path) -> None:
    """Remove a file and its digest."""
    path.unlink(missing_ok=True)
    sums = read_sums(path.parent)
    if sums.pop(path.name, None) is not None:
        _write_sums(path.parent, sums)


def verify(path: Path) -> str:
    """Check a file against the digest recorded beside it.

    Returns:
        The hex digest of its content.

    Raises:
        CheckpointError: the content differs from what was recorded.
    """
    digest = sha256_of(path)
    recorded = read_sums(path.parent).get(path.name)
    if recorded and digest not in recorded:
        raise CheckpointError(
            f"{path} is damaged: its content does not have the sha256 recorded in {SUMS}. "
            "Use another checkpoint, such as the previous stage's best_model.pt."
        )
    return digest
