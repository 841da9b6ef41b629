"""Finding a line in the part of a log that is not held, a page at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from logbert_engine.protocol.messages import LogChunk
from logbert_tui.widgets.log_buffer import split_lines
from logbert_tui.widgets.log_line import Wanted

Step = Literal[1, -1]
PAGE_BYTES = 128 * 1024
Read = Callable[[int, int], Awaitable[LogChunk | None]]
"""Reads whole lines of a log from a byte, at most so many bytes; None when that is not possible any more."""


async def read_span(read: Read, start: int, stop: int) -> LogChunk | None:
    """The lines that begin at ``start`` or after it, up to ``stop``, in as many reads as it takes."""
    chunk = await read(start, stop - start)
    while chunk is not None and chunk.start < chunk.end < stop:
        more = await read(chunk.end, stop - chunk.end)
        if more is None or more.end <= chunk.end:
            return None
        chunk = LogChunk(start=chunk.start, end=more.end, size=more.size, text=chunk.text + more.text)
    return chunk


async def seek_pages(
    read: Read,
    position: int,
    size: int,
    wanted: Wanted,
    step: Step,
    progress: Callable[[float], None],
) -> tuple[LogChunk, int] | None:
    """Read a log on from a byte until a line is what is wanted.

    Args:
        read: Reads the log.
        position: Where to begin, the beginning of a line.
        size: Bytes of the log.
        wanted: What is looked for.
        step: 1 towards the end, -1 towards the beginning.
        progress: Told the share of the log that lies behind the search, 0 to 1, after each page.

    Returns:
        The page and the index of the line in it, or None.
    """
    while position < size if step > 0 else position > 0:
        if step > 0:
            chunk = await read(position, PAGE_BYTES)
        else:
            chunk = await read_span(read, max(0, position - PAGE_BYTES), position)
        if chunk is None:
            return None
        lines = split_lines(chunk.text) if wanted.in_page(chunk.text) else []
        for index in range(len(lines)) if step > 0 else range(len(lines) - 1, -1, -1):
            if wanted.in_line(lines[index]):
                return chunk, index
        after = chunk.end if step > 0 else chunk.start
        if after == position:
            return None
        position = after
        progress(position / max(1, size) if step > 0 else 1 - position / max(1, size))
    return None
