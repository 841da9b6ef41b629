"""What waits to be sent to one client: bounded, so that a client that does not read costs little memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from logbert_engine.protocol.events import JournalEvent
from logbert_engine.protocol.framing import FrameTooLong, encode_frame
from logbert_engine.protocol.messages import Events, Gap
from logbert_engine.protocol.rpc import Notification

MOST_EVENTS = 1000
MOST_BYTES = 4 << 20
_BATCH = 500
"""Events of one frame at most."""


class Batch(NamedTuple):
    """Consecutive events of a run as one frame. Encoded once, whoever it goes to."""

    frame: bytes
    events: int
    last_seq: int


def batches_of(run_dir: str, events: Sequence[JournalEvent]) -> list[Batch] | None:
    """Events as frames within the limit, in order; None when a single event is above it."""
    batches: list[Batch] = []
    rest = [list(events[i : i + _BATCH]) for i in range(0, len(events), _BATCH)]
    rest.reverse()
    while rest:
        part = rest.pop()
        try:
            frame = encode_frame(Notification(method="events", params=Events(run_dir=run_dir, events=part)))
        except FrameTooLong:
            if len(part) == 1:
                return None
            half = len(part) // 2
            rest += [part[half:], part[:half]]
        else:
            batches.append(Batch(frame, len(part), part[-1].seq))
    return batches


@dataclass
class _Entry:
    frame: bytes
    run_dir: str = ""
    last_seq: int = 0
    counted: int = 0
    """Live events in it. Replies and replays are bounded by the request, so they are not counted."""
    key: str = ""


class Outbox:
    """Frames in the order in which they go out."""

    def __init__(self) -> None:
        self._entries: deque[_Entry] = deque()
        self._latest: dict[str, _Entry] = {}
        self._sent: dict[str, int] = {}
        self._live_events = 0
        self._live_bytes = 0
        self.bytes = 0
        """Bytes of everything that waits."""

    def reply(self, frame: bytes) -> None:
        """An answer; never dropped."""
        self._put(_Entry(frame))

    def latest(self, key: str, frame: bytes) -> None:
        """A figure of which only the latest counts: it takes the place of the one that still waits."""
        waiting = self._latest.get(key)
        if waiting is None:
            self._put(_Entry(frame, key=key))
        else:
            self.bytes += len(frame) - len(waiting.frame)
            waiting.frame = frame

    def follow(self, run_dir: str, seq: int) -> None:
        """A subscription begins after ``seq``; what waits of an earlier one is void."""
        self.forget(run_dir)
        self._sent[run_dir] = seq

    def replay(self, run_dir: str, batches: Sequence[Batch]) -> None:
        """Events that a client missed and has asked for."""
        for batch in batches:
            self._put(_Entry(batch.frame, run_dir, batch.last_seq))

    def events(self, run_dir: str, batches: Sequence[Batch]) -> bool:
        """Live events. When too much waits already, the run's events are dropped for a ``gap``.

        Returns:
            False when that happened: the subscription is over.
        """
        if self._live_events >= MOST_EVENTS or self._live_bytes >= MOST_BYTES:
            self.gap(run_dir)
            return False
        for batch in batches:
            self._put(_Entry(batch.frame, run_dir, batch.last_seq, batch.events))
        return True

    def gap(self, run_dir: str) -> None:
        """Drop what waits of a run, and tell the client after which event."""
        after = self._sent.get(run_dir, 0)
        self.forget(run_dir)
        message = Notification(method="gap", params=Gap(run_dir=run_dir, after_seq=after))
        self._put(_Entry(encode_frame(message)))

    def forget(self, run_dir: str) -> None:
        """Drop what waits of a run."""
        kept = deque(entry for entry in self._entries if entry.run_dir != run_dir)
        for entry in self._entries:
            if entry.run_dir == run_dir:
                self._account(entry, -1)
        self._entries = kept
        self._sent.pop(run_dir, None)

    def next(self) -> bytes | None:
        """The frame to send now; None when nothing waits."""
        if not self._entries:
            return None
        entry = self._entries.popleft()
        self._account(entry, -1)
        if entry.key:
            del self._latest[entry.key]
        if entry.run_dir:
            self._sent[entry.run_dir] = entry.last_seq
        return entry.frame

    def _put(self, entry: _Entry) -> None:
        self._entries.append(entry)
        self._account(entry, 1)
        if entry.key:
            self._latest[entry.key] = entry

    def _account(self, entry: _Entry, sign: int) -> None:
        size = sign * len(entry.frame)
        self.bytes += size
        if entry.counted:
            self._live_events += sign * entry.counted
            self._live_bytes += size
