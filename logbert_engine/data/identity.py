"""What tells a compiled store from another one: the files that it was compiled from, and what it holds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from logbert_engine.data.compiling import FORMAT, StoreMeta
from logbert_engine.data.source import naming

_DECISIVE = ("tokens.npy", "offsets.npy", "sequence_of.npy")
"""With the ids of the events all that training reads."""


class SourceFile(msgspec.Struct, frozen=True, array_like=True):
    """A session file as it was found."""

    path: str
    size: int
    changed_ns: int
    """Time of its last change."""


def described(files: Sequence[Path]) -> list[SourceFile]:
    """Session files as they are now.

    Raises:
        DataError: a file is not there.
    """
    found = []
    for file in files:
        with naming(file):
            status = file.stat()
            found.append(SourceFile(str(file.resolve()), status.st_size, status.st_mtime_ns))
    return found


def fingerprint_of(files: Sequence[SourceFile]) -> str:
    """Tells whether a compiled store is that of files in this state: 32 hex digits."""
    return hashlib.blake2b(msgspec.json.encode((FORMAT, files)), digest_size=16).hexdigest()


def content_of(meta: StoreMeta, sums: Mapping[str, set[str]]) -> str:
    """Tells whether a store holds the same sessions in the same order, whatever files they came from.

    Args:
        meta: the store's.
        sums: the digests of its files, which are whole.

    Returns:
        64 hex digits.
    """
    columns = [sorted(sums[name]) for name in _DECISIVE]
    return hashlib.sha256(msgspec.json.encode((meta.format, meta.events, columns))).hexdigest()
