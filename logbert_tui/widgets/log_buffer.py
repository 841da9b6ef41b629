"""A window on a log file: some of its lines, held in memory, growing at either end and bounded. Pure."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Literal

from logbert_engine.protocol.messages import LogChunk

MOST_LINES = 50_000
MOST_CHARACTERS = 32 << 20
_BLOCK_LINES = 2_000
"""Small additions are gathered into blocks of about this many lines; whole blocks are dropped."""

Level = Literal["", "debug", "info", "warning", "error"]

_HEAD = re.compile(
    r"^(?P<time>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?) (?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL)\b"
)
_FAULT = re.compile(
    r"^(?:Traceback \(most recent call last\)|\w*(?:\.\w+)*(?:Error|Exception)\b:?|Fatal |Killed)"
)
_LEVELS: dict[str, Level] = {
    "DEBUG": "debug",
    "INFO": "info",
    "WARNING": "warning",
    "ERROR": "error",
    "CRITICAL": "error",
}


@dataclass(frozen=True, slots=True)
class LineParts:
    """Where a line's time and level end, in characters; 0 when it has none."""

    level: Level = ""
    time_end: int = 0
    level_end: int = 0


def parse_line(line: str) -> LineParts:
    """The parts of a line as the worker writes it: ``2026-01-02 03:04:05 INFO    stage_1_10pct: message``."""
    head = _HEAD.match(line)
    if head is not None:
        return LineParts(_LEVELS[head["level"]], head.end("time"), head.end("level"))
    return LineParts("error") if _FAULT.match(line) else LineParts()


@dataclass(slots=True)
class _Block:
    start: int
    lines: int
    characters: int


class LogBuffer:
    """Lines of a file between two byte positions.

    Attributes:
        lines: The lines held, oldest first; the last may be unfinished.
        start: Byte at which the first of them begins.
        end: Byte at which the next read begins: behind the last finished line.
        size: Bytes of the file when it was last read.
    """

    def __init__(self, most_lines: int = MOST_LINES, most_characters: int = MOST_CHARACTERS) -> None:
        self.most_lines, self.most_characters = most_lines, most_characters
        self._blocks: deque[_Block] = deque()
        self._characters = 0
        self._unfinished = False
        self.lines: list[str] = []
        self.start = self.end = self.size = 0

    @property
    def finished(self) -> int:
        """How many of the lines are finished, so that they will not change."""
        return len(self.lines) - self._unfinished

    @property
    def at_start(self) -> bool:
        """Whether the file's first line is held."""
        return self.start <= 0

    @property
    def at_end(self) -> bool:
        """Whether the file's last line, as far as known, is held."""
        return self._unfinished or self.end >= self.size

    def reset(self, chunk: LogChunk) -> None:
        """Hold this part of the file and nothing else."""
        self._blocks.clear()
        self.lines, self._characters, self._unfinished = [], 0, False
        self.start = self.end = chunk.start
        self.size = chunk.size
        self.append(chunk)

    def append(self, chunk: LogChunk) -> int:
        """Take in what follows ``end``.

        Returns:
            How many lines were dropped at the beginning to make room.
        """
        self.size = chunk.size
        if self._unfinished:
            self._forget_unfinished()
        self.end = chunk.end
        head, newline, rest = chunk.text.rpartition("\n")
        self._add_block(chunk.start, split_lines(head + newline))
        if rest:
            self._unfinished = chunk.end >= chunk.size
            begin = chunk.start + _bytes(head + newline)
            if "\ufffd" in head:
                # Wrong bytes may be fewer in the file than here. Counted from the end that may happen too,
                # but gives a byte just before the line then, and a read from there gives the line.
                begin = max(chunk.start, chunk.end - _bytes(rest))
            self._add_block(begin, [rest])
            if self._unfinished:
                self.end = begin
        dropped = 0
        while len(self._blocks) > 1 and self._too_much(self._blocks[0]):
            block = self._blocks.popleft()
            dropped += block.lines
            self._characters -= block.characters
        if dropped:
            del self.lines[:dropped]
            self.start = self._blocks[0].start
        return dropped

    def prepend(self, chunk: LogChunk) -> int:
        """Take in what stands before ``start``; lines at the end go when there are too many.

        Returns:
            How many lines were added.
        """
        self.size = chunk.size
        lines = split_lines(chunk.text)
        self.start = chunk.start
        if lines:
            self._blocks.appendleft(_Block(chunk.start, len(lines), len(chunk.text)))
            self._characters += len(chunk.text)
            self.lines[:0] = lines
        while len(self._blocks) > 1 and self._too_much(self._blocks[-1]):
            block = self._blocks.pop()
            self._characters -= block.characters
            del self.lines[len(self.lines) - block.lines :]
            self.end, self._unfinished = block.start, False
        return len(lines)

    def _too_much(self, block: _Block) -> bool:
        """Whether the limits are kept only without this block, so that at least a full window stays."""
        return (
            len(self.lines) - block.lines >= self.most_lines
            or self._characters - block.characters >= self.most_characters
        )

    def _add_block(self, start: int, lines: list[str]) -> None:
        if not lines:
            return
        characters = sum(map(len, lines))
        last = self._blocks[-1] if self._blocks else None
        if last is not None and last.lines + len(lines) <= _BLOCK_LINES:
            last.lines += len(lines)
            last.characters += characters
        else:
            self._blocks.append(_Block(start, len(lines), characters))
        self._characters += characters
        self.lines.extend(lines)

    def _forget_unfinished(self) -> None:
        """The unfinished line is read again from its beginning."""
        line = self.lines.pop()
        block = self._blocks[-1]
        block.lines -= 1
        block.characters -= len(line)
        self._characters -= len(line)
        if not block.lines:
            self._blocks.pop()
        self._unfinished = False


def split_lines(text: str) -> list[str]:
    """The lines of a page, an unfinished last one included. Only newlines end a line."""
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines] if "\r" in text else lines


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
