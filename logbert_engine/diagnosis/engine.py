"""Findings about the engine: where it listens, who may talk to it, whether it answers."""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from logbert_engine import __version__
from logbert_engine.diagnosis.finding import Finding, notice, refused, well, wrong
from logbert_engine.protocol.client import EngineClient, default_client_name
from logbert_engine.protocol.errors import EngineError
from logbert_engine.protocol.locations import runtime_folder


@dataclass(frozen=True)
class EngineSeen:
    """What there is of an engine."""

    socket: str
    moved_from: str = ""
    """The folder that would make the socket's path too long for the kernel."""
    folder_mode: int | None = None
    """Permissions of the socket's folder, which an engine makes private when it starts; None where it is not there
    yet."""
    folder_ours: bool = True
    socket_mode: int | None = None
    version: str = ""
    """Of an engine that answers."""
    pid: int = 0
    refusal: str = ""
    """Why one that is there does not answer, in a sentence."""


def look() -> EngineSeen:
    """Look, and greet an engine where there is a socket."""
    folder = runtime_folder()
    socket = folder / "engine.sock"
    chosen = os.environ.get("LOGBERT_RUNTIME_DIR", "")
    there, listens = _status(folder), _status(socket)
    version, pid, refusal = _greeted(socket) if listens is not None else ("", 0, "")
    return EngineSeen(
        socket=str(socket),
        moved_from=chosen if chosen and Path(chosen) != folder else "",
        folder_mode=None if there is None else stat.S_IMODE(there.st_mode),
        folder_ours=there is None or there.st_uid == os.getuid(),
        socket_mode=None if listens is None else stat.S_IMODE(listens.st_mode),
        version=version,
        pid=pid,
        refusal=refusal,
    )


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _greeted(socket: Path) -> tuple[str, int, str]:
    async def ask() -> tuple[str, int, str]:
        client = await EngineClient.connect(socket, default_client_name())
        await client.close()
        return client.welcome.engine_version, client.welcome.pid, ""

    try:
        return asyncio.run(ask())
    except EngineError as error:
        return "", 0, str(error)


def findings(seen: EngineSeen, own_version: str = __version__) -> list[Finding]:
    """Where it listens, who may talk to it, whether it answers."""
    found = [_place(seen), *_rights(seen)]
    if seen.refusal:
        found.append(refused("notice", seen.refusal, "Run: logbert-engine serve"))
    elif not seen.version:
        found.append(well("not running; the console starts it, and runs do not need it"))
    elif seen.version != own_version:
        found.append(
            notice(
                f"process {seen.pid} answers with version {seen.version}, and this is {own_version}",
                "Run: logbert-engine stop (training goes on; the next console starts one of this version)",
            )
        )
    else:
        found.append(well(f"process {seen.pid} answers, version {seen.version}"))
    return found


def _place(seen: EngineSeen) -> Finding:
    size = len(os.fsencode(seen.socket))
    if not seen.moved_from:
        return well(f"its socket is {seen.socket}, a path of {size} bytes (kernels take up to 104)")
    return notice(
        f"its socket is {seen.socket}, as {seen.moved_from} makes a path that is too long for a socket",
        "Set LOGBERT_RUNTIME_DIR to a shorter folder, if you want to choose where it lies.",
    )


def _rights(seen: EngineSeen) -> list[Finding]:
    found = []
    folder = Path(seen.socket).parent
    if not seen.folder_ours:
        found.append(
            wrong(f"{folder} belongs to another user", "Set LOGBERT_RUNTIME_DIR to a folder of your own.")
        )
    elif seen.folder_mode is not None and seen.folder_mode & stat.S_ISVTX:
        found.append(
            wrong(f"{folder} is a folder that all users share", "Set LOGBERT_RUNTIME_DIR to one of your own.")
        )
    elif seen.folder_mode is not None and seen.socket_mode is not None and seen.folder_mode & 0o077:
        found.append(
            notice(f"others may enter {folder} (mode {seen.folder_mode:04o})", f"Run: chmod 700 {folder}")
        )
    if seen.socket_mode is not None and seen.socket_mode & 0o077:
        found.append(
            notice(
                f"others may open the socket (mode {seen.socket_mode:04o})", f"Run: chmod 600 {seen.socket}"
            )
        )
    return found
