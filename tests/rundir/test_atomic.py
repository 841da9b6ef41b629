"""Files that are the old or the new one."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from logbert_engine.protocol.errors import StorageError
from logbert_engine.rundir import atomic
from logbert_engine.rundir.atomic import make_folder, replacing, storage_error, sync_folder, write_file

WRITES_FOR_EVER = """
import sys
from pathlib import Path
from logbert_engine.rundir.atomic import write_file
path = Path(sys.argv[1])
print("ready", flush=True)
i = 0
while True:
    write_file(path, str(i % 10) * 100_000)
    i += 1
"""


def test_a_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "new" / "file"
    write_file(path, "old")
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_in_the_block_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_file(path, "old")

    def half() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_killed_at_any_time_leaves_a_whole_file(tmp_path):
    path = tmp_path / "file"
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITES_FOR_EVER, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        while not path.exists():
            pass
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        content = path.read_text()
        assert len(content) == 100_000
        assert len(set(content)) == 1


def test_threads_that_write_the_same_file_do_not_disturb_one_another(tmp_path):
    path = tmp_path / "file"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: write_file(path, str(i % 10) * 1000), range(200)))
    assert len(set(path.read_text())) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_without_room_is_said_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_file(path, "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError, match=r"disk full: no room to write .*file"):
            write_file(path, "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*inside"):
        write_file(tmp_path / "file" / "inside", "x")


def test_a_drive_that_knows_no_full_sync_is_synced_as_it_can(tmp_path, monkeypatch):
    """As macOS answers on a network file system."""
    synced = []
    monkeypatch.setattr(atomic, "_FULL_SYNC", 51)
    monkeypatch.setattr(atomic.fcntl, "fcntl", refusing(errno.ENOTSUP))
    monkeypatch.setattr(os, "fsync", synced.append)
    write_file(tmp_path / "file", "new")
    assert len(synced) == 2
    monkeypatch.setattr(atomic.fcntl, "fcntl", refusing(errno.EIO))
    with pytest.raises(StorageError, match="Input/output error"):
        write_file(tmp_path / "file", "newer")
    assert (tmp_path / "file").read_text() == "new"


def test_a_folder_that_cannot_be_synced_is_passed_over_only_where_nothing_can(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", refusing(errno.EINVAL))
    sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", refusing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        sync_folder(tmp_path)


def refusing(number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    return refuse


def test_folders_are_made_with_their_names_on_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(atomic, "sync_folder", synced.append)
    make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert {tmp_path / "a" / "b", tmp_path / "a", tmp_path} <= set(synced)
    synced.clear()
    make_folder(tmp_path / "a" / "b" / "c")
    assert synced == []


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "disk full"),
        (errno.EDQUOT, "disk full"),
        (errno.EROFS, "may write to"),
        (errno.EIO, "cannot write"),
    ],
)
def test_refusals_are_one_sentence(tmp_path, number, says):
    message = str(storage_error(tmp_path, OSError(number, os.strerror(number))))
    assert says in message
    assert str(tmp_path) in message
    assert message.endswith(".")
