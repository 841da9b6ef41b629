"""The disk that a path is, or would be, on: its room, its kind, its speed."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

from logbert_engine.hardware.sources import MB, Sources
from logbert_engine.protocol.errors import StorageError
from logbert_engine.rundir.atomic import storage_error, sync_file

TRIAL_MB = 64
_BLOCK_MB = 4
_ROOM = 4
"""How many times the trial's size must be free: it must not fill the disk of a run."""


class Disk(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What was found in a folder."""

    folder: str
    free_mb: float
    file_system: str = ""
    """Its type: ``ext4``, ``apfs``, ``nfs4``."""
    write_mb_s: float | None = None
    """Written and synced; None where it was not tried."""
    read_mb_s: float | None = None
    """From the disk itself; None where the system keeps its cache from being passed by (macOS)."""
    locks: bool = True
    """Whether a file can be locked."""
    problem: str = ""
    """Why nothing can be written there."""


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


def try_out(path: Path, sources: Sources | None = None) -> Disk:
    """Write, lock and read a file of 64 MB where the path is or would be, and remove it. Takes a second and more.

    Raises:
        StorageError: the file system does not tell its free space.
    """
    folder = existing_part(path)
    found = Disk(folder=str(folder), free_mb=free_disk_mb(folder, sources), file_system=_file_system(folder))
    trial = folder / f".logbert-doctor.{os.getpid()}.tmp"
    blocks = TRIAL_MB // _BLOCK_MB if found.free_mb > _ROOM * TRIAL_MB else 0
    try:
        descriptor = os.open(trial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        found.problem = str(storage_error(trial, error))
        return found
    try:
        found.locks = _locks(descriptor)
        if blocks:
            found.write_mb_s = _written(descriptor, blocks)
            found.read_mb_s = _read(descriptor)
    except OSError as error:
        found.problem = str(storage_error(trial, error))
    finally:
        os.close(descriptor)
        with suppress(OSError):
            trial.unlink()
    return found


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _written(descriptor: int, blocks: int) -> float:
    block = os.urandom(_BLOCK_MB * MB)  # a disk may compress what is regular
    began = time.perf_counter()
    for _ in range(blocks):
        left = memoryview(block)
        while left:
            left = left[os.write(descriptor, left) :]
    sync_file(descriptor)
    return blocks * _BLOCK_MB / (time.perf_counter() - began)


def _read(descriptor: int) -> float | None:
    if not hasattr(os, "posix_fadvise"):
        return None
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.lseek(descriptor, 0, os.SEEK_SET)
    size = 0
    began = time.perf_counter()
    while part := os.read(descriptor, _BLOCK_MB * MB):
        size += len(part)
    return size / MB / (time.perf_counter() - began)


def _file_system(folder: Path) -> str:
    """The type of the innermost mount that a folder lies in."""
    try:
        real = folder.resolve()
        mounts = [m for m in psutil.disk_partitions(all=True) if real.is_relative_to(m.mountpoint)]
    except (OSError, RuntimeError):
        return ""
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else ""
