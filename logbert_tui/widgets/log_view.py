"""A log that grows: live tail, older pages on demand, search, warnings and errors; bounded in memory."""

from __future__ import annotations

import asyncio
import bisect
import re
from collections.abc import Awaitable, Callable, Sequence

from textual import events
from textual.message import Message

from logbert_engine.protocol.errors import LogbertError
from logbert_engine.protocol.messages import LogChunk
from logbert_tui.background import in_background
from logbert_tui.widgets.log_buffer import LogBuffer
from logbert_tui.widgets.log_line import Wanted, compile_pattern, line_row, line_width, matching, trouble
from logbert_tui.widgets.log_seek import PAGE_BYTES, Step, read_span, seek_pages
from logbert_tui.widgets.rows import RowsView, Span

Read = Callable[[int, int], Awaitable[LogChunk]]
"""Reads a log from a byte (negative: from the end), at most so many bytes."""

FIRST_BYTES = 64 * 1024
TOO_FAR_BEHIND = 1 << 20
"""Bytes. A tail that is further behind jumps to the end; the part between is read on scrolling up."""
READS_A_POLL = 8


class LogView(RowsView):
    """The lines of one log. Posts ``Changed`` when what its status tells has changed."""

    DEFAULT_CSS = """
    LogView { background: $background; }
    """

    class Changed(Message):
        """Following, the position, the matches or the problem changed."""

    def __init__(self, *, empty: str = "The log is empty so far.", id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.buffer = LogBuffer()
        self.empty = empty
        """What to say when there is no line."""
        self.follow = True
        """Whether the view stays at the end of a log that grows."""
        self.left = 0
        """Cells scrolled to the right."""
        self.pattern: re.Pattern[str] | None = None
        self.mark: int | None = None
        """The line that the last search went to."""
        self.problem = ""
        """Why the log cannot be read, one sentence."""
        self.says = ""
        """What the last search found, in words; empty when it found a line."""
        self.searched: float | None = None
        """Share of the file that a search has been through, while one runs outside of what is held."""
        self._matches: list[int] = []
        self._read: Read | None = None
        self._lock = asyncio.Lock()

    # Reading

    async def close(self) -> None:
        """Show no log."""
        await self.open(None)

    async def open(self, read: Read | None) -> None:
        """Show another log, at its end, and follow it."""
        self._read = read
        self.buffer = LogBuffer()
        self.follow, self.left, self.mark, self.says, self.problem = True, 0, None, "", ""
        self._matches = []
        self.top = 0
        self.cancel_search()
        self.repaint()
        async with self._lock:
            await self._load_end()
        self._tell()

    async def poll(self) -> None:
        """Read what was written since; does nothing while another read is on its way."""
        if self._read is None or self._lock.locked():
            return
        detached = not self.follow and (
            not self.buffer.at_end or len(self.buffer.lines) >= self.buffer.most_lines
        )
        if detached and not self.problem:
            return
        async with self._lock:
            if await self._load_new():
                self._tell()

    async def _chunk(self, start: int, most: int = PAGE_BYTES) -> LogChunk | None:
        """A page; None when it cannot be read, or another log was opened meanwhile."""
        read = self._read
        if read is None:
            return None
        try:
            chunk = await read(start, most)
        except LogbertError as error:
            if read is self._read:
                self.problem = str(error)
                self._tell()
            return None
        if read is not self._read:
            return None
        self.problem = ""
        return chunk

    async def _load_end(self) -> None:
        chunk = await self._chunk(-FIRST_BYTES)
        if chunk is None:
            return
        self._reset(chunk)
        self._to_end()

    async def _load_new(self) -> bool:
        """Append what was written; True when anything changed."""
        before = (self.problem, self.buffer.size, len(self.buffer.lines))
        for _ in range(READS_A_POLL):
            chunk = await self._chunk(self.buffer.end)
            if chunk is None:
                break
            shrunk = chunk.size < self.buffer.end
            if shrunk or (self.follow and chunk.size - chunk.end > TOO_FAR_BEHIND):
                await self._load_end()
                break
            self._append(chunk)
            if chunk.end >= chunk.size or chunk.end <= chunk.start:
                break
        if self.follow:
            self._to_end()
        else:
            self.repaint()
        return before != (self.problem, self.buffer.size, len(self.buffer.lines))

    async def _load_older(self) -> None:
        """Take in the page before what is held."""
        async with self._lock:
            stop = self.buffer.start
            start = max(0, stop - PAGE_BYTES)
            if stop <= 0:
                return
            chunk = await read_span(self._chunk, start, stop)
            if chunk is None or self.buffer.start != stop:
                return
            added = self.buffer.prepend(chunk)
            self._shift(added)
            self._find(0, added)
            self.top += added
            self.repaint()
        self._tell()

    async def _load_newer(self) -> None:
        """Take in the page after what is held, when the end of the file is not."""
        async with self._lock:
            if self.buffer.at_end:
                return
            chunk = await self._chunk(self.buffer.end)
            if chunk is not None:
                self._append(chunk)
                self.repaint()
        self._tell()

    def _reset(self, chunk: LogChunk) -> None:
        self.buffer.reset(chunk)
        self.mark, self._matches = None, []
        self._find(0, len(self.buffer.lines))

    def _append(self, chunk: LogChunk) -> None:
        known = self.buffer.finished
        dropped = self.buffer.append(chunk)
        del self._matches[bisect.bisect_left(self._matches, known) :]
        self._shift(-dropped)
        self.top = max(0, self.top - dropped)
        self._find(max(0, known - dropped), len(self.buffer.lines))

    def _shift(self, rows: int) -> None:
        """Lines were added or dropped before the others."""
        if rows and self._matches:
            self._matches = [index + rows for index in self._matches if index + rows >= 0]
        if self.mark is not None:
            self.mark = self.mark + rows if self.mark + rows >= 0 else None

    # Rows

    def row_count(self) -> int:
        """Lines held, or one that says that there is none."""
        return len(self.buffer.lines) or 1

    def row(self, index: int, width: int) -> Sequence[Span]:
        """A line behind the mark of its level, cut visibly where it goes on."""
        if not self.buffer.lines:
            return [Span("  " + (self.problem or self.empty), "bad" if self.problem else "dim")]
        return line_row(self.buffer.lines[index], self.left, width, self.pattern, now=index == self.mark)

    def highlighted(self, index: int) -> bool:
        """The line that the last search went to."""
        return index == self.mark

    def view_changed(self) -> None:
        """Fetch what lies beyond the edge that comes near."""
        if self._read is None or self._lock.locked() or not self.is_attached:
            return
        if not self.buffer.at_start and self.top < 2 * self.page:
            in_background(self, self._load_older, group="older", exclusive=False)
        elif not self.buffer.at_end and self.top > self.last_top - 2 * self.page:
            in_background(self, self._load_newer, group="newer", exclusive=False)

    # Moving

    def _to_end(self) -> None:
        self.top = self.last_top
        self.repaint()

    def _tell(self) -> None:
        if self.is_attached:
            self.post_message(self.Changed())

    def on_resize(self, event: events.Resize) -> None:
        """Stay at the end while following."""
        if self.follow:
            self.top = self.last_top
        super().on_resize(event)

    def scroll_rows_to(self, top: int) -> None:
        """Scroll; going up from the end stops following."""
        if self.follow and min(top, self.last_top) < self.top:
            self.follow = False
        super().scroll_rows_to(top if not self.follow else self.last_top)
        self._tell()

    def scroll_sideways(self, cells: int) -> None:
        """Scroll to the right, or to the left with a negative number, as far as there is text in view."""
        lines = self.buffer.lines[self.top : self.top + self.page]
        longest = max(map(line_width, lines), default=0)
        most = max(self.left, longest - self.size.width + 1)
        self.left = max(0, min(self.left + cells, most))
        self.repaint()
        self._tell()

    def set_follow(self, follow: bool) -> None:
        """Stay at the end as the log grows, or stay where the view is."""
        if follow:
            self.to_last()
        else:
            self.follow = False
            self._tell()

    def to_first(self) -> None:
        """Go to the beginning of the file."""
        self.follow = False
        if self.buffer.at_start:
            self.scroll_rows_to(0)
        else:
            in_background(self, self._jump_to_first, group="jump", exclusive=True)

    async def _jump_to_first(self) -> None:
        async with self._lock:
            chunk = await self._chunk(0)
            if chunk is not None:
                self._reset(chunk)
                self.top = 0
                self.repaint()
        self._tell()

    def to_last(self) -> None:
        """Go to the end and follow."""
        self.follow = True
        if self.buffer.at_end:
            self._to_end()
            self._tell()
        else:
            in_background(self, self._jump_to_last, group="jump", exclusive=True)

    async def _jump_to_last(self) -> None:
        async with self._lock:
            await self._load_end()
        self._tell()

    # Searching

    def counted(self) -> tuple[int, int]:
        """(place of the marked line among the matches, from 1, or 0 when it is none; matches held)."""
        at = bisect.bisect_left(self._matches, self.mark) if self.mark is not None else 0
        exact = self.mark is not None and at < len(self._matches) and self._matches[at] == self.mark
        return (at + 1 if exact else 0), len(self._matches)

    def search(self, text: str) -> None:
        """Search for a regular expression and go to the match that is nearest below the top, else above.

        Raises:
            LogbertError: not a regular expression.
        """
        self.pattern = compile_pattern(text) if text else None
        self._matches, self.mark, self.says = [], None, ""
        self._find(0, len(self.buffer.lines))
        self.repaint()
        if self.pattern is None:
            self._tell()
            return
        at = bisect.bisect_left(self._matches, self.top)
        if self._matches:
            self._go_to(self._matches[at] if at < len(self._matches) else self._matches[-1])
        else:
            self._start_seek(matching(self.pattern), -1, "match", other_way=True)

    def next_match(self, step: Step) -> None:
        """Go to the next line that matches: 1 down, -1 up."""
        if self.pattern is None:
            self.says = "Nothing is searched for: / searches."
            self._tell()
            return
        self._start_seek(matching(self.pattern), step, "match")

    def next_trouble(self, step: Step) -> None:
        """Go to the next warning or error: 1 down, -1 up."""
        self._start_seek(trouble(), step, "warning or error")

    def cancel_search(self) -> bool:
        """Stop a search that runs; False when none does."""
        running = self.searched is not None
        self.workers.cancel_group(self, "seek")
        self.searched = None
        if running:
            self.says = "The search was stopped."
            self._tell()
        return running

    def _find(self, start: int, stop: int) -> None:
        """Look for matches in lines that are new."""
        if self.pattern is None:
            return
        search, lines = self.pattern.search, self.buffer.lines
        found = [index for index in range(start, stop) if search(lines[index])]
        if found:
            at = bisect.bisect_left(self._matches, found[0])
            self._matches[at:at] = found

    def _go_to(self, index: int) -> None:
        """Mark a line and bring it into view, a third from the top when it was not."""
        self.mark, self.says = index, ""
        self.follow = False
        if not self.top <= index < self.top + self.page:
            self.scroll_rows_to(index - self.page // 3)
        self.repaint()
        self._tell()

    def _start_seek(self, wanted: Wanted, step: Step, what: str, *, other_way: bool = False) -> None:
        in_background(self, self._seek, wanted, step, what, other_way, group="seek", exclusive=True)

    async def _seek(self, wanted: Wanted, step: Step, what: str, other_way: bool) -> None:
        """Find the next line in what is held, then in the file beyond it."""
        origin = self.mark
        if origin is None or not self.top <= origin < self.top + self.page:
            origin = self.top - 1 if step > 0 else self.top + self.page
        lines = self.buffer.lines
        held = range(origin + 1, len(lines)) if step > 0 else range(min(origin, len(lines)) - 1, -1, -1)
        for index in held:
            if wanted.in_line(lines[index]):
                self._go_to(index)
                return
        try:
            async with self._lock:
                found = await self._seek_beyond(wanted, step)
                if not found and other_way:
                    found = await self._seek_beyond(wanted, 1 if step < 0 else -1)
        finally:
            self.searched = None
        if not found:
            where = "in this log" if other_way else "below" if step > 0 else "above"
            self.says = self.problem or f"No {what} {where}."
        self._tell()

    async def _seek_beyond(self, wanted: Wanted, step: Step) -> bool:
        """Read on in one direction until a line passes; hold its page then."""

        def progress(share: float) -> None:
            self.searched = share
            self._tell()

        position = self.buffer.end if step > 0 else self.buffer.start
        found = await seek_pages(self._chunk, position, self.buffer.size, wanted, step, progress)
        if found is None:
            return False
        chunk, index = found
        self._reset(chunk)
        self.top = max(0, index - self.page // 3)
        self._go_to(min(index, len(self.buffer.lines) - 1))
        return True
