"""What is said of the disk that runs are kept on."""

from __future__ import annotations

from typing import Any

import pytest

from logbert_engine.diagnosis.disk import findings
from logbert_engine.hardware.disk import Disk


def disk(**given: Any) -> Disk:
    return Disk(**({"folder": "/runs", "free_mb": 50_000.0, "file_system": "ext4"} | given))


def test_a_local_disk_with_room_is_well() -> None:
    found = findings(disk(write_mb_s=400.0, read_mb_s=900.4))
    assert [finding.state for finding in found] == ["well", "well"]
    assert [finding.what for finding in found] == [
        "/runs (ext4) has 48.8 GB free",
        "it writes 400 MB/s to the disk, reads 900 MB/s",
    ]


@pytest.mark.parametrize(
    ("free_mb", "state"), [(199, "wrong"), (201, "notice"), (2047, "notice"), (2048, "well")]
)
def test_little_room_is_said(free_mb: float, state: str) -> None:
    (found,) = findings(disk(free_mb=free_mb))
    assert (found.state, bool(found.mend)) == (state, state != "well")


def test_a_slow_disk_is_said() -> None:
    _, speed = findings(disk(write_mb_s=8.0))
    assert (speed.state, speed.what) == ("notice", "it writes 8 MB/s to the disk")


def test_a_disk_that_refuses_is_said_in_the_words_of_the_refusal() -> None:
    (found,) = findings(disk(problem="cannot write /runs/x: Read-only file system; choose a directory."))
    assert (found.state, found.what) == ("wrong", "cannot write /runs/x: Read-only file system")
    assert found.mend == "Choose a directory."
    (found,) = findings(disk(problem="cannot write /runs/x: Input/output error."))
    assert (found.what, found.mend) == (
        "cannot write /runs/x: Input/output error.",
        "Choose another --run-dir.",
    )


def test_a_network_disks_lock_is_doubted_and_a_disk_without_locks_refused() -> None:
    _, lock = findings(disk(file_system="nfs4"))
    assert lock.state == "notice"
    assert "a run's lock may hold for this machine only" in lock.what
    _, none = findings(disk(file_system="9p", locks=False))
    assert none.state == "wrong"
