"""Findings about the disk that runs are kept on."""

from __future__ import annotations

from logbert_engine.diagnosis.finding import Finding, gigabytes, notice, refused, well, wrong
from logbert_engine.hardware.disk import Disk

LITTLE_ROOM_MB = 2048
TOO_LITTLE_ROOM_MB = 200
"""A stage of a small preset leaves some tens of megabytes, and the exact state as many while it runs."""
_SLOW_MB_S = 20
_OVER_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afpfs", "9p", "fuse.sshfs", "webdav"}
"""Types of file systems whose lock or sync may hold for one machine only, or not at all."""


def findings(found: Disk) -> list[Finding]:
    """Its room, its speed, and whether a lock on it holds."""
    where = f"{found.folder}{f' ({found.file_system})' if found.file_system else ''}"
    if found.problem:
        return [refused("wrong", found.problem, "Choose another --run-dir.")]
    return [_room(found, where), *_speed(found), *_lock(found)]


def _room(found: Disk, where: str) -> Finding:
    what = f"{where} has {gigabytes(found.free_mb)} free"
    if found.free_mb < TOO_LITTLE_ROOM_MB:
        return wrong(what, "Free some, or choose a --run-dir elsewhere: there is no room for checkpoints.")
    if found.free_mb < LITTLE_ROOM_MB:
        return notice(
            what, "Free some, or choose a --run-dir elsewhere: a run keeps a model a stage and more."
        )
    return well(what)


def _speed(found: Disk) -> list[Finding]:
    if found.write_mb_s is None:
        return []
    read = f", reads {found.read_mb_s:,.0f} MB/s" if found.read_mb_s is not None else ""
    what = f"it writes {found.write_mb_s:,.0f} MB/s to the disk{read}"
    if found.write_mb_s < _SLOW_MB_S:
        return [
            notice(what, "Choose a --run-dir on a faster disk: each save of a large model takes minutes.")
        ]
    return [well(what)]


def _lock(found: Disk) -> list[Finding]:
    if not found.locks:
        return [
            wrong(
                "a file there cannot be locked", "Choose a --run-dir on a local disk: a run needs its lock."
            )
        ]
    if found.file_system in _OVER_NETWORK:
        return [
            notice(
                f"it is a network file system ({found.file_system}): a run's lock may hold for this machine only, "
                "and what was synced be lost with the server",
                "Choose a --run-dir on a local disk, or see to it that one machine alone trains there.",
            )
        ]
    return []
