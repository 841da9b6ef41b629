"""Room on the disk that a path is, or would be, on."""

from __future__ import annotations

from pathlib import Path

from logbert_engine.hardware.sources import MB, Sources
from logbert_engine.protocol.errors import StorageError


def existing_part(path: Path) -> Path:
    """The path itself, or what is there of the folders above it."""
    path = path.expanduser().absolute()
    return next((part for part in (path, *path.parents) if part.exists()), Path("/"))


def free_disk_mb(path: Path, sources: Sources | None = None) -> float:
    """Free space where the path is, or would be once it is made.

    Raises:
        StorageError: the file system does not tell.
    """
    existing = existing_part(path)
    try:
        return (sources or Sources()).free_disk(existing) / MB
    except OSError as error:
        raise StorageError(
            f"cannot tell the free space of {existing}: {error.strerror or error}; choose another directory."
        ) from error
