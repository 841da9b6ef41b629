"""The engine's socket: one engine a socket, one user a socket, gone cleanly."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from logbert_engine.daemon.connection import Connection
from logbert_engine.daemon.engine import PATIENCE_S, Engine
from logbert_engine.protocol.errors import EngineError
from logbert_engine.protocol.framing import encode_frame
from logbert_engine.protocol.locations import runtime_folder
from logbert_engine.protocol.rpc import FRAME_LIMIT, REFUSED, ErrorBody, Response
from logbert_engine.rundir.lock import is_name_plate, named_in, write_name
from logbert_engine.supervision.launch import launch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from logbert_engine.daemon.runs import Launcher

MOST_CLIENTS = 200
"""Far fewer than the descriptors that a process may have: it needs some to read journals and to start workers."""
LOOK_FOR_SOCKET_S = 5.0
LONGEST_PATH = 103 if sys.platform == "darwin" else 107
"""Bytes of a socket's path that the kernel takes."""
_CLOSING_S = 3.0
_NAMED_S = 1.0
_SWITCH_S = 0.0005
"""Threads that work for one client give way to the event loop, which serves all, ten times sooner than by default:
each of them would otherwise delay each of its turns by 5 ms."""
_logger = logging.getLogger(__name__)


class AlreadyServed(EngineError):
    """Another engine has the socket. Nothing is wrong: it can be used."""


async def serve(path: Path, *, launcher: Launcher = launch, patience_s: float = PATIENCE_S) -> None:
    """Be the engine at a socket until SIGTERM, SIGINT or a client's ``shutdown``. Workers go on after it.

    Args:
        path: the socket, in a folder that is private to the user; it is made where there is none.
        launcher: starts workers.
        patience_s: a client that has not read a byte for so long is dropped.

    Raises:
        AlreadyServed: another engine has the socket.
        EngineError: the socket cannot be made.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):  # before anybody can find the socket, and us by it
        loop.add_signal_handler(number, stopping.set)
    async with serving(path, launcher=launcher, patience_s=patience_s, stopping=stopping):
        sys.setswitchinterval(_SWITCH_S)
        await stopping.wait()


@asynccontextmanager
async def serving(
    path: Path,
    *,
    launcher: Launcher = launch,
    patience_s: float = PATIENCE_S,
    stopping: asyncio.Event | None = None,
) -> AsyncIterator[Engine]:
    """An engine that answers at a socket for the length of the block.

    Raises:
        AlreadyServed: another engine has the socket.
        EngineError: the socket cannot be made.
    """
    with _sole_engine(path):
        engine = Engine(launcher, patience_s=patience_s, stopping=stopping)
        talks: set[asyncio.Task[None]] = set()
        server = await _listen(path, engine, talks)
        socket_id = await asyncio.to_thread(_inode, path)
        _logger.info("engine %d listens at %s", os.getpid(), path)
        try:
            engine.spawn(engine.runs.adopt())
            engine.spawn(_leave_without_socket(engine, path, socket_id))
            yield engine
        finally:
            if await asyncio.to_thread(_inode, path) == socket_id:
                await asyncio.to_thread(path.unlink, missing_ok=True)  # first: who comes now starts a new one
            server.close()
            await engine.close()
            if talks:
                await asyncio.wait(talks, timeout=_CLOSING_S)
            _logger.info("engine %d leaves; training goes on", os.getpid())


@contextmanager
def _sole_engine(path: Path) -> Iterator[None]:
    """Hold the lock beside the socket. The kernel frees it when the engine dies, however it dies.

    What is refused leaves everything as it was: a file that is no lock of ours is not written to.
    """
    try:
        descriptor = _open_lock(path)
    except OSError as error:
        raise EngineError(f"cannot make the engine's socket {path}: {error.strerror or error}.") from error
    try:
        lock = _lock_of(path)
        if not is_name_plate(descriptor):
            raise EngineError(
                f"{lock}, where the engine's lock goes, is there and is something else; name another --socket."
            )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyServed(f"an engine runs already at {path} ({_holder(lock)}).") from None
        write_name(descriptor)
        path.unlink(missing_ok=True)  # an engine that was killed left it: its lock is free
        yield
    finally:
        os.close(descriptor)


def _lock_of(path: Path) -> Path:
    return path.with_suffix(".lock")


def _open_lock(path: Path) -> int:
    """Open the file of the lock, once the socket's path has been found to be one that can be served.

    Raises:
        EngineError: the path cannot be a socket's, or its folder is not the user's alone.
        OSError: the folder or the lock cannot be made.
    """
    _refuse_no_socket(path)
    if (length := len(os.fsencode(path))) > LONGEST_PATH:
        raise EngineError(
            f"the path of the engine's socket, {path}, has {length} bytes, and the system takes "
            f"{LONGEST_PATH} at most; name a shorter one."
        )
    lock = _lock_of(path)
    if lock == path:
        raise EngineError(f"{path} is what the lock of a socket is called; name another --socket.")
    _make_private(path.parent)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    return os.open(lock, flags, 0o600)


def _refuse_no_socket(path: Path) -> None:
    """Check that nothing else than a socket would have to be removed.

    Raises:
        EngineError: what lies there is no socket.
        OSError: it cannot be looked at.
    """
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise EngineError(f"{path} is there and is not a socket; name another --socket.")


def _make_private(folder: Path) -> None:
    """See to it that the folder of the socket is the user's alone.

    It is made private where it is ours: made now, or the user's runtime folder. Any other is left as it is, as
    others may have to enter it (a home, a project).

    Raises:
        EngineError: it belongs to another user, or others can enter it.
        OSError: it cannot be made.
    """
    ours = folder == runtime_folder()
    try:
        folder.mkdir(mode=0o700, parents=True)
        ours = True
    except FileExistsError:
        pass
    found = folder.stat()
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode):
        raise EngineError(f"{folder} is not a folder; name another --socket.")
    if found.st_uid != os.getuid():
        raise EngineError(
            f"the folder of the engine's socket, {folder}, belongs to another user (uid {found.st_uid}); "
            "choose one of your own with LOGBERT_RUNTIME_DIR."
        )
    if mode & stat.S_ISVTX:
        raise EngineError(
            f"the folder of the engine's socket, {folder}, is one that all users share; "
            "make one for it alone (mkdir -m 700 DIR) and name a socket in that."
        )
    if ours and mode != 0o700:
        folder.chmod(0o700)
    elif mode & 0o077:
        raise EngineError(
            f"other users can enter the folder of the engine's socket, {folder} (mode {mode:04o}); "
            "make one for it alone (mkdir -m 700 DIR) and name a socket in that."
        )


def _holder(lock: Path) -> str:
    """Who holds the lock: its name is in the file a moment after it has taken it."""
    deadline = time.monotonic() + _NAMED_S
    while (found := named_in(lock)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return f"process {found.pid}" if found is not None else "another process"


async def _listen(path: Path, engine: Engine, talks: set[asyncio.Task[None]]) -> asyncio.Server:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("socket")
        if _peer_uid(peer) != os.getuid():
            _logger.warning("a process of another user (uid %d) was turned away", _peer_uid(peer))
            writer.transport.abort()
            return
        if len(engine.connections) >= MOST_CLIENTS:
            body = ErrorBody(
                code=REFUSED, message=f"the engine serves {MOST_CLIENTS} clients already; close some."
            )
            writer.write(encode_frame(Response(error=body)))
            writer.close()
            return
        connection = Connection(engine, reader, writer)
        engine.connections.add(connection)
        try:
            await connection.serve()
        finally:
            engine.connections.discard(connection)

    def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(talk(reader, writer))
        talks.add(task)
        task.add_done_callback(talks.discard)

    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mask = os.umask(0o177)  # private from its first moment on, not from a chmod on
        try:
            listening.bind(str(path))
        finally:
            os.umask(mask)
        return await asyncio.start_unix_server(meet, sock=listening, limit=FRAME_LIMIT)
    except OSError as error:
        listening.close()
        raise EngineError(f"cannot make the engine's socket {path}: {error.strerror or error}.") from error


async def _leave_without_socket(engine: Engine, path: Path, socket_id: int | None) -> None:
    """End an engine that nobody can reach any more: at logout the system removes the user's folders."""
    # It may be gone before we have had a look at it.
    while socket_id is not None and await asyncio.to_thread(_inode, path) == socket_id:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_FOR_SOCKET_S)
    _logger.warning("the socket %s is gone", path)
    engine.stopping.set()


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _peer_uid(peer: socket.socket) -> int:
    """The user at the other end, as the kernel tells it."""
    if sys.platform == "darwin":
        local_level, local_peercred = 0, 1
        credentials = peer.getsockopt(local_level, local_peercred, 76)  # struct xucred: version, uid, groups
        return int(struct.unpack_from("II", credentials)[1])
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])  # struct ucred: pid, uid, gid
