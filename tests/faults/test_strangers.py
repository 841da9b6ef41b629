"""Row 20: another user's process is refused, by the folder, by the socket and by the engine itself."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from logbert_engine.daemon.server import LONGEST_PATH
from logbert_engine.protocol.locations import socket_path
from logbert_engine.rundir.processes import identify
from tests.faults.harness import command, engine, eventually, sentence

pytestmark = pytest.mark.row(20)

NOBODY = 65534
KNOCK = """
import os, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
with socket.socket(socket.AF_UNIX) as client:
    client.settimeout(20)
    try:
        client.connect(sys.argv[1])
    except OSError as error:
        sys.exit(f"no connection: {error.strerror}")
    try:
        client.sendall(b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{}}\\n')
        answer = client.recv(1000)
    except OSError as error:
        sys.exit(f"refused: {error.strerror}")
    sys.exit(f"answered: {answer}" if answer else "refused: closed without a word")
"""
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def knock(path: Path, uid: int) -> str:
    """What a process of a user is told at the socket."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", KNOCK, str(path), str(uid)], capture_output=True, text=True, check=False
    )
    return done.stderr.strip()


@pytest.fixture
def open_doors(own_folders: Path) -> Callable[[Path], None]:
    """Opens the socket and all the folders above it to everybody, so that the engine's own check alone is left."""

    def open_up(path: Path) -> None:
        for folder in (own_folders, path.parent):
            folder.chmod(0o777)
        path.chmod(0o666)

    return open_up


@needs_root
def test_the_engine_turns_another_users_process_away_even_where_file_modes_let_it_in(
    engine_process: Callable, open_doors: Callable[[Path], None], own_folders: Path
) -> None:
    one = engine_process()
    eventually(lambda: "answered" in knock(one.socket, 0), "it serves its own user")
    open_doors(one.socket)
    for _ in range(10):
        assert knock(one.socket, NOBODY).startswith("refused")
    assert "answered" in knock(one.socket, 0), "its own user is served on"
    assert one.process.poll() is None


@needs_root
def test_file_modes_keep_another_users_process_out_before_it_says_a_word(
    engine_process: Callable, own_folders: Path
) -> None:
    one = engine_process()
    eventually(lambda: "answered" in knock(one.socket, 0), "it serves its own user")
    own_folders.chmod(0o755)
    assert knock(one.socket, NOBODY) == "no connection: Permission denied", "the folder"
    one.socket.parent.chmod(0o755)
    assert knock(one.socket, NOBODY) == "no connection: Permission denied", "the socket"


@pytest.mark.parametrize("before", [None, 0o755, 0o777, 0o700, 0o2775])
def test_folder_and_socket_are_private_whatever_the_folder_was(
    engine_process: Callable, own_folders: Path, monkeypatch: pytest.MonkeyPatch, before: int | None
) -> None:
    folder = own_folders / "chosen"
    if before is not None:
        folder.mkdir()
        folder.chmod(before)
    monkeypatch.setenv("LOGBERT_RUNTIME_DIR", str(folder))
    mask = os.umask(0)  # nothing is left to the user's umask
    try:
        one = engine_process()
        eventually(lambda: "engine: process" in engine("status").stdout, "it serves")
    finally:
        os.umask(mask)
    assert (mode(folder), mode(one.socket), mode(folder / "engine.lock")) == (0o700, 0o600, 0o600)


def test_the_socket_is_private_from_its_first_moment_on(own_folders: Path) -> None:
    """Between its making and a chmod, a socket made with the user's umask would be open."""
    path = socket_path()
    trace = (
        "import os, socket\n"
        "bind = socket.socket.bind\n"
        "def told(self, address):\n"
        "    bind(self, address)\n"
        "    print(oct(os.stat(address).st_mode & 0o777), flush=True)\n"
        "socket.socket.bind = told\n"
        "os.umask(0)\n"
        "from logbert_engine.commands.dispatch import main\n"
        f"main(['serve', '--socket', {str(path)!r}])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", trace], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0o600\n"
        process.kill()


@needs_root
def test_a_folder_of_another_user_is_refused_and_left_as_it_is(
    own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own_folders / "theirs"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    os.chown(folder, NOBODY, NOBODY)
    monkeypatch.setenv("LOGBERT_RUNTIME_DIR", str(folder))
    said = sentence(engine("serve"))
    assert f"{folder}, belongs to another user (uid {NOBODY})" in said
    assert "LOGBERT_RUNTIME_DIR" in said
    assert list(folder.iterdir()) == []
    assert mode(folder) == 0o777


@pytest.mark.parametrize("before", [0o755, 0o750, 0o2775])
def test_a_folder_that_others_can_enter_is_refused_and_left_as_it_is(own_folders: Path, before: int) -> None:
    """As a home is, or a project's folder: only the engine's own folder is made private."""
    folder = own_folders / "home"
    folder.mkdir()
    folder.chmod(before)
    said = sentence(engine("serve", "--socket", folder / "x.sock"))
    assert f"other users can enter the folder of the engine's socket, {folder} (mode {before:04o})" in said
    assert "mkdir -m 700" in said
    assert mode(folder) == before
    assert list(folder.iterdir()) == []


def test_a_folder_that_is_not_there_is_made_and_serves(own_folders: Path) -> None:
    folder = own_folders / "new" / "engine"
    path = folder / "x.sock"
    with subprocess.Popen(command("serve", "--socket", path), stderr=subprocess.DEVNULL) as process:
        eventually(path.exists, "it serves")
        process.terminate()
    assert process.returncode == 0
    assert mode(folder) == 0o700


@pytest.mark.parametrize("content", ["my notes", '{"a": 1}'])
def test_a_file_where_the_lock_goes_is_not_written_to(own_folders: Path, content: str) -> None:
    folder = own_folders / "runtime"
    lock = folder / "x.lock"
    lock.write_text(content)
    assert f"{lock}, where the engine's lock goes, is there" in sentence(
        engine("serve", "--socket", folder / "x.sock")
    )
    assert lock.read_text() == content
    assert list(folder.iterdir()) == [lock]


@pytest.mark.parametrize("left", [b"", b"\0" * 40, msgspec.json.encode(identify(1)) + b"}"])
def test_a_lock_that_an_engine_left_is_taken(engine_process: Callable, left: bytes) -> None:
    socket_path().with_suffix(".lock").write_bytes(left)
    engine_process()
    eventually(lambda: "engine: process" in engine("status").stdout, "it serves")


def test_a_path_that_cannot_be_a_sockets_is_refused_and_nothing_is_changed(own_folders: Path) -> None:
    folder = own_folders / "runtime"
    for name, why in (
        ("file", "is not a socket"),
        ("x.lock", "what the lock of a socket is called"),
        ("x" * LONGEST_PATH, f"{LONGEST_PATH} at most"),
        ("", "is not a socket"),
    ):
        (folder / "file").write_text("content")
        assert why in sentence(engine("serve", "--socket", folder / name))
        assert [path.name for path in folder.iterdir()] == ["file"]
    assert (folder / "file").read_text() == "content"


def test_a_folder_that_all_users_share_is_refused_and_left_as_it_is(own_folders: Path) -> None:
    """As /tmp is: to make it private would break the machine for everybody."""
    folder = own_folders / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    assert "all users share" in sentence(engine("serve", "--socket", folder / "engine.sock"))
    assert mode(folder) == 0o1777
    assert list(folder.iterdir()) == []


@needs_root
def test_a_lock_or_socket_that_somebody_has_laid_as_a_link_is_not_followed(own_folders: Path) -> None:
    target = own_folders / "precious"
    target.write_text("content")
    folder = socket_path().parent
    (folder / "engine.lock").symlink_to(target)
    assert "engine" in sentence(engine("serve"))
    assert target.read_text() == "content"
    (folder / "engine.lock").unlink()
    (folder / "engine.sock").symlink_to(target)
    assert "is not a socket" in sentence(engine("serve"))
    assert target.read_text() == "content"
