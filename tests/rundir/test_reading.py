"""What lies in a file's place and is none keeps nobody waiting."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from logbert_engine.protocol.errors import RunError, StorageError
from logbert_engine.protocol.events import Log
from logbert_engine.rundir import control, outcome
from logbert_engine.rundir.aftermath import last_words
from logbert_engine.rundir.checksums import SUMS, read_sums, record_digest, sha256_of, sums_are_whole
from logbert_engine.rundir.journal import JournalWriter, damage, last_event, read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.outcome import Outcome
from logbert_engine.rundir.reading import NotAFileError, TooLargeError, content, opened

ODD: dict[str, Callable[[Path], object]] = {
    "device": lambda path: path.symlink_to("/dev/null"),
    "folder": os.mkdir,
    "pipe": os.mkfifo,
}


@pytest.fixture(params=ODD)
def put(request: pytest.FixtureRequest) -> Callable[[Path], object]:
    """Puts something that is no file at a path."""
    return ODD[request.param]


@pytest.fixture
def run(tmp_path: Path) -> RunLayout:
    layout = RunLayout(tmp_path / "run")
    layout.root.mkdir()
    return layout


def test_what_is_no_file_is_not_opened(put, tmp_path: Path) -> None:
    put(tmp_path / "odd")
    for read in (opened, content):
        with pytest.raises(NotAFileError, match="not a file") as refused:
            read(tmp_path / "odd")
        assert refused.value.filename == str(tmp_path / "odd")


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345678")
    assert content(path, 8) == b"12345678"
    with pytest.raises(TooLargeError) as refused:
        content(path, 7)
    assert refused.value.size == 8
    with pytest.raises(FileNotFoundError):
        content(tmp_path / "missing")


@pytest.mark.skipif(sys.platform != "linux", reason="such files are of Linux")
def test_a_file_without_an_end_has_no_content() -> None:
    assert content(Path("/proc/self/environ")) == b""


def test_a_journal_that_is_none_is_told_in_a_sentence(put, run: RunLayout) -> None:
    put(run.journal)
    for read in (last_event, damage, lambda path: list(read_journal(path))):
        with pytest.raises(RunError, match=r"cannot read .*journal\.ndjson"):
            read(run.journal)
    with pytest.raises(StorageError, match=r"cannot write .*journal\.ndjson"):
        JournalWriter(run.journal).append(Log(level="info", message="lost"))


def test_a_request_or_outcome_that_is_none_is_passed_over(put, run: RunLayout) -> None:
    put(run.control)
    put(run.outcome("rank0"))
    outcome.leave(run, "rank1", Outcome(kind="failed", message="why"))
    assert control.pending(run) is None
    assert list(outcome.collect(run)) == ["rank1"]
    control.clear(run)
    outcome.clear(run)
    assert control.pending(run) is None
    assert outcome.collect(run) == {}


def test_last_words_that_are_none_say_nothing(put, run: RunLayout) -> None:
    run.logs.mkdir()
    put(run.worker_errors)
    assert last_words(run) == ""


def test_checksums_that_are_none_list_nothing(put, tmp_path: Path) -> None:
    put(tmp_path / SUMS)
    assert read_sums(tmp_path) == {}
    assert not sums_are_whole(tmp_path)
    model = tmp_path / "model.pt"
    model.write_bytes(b"weights")
    if (tmp_path / SUMS).is_dir():
        with pytest.raises(StorageError, match=SUMS):
            record_digest(model, sha256_of(model))
    else:
        record_digest(model, sha256_of(model))
        assert sums_are_whole(tmp_path)
