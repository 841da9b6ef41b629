"""One run as the engine sees it: folded from its journal, told to subscribers, its worker watched."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from logbert_engine.daemon.outbox import batches_of
from logbert_engine.protocol.errors import LogbertError
from logbert_engine.protocol.events import JournalEvent
from logbert_engine.protocol.messages import RunInfo, Subscribed
from logbert_engine.protocol.rpc import FRAME_LIMIT
from logbert_engine.protocol.runstate import RunState
from logbert_engine.rundir.aftermath import record_death, words_or_why_not
from logbert_engine.rundir.condition import lost_history
from logbert_engine.rundir.journal import JournalReader
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import holder
from logbert_engine.rundir.processes import ProcessIdentity
from logbert_engine.training.plan import resume_words

if TYPE_CHECKING:
    from logbert_engine.daemon.connection import Connection

T = TypeVar("T")
LOOK_EVERY_S = 0.05
PROBE_EVERY_S = 1.0
"""How often the lock of a run is tried whose worker is not our child."""
KEPT_EVENTS = 5000
KEPT_BYTES = 8 << 20
"""Events that a client may have missed and still be sent one by one; for more it gets a snapshot."""
_CHUNK = 256 * 1024
_REPLAY_BYTES = 256 * 1024
"""Of missed events that are made ready for a client at a time: what it does not read costs nothing."""
_BETWEEN_CHUNKS_S = 0.02
"""After a burst in the journal: a client that reads at its best can then keep up."""
_SNAPSHOT_LIMIT = FRAME_LIMIT - 4096
"""Leaves room for the envelope."""
_logger = logging.getLogger(__name__)
_watchers = ThreadPoolExecutor(8, thread_name_prefix="watch")
"""Threads of their own: journals are read on time however long other clients' calls keep the other ones."""


async def _looked(look: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_watchers, look)


class Child(NamedTuple):
    """A worker that this engine started."""

    process: subprocess.Popen[bytes]
    after_seq: int
    """The journal's last ``seq`` at its start."""


class _Stamp(NamedTuple):
    """Differs when a journal has changed."""

    inode: int
    size: int
    changed_ns: int


class _News(NamedTuple):
    events: list[JournalEvent]
    bytes: int
    """What they take in the journal."""
    restarted: bool
    """The journal is another one: it was removed, replaced or cut."""
    more: bool


class _Recent:
    """The last events, as many as may be sent again: bounded in number and in bytes."""

    def __init__(self) -> None:
        self._events: deque[tuple[JournalEvent, float]] = deque()
        self._bytes = 0.0

    def extend(self, events: list[JournalEvent], size: int) -> None:
        """Take in events that are as many bytes in the journal."""
        each = size / max(1, len(events))
        self._events.extend((event, each) for event in events)
        self._bytes += each * len(events)
        while self._events and (self._bytes > KEPT_BYTES or len(self._events) > KEPT_EVENTS):
            self._bytes -= self._events.popleft()[1]

    def first_seq(self) -> int:
        """The oldest that is kept; 0 where none is."""
        return self._events[0][0].seq if self._events else 0

    def after(self, seq: int) -> list[JournalEvent]:
        """The first ones of a higher number; none where some of those are not kept any more."""
        if self.first_seq() > seq + 1:
            return []
        found: list[JournalEvent] = []
        size = 0.0
        for event, each in self._events:
            if event.seq > seq:
                found.append(event)
                size += each
                if size >= _REPLAY_BYTES:
                    break
        return found

    def clear(self) -> None:
        """Forget them."""
        self._events.clear()
        self._bytes = 0.0


class Run:
    """A run directory that is open in this engine. Lives on the event loop; reads files in threads."""

    def __init__(self, layout: RunLayout) -> None:
        self.layout = layout
        self.run_dir = str(layout.root)
        self.state = RunState()
        self.child: Child | None = None
        self.holder: ProcessIdentity | None = None
        """Who held the run's lock when it was last tried."""
        self.steering = asyncio.Lock()
        """Held while a worker is being started."""
        self.used_at = time.monotonic()
        self._recent = _Recent()
        self._subscribers: dict[Connection, int] = {}
        self._reader = JournalReader(layout.journal)
        self._stamp: _Stamp | None = None
        self._probed = float("-inf")
        self._looking = asyncio.Lock()
        self._follower: asyncio.Task[None] | None = None
        self._complaint = ""

    @property
    def watched(self) -> bool:
        """Whether the journal is tailed: somebody works on the run, or somebody looks at it."""
        return self.child is not None or self.state.active or bool(self._subscribers)

    @property
    def worker_pid(self) -> int | None:
        """The worker's process, where there is one on this machine."""
        if self.child is not None:
            return self.child.process.pid
        if self.state.active and self.holder is not None:
            return self.holder.pid or None
        return None

    def info(self) -> RunInfo:
        """The run as a row of the list."""
        info = info_of(self.run_dir, self.state)
        if self.child is not None and not self.state.active:
            info.phase = "preparing"  # its worker has not come as far as opening the run
        return info

    async def load(self) -> None:
        """Take in the journal as it stands. Called once, before anything else sees the run."""
        await asyncio.to_thread(self._load)
        await self.look()

    async def look(self) -> None:
        """Read what is new in the journal, tell the subscribers, and see whether the worker is alive.

        Raises:
            OSError, LogbertError: the run directory cannot be read, or the end of a worker not be written.
        """
        async with self._looking:
            child = self.child
            status = None if child is None else child.process.poll()
            await self._read()
            if child is not None:
                if status is not None:
                    self.child = None
                    await self._bury(status, child.after_seq)
            elif self.state.active and time.monotonic() - self._probed >= PROBE_EVERY_S:
                self.holder = await _looked(lambda: holder(self.layout))
                if self.holder is None:
                    await self._read()
                    if self.state.active:
                        await self._bury(None, 0)
                self._probed = time.monotonic()

    def watch(self) -> None:
        """Tail the journal from now on, for as long as the run is ``watched``."""
        if self._follower is None or self._follower.done():
            self._follower = asyncio.create_task(self._follow(), name=f"follow {self.run_dir}")

    async def close(self) -> None:
        """Stop tailing. The worker goes on."""
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.wait([self._follower])

    def subscribe(self, client: Connection, since_seq: int) -> Subscribed:
        """Tell a client what happens from now on, after a snapshot or the events that it missed.

        Must be answered without giving way to the event loop: the snapshot is the living state.
        """
        oldest = self._recent.first_seq() or self.state.seq + 1
        replays = 0 < since_seq <= self.state.seq and oldest <= since_seq + 1
        start = since_seq if replays else self.state.seq
        self._subscribers[client] = start
        client.outbox.follow(self.run_dir, start)
        client.followed.pop(self.run_dir, None)
        client.followed[self.run_dir] = self
        self.watch()
        if replays:
            # After the answer, which is queued when this call returns.
            asyncio.get_running_loop().call_soon(self.catch_up, client)
            return Subscribed(run_dir=self.run_dir, seq=start)
        return Subscribed(run_dir=self.run_dir, seq=start, snapshot=_fitting(self.state))

    def unsubscribe(self, client: Connection) -> None:
        """Tell a client no more."""
        self._subscribers.pop(client, None)
        client.followed.pop(self.run_dir, None)
        client.outbox.forget(self.run_dir)

    async def _follow(self) -> None:
        while self.watched:
            try:
                await self.look()
                self._complaint = ""
            except (OSError, LogbertError) as error:
                if str(error) != self._complaint:
                    self._complaint = str(error)
                    _logger.warning("%s: %s", self.run_dir, error)
                await asyncio.sleep(PROBE_EVERY_S)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _bury(self, status: int | None, after_seq: int) -> None:
        """Journal the end of a worker that is gone, unless it did so itself."""
        signal = -status if status is not None and status < 0 else None
        code = status if status is not None and status >= 0 else None

        def write() -> bool:
            words = words_or_why_not(self.layout, resume_words)
            return record_death(
                self.layout, exit_code=code, signal=signal, resumes=words, after_seq=after_seq
            )

        if await asyncio.to_thread(write):
            _logger.warning("%s: the worker is gone (exit status %s, signal %s)", self.run_dir, code, signal)
        await self._read()

    async def _read(self) -> None:
        more = True
        while more:
            news = await _looked(self._news)
            if news.restarted:
                self._restart()
            self._take(news)
            more = news.more
            if more and self._subscribers:
                await asyncio.sleep(_BETWEEN_CHUNKS_S)

    def _news(self) -> _News:
        """In a thread: what the journal holds beyond the last look. One ``stat`` when nothing is new."""
        try:
            found = self.layout.journal.stat()
            stamp = _Stamp(found.st_ino, found.st_size, found.st_mtime_ns)
        except FileNotFoundError:
            stamp = None
        if stamp == self._stamp:
            return _News([], 0, restarted=False, more=False)
        before, self._stamp = self._stamp, stamp
        restarted = before is not None and (
            stamp is None or stamp.inode != before.inode or stamp.size < self._reader.offset
        )
        if restarted:
            self._reader = JournalReader(self.layout.journal)
        offset = self._reader.offset
        events = self._reader.read(_CHUNK)
        more = stamp is not None and offset < self._reader.offset < stamp.size
        if more:
            self._stamp = before if before is not None and not restarted else None
        return _News(events, self._reader.offset - offset, restarted, more)

    def _load(self) -> None:
        news = self._news()
        while news.events or news.more:
            for event in news.events:
                self.state.apply(event)
            self._recent.extend(news.events, news.bytes)
            news = self._news()
        self.state.reason = self.state.reason or lost_history(self.layout, self.state)

    def _take(self, news: _News) -> None:
        events = news.events
        if not events:
            return
        seen = self.state.seq
        for event in events:
            self.state.apply(event)
        self._recent.extend(events, news.bytes)
        if not self._subscribers:
            return
        batches = batches_of(self.run_dir, events)
        for client, position in list(self._subscribers.items()):
            if position < seen:
                client.wake()  # it is still catching up
            elif batches is not None and client.outbox.events(self.run_dir, batches):
                self._subscribers[client] = events[-1].seq
            else:
                self._lose(client, told=batches is not None)
            client.wake()

    def catch_up(self, client: Connection) -> bool:
        """Send a client the next of the events that it has missed, a few at a time, as fast as it reads.

        Returns:
            Whether there was something to send.
        """
        position = self._subscribers.get(client)
        if position is None or position >= self.state.seq:
            return False
        events = self._recent.after(position)
        batches = batches_of(self.run_dir, events) if events else None
        if batches is None:
            self._lose(client, told=False)  # it was so slow that they are not kept any more
        else:
            client.outbox.replay(self.run_dir, batches)
            self._subscribers[client] = events[-1].seq
        client.wake()
        return True

    def _lose(self, client: Connection, *, told: bool) -> None:
        """End a subscription with a gap: the client asks again, and gets a snapshot."""
        if not told:
            client.outbox.gap(self.run_dir)
        self._subscribers.pop(client, None)
        client.followed.pop(self.run_dir, None)

    def _restart(self) -> None:
        self.state = RunState()
        self._recent.clear()
        for client in list(self._subscribers):
            self._lose(client, told=False)
            client.wake()


def info_of(run_dir: str, state: RunState) -> RunInfo:
    """A row of the list of runs."""
    losses = [stage.best_valid_loss for stage in state.stages if stage.best_valid_loss is not None]
    return RunInfo(
        run_dir=run_dir,
        phase=state.phase,
        preset=state.preset,
        stage=state.stage,
        stages=len(state.stages),
        started_at=state.started_at,
        updated_at=state.updated_at,
        best_valid_loss=min(losses, default=None),
        reason=state.reason,
    )


def _fitting(state: RunState) -> RunState:
    """The state, without its oldest log lines where it would not fit in a frame."""
    while len(msgspec.json.encode(state)) > _SNAPSHOT_LIMIT and state.logs:
        state = msgspec.structs.replace(state, logs=state.logs[(len(state.logs) + 1) // 2 :])
    return state
