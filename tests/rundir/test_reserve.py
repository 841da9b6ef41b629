"""The space that a run holds back."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from logbert_engine.protocol.errors import DiskFullError, StorageError
from logbert_engine.rundir import reserve
from logbert_engine.rundir.layout import RunLayout


@pytest.fixture
def run(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path)


@contextmanager
def small_files() -> Iterator[None]:
    """No file may grow beyond a few bytes; not pytest's own output either, so only for a moment."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_it_is_really_allocated_and_goes_without_a_trace(run: RunLayout) -> None:
    reserve.make(run)
    assert run.reserve.stat().st_size == reserve.SIZE
    assert run.reserve.stat().st_blocks * 512 >= reserve.SIZE
    assert len(set(run.reserve.read_bytes())) > 200, "nothing that could be compressed away"
    reserve.free(run)
    assert list(run.root.iterdir()) == []
    reserve.free(run)


def test_what_an_attempt_has_left_is_taken_over_and_half_of_one_is_not(run: RunLayout) -> None:
    reserve.make(run)
    inode = run.reserve.stat().st_ino
    reserve.make(run)
    assert run.reserve.stat().st_ino == inode
    os.truncate(run.reserve, 10)
    reserve.make(run)
    assert run.reserve.stat().st_size == reserve.SIZE


def test_a_disk_without_room_is_said_and_nothing_is_left(run: RunLayout) -> None:
    with small_files(), pytest.raises(DiskFullError, match=r"disk full: no room to write .*\.reserve"):
        reserve.make(run)
    assert list(run.root.iterdir()) == []


def test_a_reserve_that_cannot_be_removed_is_said(run: RunLayout) -> None:
    run.reserve.mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*\.reserve"):
        reserve.free(run)
