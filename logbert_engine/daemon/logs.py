"""Calls that read a run's log files, in pieces of whole lines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from logbert_engine.daemon.paths import resolved
from logbert_engine.protocol.errors import RunError
from logbert_engine.protocol.messages import LogChunk, LogFile, LogFiles, ReadLog, RunRef
from logbert_engine.rundir.condition import require_run
from logbert_engine.rundir.layout import RunLayout, StageLayout

if TYPE_CHECKING:
    from logbert_engine.daemon.connection import Connection
    from logbert_engine.daemon.engine import Engine

MOST_BYTES = 128 * 1024
"""Of one chunk. JSON writes a control character as six, so that even such a chunk fits in a frame."""


async def list_logs(_engine: Engine, client: Connection, params: RunRef) -> LogFiles:
    """``list_logs``."""
    return await client.fetch(lambda: _list(params.run_dir))


async def read_log(_engine: Engine, client: Connection, params: ReadLog) -> LogChunk:
    """``read_log``."""
    return await client.fetch(lambda: _read(params))


def _list(run_dir: str) -> LogFiles:
    run = _layout(run_dir)
    files = []
    for path in run.log_files():
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            continue  # removed between the two looks
        if not _within(path, run):
            continue
        stage = StageLayout(path.parent.parent).index if path.parent != run.logs else 0
        files.append(LogFile(name=path.relative_to(run.root).as_posix(), size=size, stage=stage or None))
    return LogFiles(files=files)


def _read(params: ReadLog) -> LogChunk:
    run = _layout(params.run_dir)
    # Chosen among the run's own logs by name, so that no name can lead out of the run directory.
    path = next((p for p in run.log_files() if p.relative_to(run.root).as_posix() == params.name), None)
    if path is None or not _within(path, run):
        raise RunError(f"{run.root} has no log {params.name!r}; ask for the list again.")
    return read_chunk(path, params.start, params.most)


def _within(path: Path, run: RunLayout) -> bool:
    """Whether it is a file of the run directory, and no link that leads out of it."""
    return path.is_file() and path.resolve().is_relative_to(run.root)


def read_chunk(path: Path, start: int, most: int) -> LogChunk:
    """Whole lines of a file.

    Args:
        path: the file.
        start: where to read, in bytes. In the middle of a line: the next line. Negative: from the end.
        most: bytes to read at most. A line longer than that comes in pieces, so where as many bytes before
            ``start`` belong to the same line, it is read on.
    """
    most = max(1, min(most, MOST_BYTES))
    shortest_piece = max(1, most - 3)  # of a long line: a character that was cut belongs to the next piece
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        begin = min(max(0, size + start if start < 0 else start), size)
        reach = min(begin, shortest_piece)
        file.seek(begin - reach)
        before, block = file.read(reach), file.read(min(most, size - begin))
    starts_near = 0 < begin < shortest_piece or b"\n" in before
    if starts_near and not before.endswith(b"\n"):
        newline = block.find(b"\n")
        if 0 <= newline < len(block) - 1:
            begin, block = begin + newline + 1, block[newline + 1 :]
    if begin + len(block) < size:
        block = block[: block.rfind(b"\n") + 1] or _whole_characters(block)
    return LogChunk(start=begin, end=begin + len(block), size=size, text=block.decode(errors="replace"))


def _whole_characters(block: bytes) -> bytes:
    """Without a UTF-8 character that was cut at the end."""
    for cut in range(1, min(4, len(block))):
        if block[-cut] & 0b1100_0000 == 0b1100_0000:
            return block[:-cut]
        if block[-cut] & 0b1000_0000 == 0:
            break
    return block


def _layout(run_dir: str) -> RunLayout:
    run = RunLayout(resolved(run_dir, "the run directory"))
    require_run(run)
    return run
