from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from logbert_engine.protocol.errors import CheckpointError, StorageError
from logbert_engine.rundir.checksums import (
    SUMS,
    forget_digests,
    forget_missing,
    read_sums,
    record_sums,
    remove_checked,
    replacing_checked,
    sha256_of,
    sums_are_whole,
    verify,
)

OLD, NEW = b"old weights", b"new weights, and more of them"

KILLED_AT_EACH_STEP = """
import os, sys
from pathlib import Path
from logbert_engine.rundir.checksums import replacing_checked

point, after, path = int(sys.argv[1]), sys.argv[2] == "after", Path(sys.argv[3])
calls = 0

def counted(real):
    def call(*arguments, **named):
        global calls
        calls += 1
        if calls == point and not after:
            os._exit(9)
        try:
            return real(*arguments, **named)
        finally:
            if calls == point:
                os._exit(9)
    return call

for name in ("fsync", "replace", "unlink"):
    setattr(os, name, counted(getattr(os, name)))
with replacing_checked(path) as file:
    file.write(b"new weights, and more of them")
os._exit(0)
"""


def put(path: Path, content: bytes) -> None:
    with replacing_checked(path) as file:
        file.write(content)


def test_a_written_file_verifies_and_has_one_digest(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "best_model.pt"
    for content in (OLD, NEW, NEW):
        put(path, content)
        assert path.read_bytes() == content
        assert read_sums(path.parent) == {path.name: {verify(path)}}


def test_the_sums_are_in_the_format_of_sha256sum(tmp_path: Path) -> None:
    put(tmp_path / "epoch_1.pt", OLD)
    put(tmp_path / "best_model.pt", NEW)
    first, *lines = (tmp_path / SUMS).read_text().splitlines()
    assert first.startswith("# sha256 of the lines below: ")
    assert lines == [f"{sha256_of(tmp_path / n)}  {n}" for n in ("best_model.pt", "epoch_1.pt")]


@pytest.mark.parametrize("there_before", [True, False])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_at_any_step_leaves_a_whole_file_that_verifies(
    tmp_path: Path, moment: str, there_before: bool
) -> None:
    path = tmp_path / "best_model.pt"
    outcomes = set()
    for point in range(1, 100):
        for leftover in tmp_path.iterdir():
            leftover.unlink()
        if there_before:
            put(path, OLD)
        words = [sys.executable, "-c", KILLED_AT_EACH_STEP, str(point), moment, str(path)]
        ended = subprocess.run(words, check=False, timeout=60).returncode
        if path.exists():
            verify(path)
            outcomes.add(path.read_bytes())
        else:
            assert not there_before
        if ended == 0:
            break
        put(path, NEW)  # what is left behind does not keep the next attempt from succeeding
        assert read_sums(tmp_path) == {path.name: {verify(path)}}
    assert point > 8, "the kills have missed the steps"
    assert outcomes == ({OLD, NEW} if there_before else {NEW})


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("nth", [1, 2, 3, 4, 5, 6])
def test_a_failed_sync_or_rename_is_an_error_and_the_file_still_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, nth: int
) -> None:
    path = tmp_path / "best_model.pt"
    put(path, OLD)
    real, calls = getattr(os, call), 0

    def failing(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(os, call, failing)
    if call == "replace" and nth > 3:
        put(path, NEW)
        assert calls == 3, "sums, file, sums"
        return
    with pytest.raises(StorageError, match="disk full") as caught:
        put(path, NEW)
    monkeypatch.undo()
    assert str(tmp_path) in str(caught.value)
    verify(path)
    assert path.read_bytes() in (OLD, NEW)
    assert not list(tmp_path.glob(".*")), "a temporary file is left behind"


def test_an_error_while_writing_leaves_the_old_file_and_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "best_model.pt"
    put(path, OLD)
    before = (tmp_path / SUMS).read_bytes()

    def write_half() -> None:
        with replacing_checked(path) as file:
            file.write(NEW[:4])
            raise KeyError("a bug in what writes")

    with pytest.raises(KeyError):
        write_half()
    assert path.read_bytes() == OLD
    assert (tmp_path / SUMS).read_bytes() == before


@pytest.mark.parametrize("place", [0, 5, -1])
@pytest.mark.parametrize("bit", [0, 7])
def test_a_flipped_bit_is_found_and_the_file_named(tmp_path: Path, place: int, bit: int) -> None:
    path = tmp_path / "best_model.pt"
    put(path, NEW)
    content = bytearray(NEW)
    content[place] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"best_model\.pt is damaged"):
        verify(path)


@pytest.mark.parametrize("place", [0, 10, 63])
def test_a_digest_damaged_on_the_disk_is_found_too(tmp_path: Path, place: int) -> None:
    path = tmp_path / "best_model.pt"
    put(path, NEW)
    assert sums_are_whole(tmp_path)
    sums = bytearray((tmp_path / SUMS).read_bytes())
    sums[sums.index(b"\n") + 1 + place] ^= 0x80  # not UTF-8 any more
    (tmp_path / SUMS).write_bytes(sums)
    assert not sums_are_whole(tmp_path)
    with pytest.raises(CheckpointError, match=r"best_model\.pt is damaged"):
        verify(path)
    put(path, OLD)
    verify(path)
    assert sums_are_whole(tmp_path)


def test_a_list_that_is_damaged_anywhere_is_told_from_one_that_is_whole(tmp_path: Path) -> None:
    assert not sums_are_whole(tmp_path), "there is none"
    put(tmp_path / "best_model.pt", NEW)
    content = (tmp_path / SUMS).read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        (tmp_path / SUMS).write_bytes(damaged)
        assert not sums_are_whole(tmp_path), place
        (tmp_path / SUMS).write_bytes(content[:place])
        assert not sums_are_whole(tmp_path), place
    (tmp_path / SUMS).write_bytes(content)
    assert sums_are_whole(tmp_path)
    put(tmp_path / "best_model.pt", NEW)
    assert (tmp_path / SUMS).read_bytes() == content


def test_a_list_of_an_older_version_is_whole_if_it_is_well_formed(tmp_path: Path) -> None:
    put(tmp_path / "best_model.pt", NEW)
    content = (tmp_path / SUMS).read_bytes()
    older = content[content.index(b"\n") + 1 :]
    for text, whole in (
        (older, True),
        (older[:-1], False),
        (older[1:], False),
        (b"", False),
        (older * 2, True),
    ):
        (tmp_path / SUMS).write_bytes(text)
        assert sums_are_whole(tmp_path) == whole
        if whole:
            verify(tmp_path / "best_model.pt")


def put_keeping(folder: Path, content: bytes) -> None:
    with replacing_checked(folder / "resume.pt", previous=folder / "resume.previous.pt") as file:
        file.write(content)


def test_the_file_that_was_there_becomes_the_previous_one(tmp_path: Path) -> None:
    for content in (b"1", b"22", b"333"):
        put_keeping(tmp_path, content)
    assert (tmp_path / "resume.pt").read_bytes() == b"333"
    assert (tmp_path / "resume.previous.pt").read_bytes() == b"22"
    names = ("resume.pt", "resume.previous.pt")
    assert read_sums(tmp_path) == {name: {verify(tmp_path / name)} for name in names}
    assert {path.name for path in tmp_path.iterdir()} == {*names, SUMS}


def test_a_file_system_without_hard_links_keeps_the_previous_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "link", refuse)
    test_the_file_that_was_there_becomes_the_previous_one(tmp_path)


def test_a_file_that_is_not_known_to_be_whole_takes_no_whole_files_place(tmp_path: Path) -> None:
    put_keeping(tmp_path, b"1")
    put_keeping(tmp_path, b"22")
    (tmp_path / SUMS).write_text(f"{sha256_of(tmp_path / 'resume.previous.pt')}  resume.previous.pt\n")
    put_keeping(tmp_path, b"333")
    assert (tmp_path / "resume.previous.pt").read_bytes() == b"1"
    names = ("resume.pt", "resume.previous.pt")
    assert read_sums(tmp_path) == {name: {verify(tmp_path / name)} for name in names}


def test_what_a_save_that_was_cut_off_has_recorded_is_settled_by_the_next(tmp_path: Path) -> None:
    put_keeping(tmp_path, b"1")
    put_keeping(tmp_path, b"22")
    sums = (tmp_path / SUMS).read_text()
    (tmp_path / SUMS).write_text(f"{sums}{'0' * 64}  resume.pt\n")
    put_keeping(tmp_path, b"333")
    assert (tmp_path / "resume.previous.pt").read_bytes() == b"22"
    names = ("resume.pt", "resume.previous.pt")
    assert read_sums(tmp_path) == {name: {verify(tmp_path / name)} for name in names}


def test_a_file_is_not_read_again_for_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_keeping(tmp_path, b"1")

    def refuse(path: Path) -> str:
        raise AssertionError(f"{path} is read")

    monkeypatch.setattr("logbert_engine.rundir.checksums.sha256_of", refuse)
    put_keeping(tmp_path, b"22")
    monkeypatch.undo()
    verify(tmp_path / "resume.pt")
    verify(tmp_path / "resume.previous.pt")


def test_a_file_of_another_folder_can_be_listed(tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    for content in (b"1", b"22"):
        with replacing_checked(tmp_path / "training_metrics.json", folder=checkpoints) as file:
            file.write(content)
    assert list(read_sums(checkpoints)) == ["../training_metrics.json"]
    verify(tmp_path / "training_metrics.json", checkpoints)
    checked = subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=checkpoints, check=False)
    assert checked.returncode == 0
    forget_digests(checkpoints, tmp_path / "training_metrics.json")
    assert read_sums(checkpoints) == {}


def test_files_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    put(tmp_path / "best_model.pt", OLD)
    put(tmp_path / "epoch_1.pt", NEW)
    (tmp_path / "epoch_1.pt").unlink()
    forget_missing(tmp_path)
    assert list(read_sums(tmp_path)) == ["best_model.pt"]


def test_removing_a_file_removes_its_digest_alone(tmp_path: Path) -> None:
    put(tmp_path / "resume.pt", OLD)
    put(tmp_path / "best_model.pt", NEW)
    remove_checked(tmp_path / "resume.pt")
    remove_checked(tmp_path / "resume.pt")
    assert set(read_sums(tmp_path)) == {"best_model.pt"}
    assert not (tmp_path / "resume.pt").exists()


def test_every_file_of_a_folder_can_be_recorded_at_once(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes(name.encode())
    record_sums(tmp_path)
    record_sums(tmp_path)
    assert read_sums(tmp_path) == {n: {verify(tmp_path / n)} for n in ("config.json", "model.safetensors")}
