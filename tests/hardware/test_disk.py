"""The disk of a folder, tried out for real."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from logbert_engine.hardware import disk
from logbert_engine.hardware.disk import TRIAL_MB, try_out
from logbert_engine.hardware.sources import MB, Sources


def refusing(number: int) -> Any:
    def refuse(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    return refuse


def test_a_disk_is_written_and_read_and_left_as_it_was(tmp_path: Path) -> None:
    found = try_out(tmp_path / "not" / "made")
    assert (found.folder, found.problem, found.locks) == (str(tmp_path), "", True)
    assert found.write_mb_s is not None
    assert found.write_mb_s > 0
    assert found.read_mb_s is None or found.read_mb_s > 0
    assert found.file_system
    assert list(tmp_path.iterdir()) == []


def test_a_disk_with_little_room_is_not_filled(tmp_path: Path) -> None:
    found = try_out(tmp_path, Sources(free_disk=lambda _path: 2 * TRIAL_MB * MB))
    assert (found.write_mb_s, found.read_mb_s, found.problem, found.locks) == (None, None, "", True)


def test_a_disk_that_fills_meanwhile_is_told_and_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", refusing(errno.ENOSPC))
    found = try_out(tmp_path)
    assert found.problem.startswith("disk full: no room to write")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_read_only_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", refusing(errno.EROFS))
    found = try_out(tmp_path)
    assert "Read-only file system; choose a directory that you may write to." in found.problem


def test_a_disk_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk.fcntl, "flock", refusing(errno.ENOLCK))
    assert not try_out(tmp_path).locks
