"""An engine to talk to: the one that runs, or one started now that outlives its starter."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from logbert_engine.protocol.client import EngineClient, default_client_name
from logbert_engine.protocol.errors import EngineError
from logbert_engine.protocol.locations import socket_path, state_dir

DEADLINE_S = 10.0
_MOST_LOG = 1 << 20
"""Bytes of the engine's log above which a new one is begun; the last one is kept."""


def engine_log() -> Path:
    """What an engine that was started in the background writes to."""
    return state_dir() / "engine.log"


async def ensure_engine(path: Path | None = None) -> Path:
    """See to it that an engine answers, and say where.

    Several callers at once end up with one engine: a lock beside the socket decides, and the engines that
    come second leave without a word.

    Args:
        path: the engine's socket; None for this user's own.

    Returns:
        The socket of an engine that answers.

    Raises:
        EngineError: an engine could not be started, or what listens there does not answer.
    """
    socket = path or socket_path()
    if await _listens(socket):
        await _greet(socket)
        return socket
    engine = _start(socket)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE_S
    while loop.time() < deadline:
        if await _listens(socket):
            if await _greet(socket) != engine.pid:
                engine.terminate()  # another one was first; ours must not take over when that one leaves
            return socket
        status = engine.poll()
        if status:
            raise EngineError(f"the engine could not be started: {_last_words()}")
        if status == 0:  # another one was first; it may also have been just about to leave
            engine = _start(socket)
            await asyncio.sleep(0.2)
        await asyncio.sleep(0.02)
    raise EngineError(
        f"the engine was started but does not answer at {socket} within {DEADLINE_S:.0f} s: {_last_words()}"
    )


async def _listens(socket: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(socket)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        return False
    except OSError as error:
        raise EngineError(f"cannot connect to the engine at {socket}: {error.strerror or error}.") from error
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


async def _greet(socket: Path) -> int:
    """Say hello; returns the engine's process."""
    client = await EngineClient.connect(socket, default_client_name())
    await client.close()
    return client.welcome.pid


def _start(socket: Path) -> subprocess.Popen[bytes]:
    log = engine_log()
    try:
        if log.exists() and log.stat().st_size > _MOST_LOG:
            log.replace(log.with_suffix(".log.1"))
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EngineError(
            f"the engine could not be started: cannot write {log}: {error.strerror or error}."
        ) from error
    try:
        engine = subprocess.Popen(
            [sys.executable, "-P", "-m", "logbert_engine", "serve", "--socket", str(socket)],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            close_fds=True,
        )
    except OSError as error:
        raise EngineError(f"the engine could not be started: {error.strerror or error}.") from error
    finally:
        os.close(descriptor)
    # Waiting for it in a thread keeps an engine that ends before its starter from staying a zombie.
    threading.Thread(target=engine.wait, name="engine", daemon=True).start()
    return engine


def _last_words() -> str:
    try:
        lines = engine_log().read_text(errors="replace").split("\n")
    except OSError:
        lines = []
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it left no message")
    return f"{last} (see {engine_log()})"
