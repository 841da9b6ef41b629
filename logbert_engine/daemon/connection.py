"""One client: its requests in, answers and notifications out, each at its own pace."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from logbert_engine import __version__
from logbert_engine.daemon.methods import HANDLERS
from logbert_engine.daemon.outbox import Outbox
from logbert_engine.protocol import messages as m
from logbert_engine.protocol import rpc
from logbert_engine.protocol.errors import LogbertError
from logbert_engine.protocol.framing import BadFrame, FrameTooLong, decode_frame, encode_frame, read_frame
from logbert_engine.protocol.methods import METHODS

if TYPE_CHECKING:
    from logbert_engine.daemon.engine import Engine
    from logbert_engine.daemon.run import Run

T = TypeVar("T")
MOST_AT_ONCE = 16
"""Requests of one client that are worked on at the same time; further ones stay in the socket."""
MOST_WAITING_BYTES = 8 << 20
"""A client that does not take its answers is not asked for more requests."""
_FLUSH_S = 1.0
_SEND_BUFFER = 64 * 1024
LONGEST_ID = 256
"""Characters of a request's id: it comes back in the answer, which has to fit in a frame."""
_SHOWN = 80
"""Characters of a client's words that are repeated in a refusal."""
_requests = msgspec.json.Decoder(rpc.Request)


def _exact(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The same type, refusing fields that it does not have.

    A newer console may ask for something that this engine does not know; to train something else than was
    asked for would be worse than to say so.
    """
    return msgspec.defstruct(kind.__name__, (), bases=(kind,), kw_only=True, forbid_unknown_fields=True)


_params = {
    # A newer console says more in its hello, and is told there which versions are spoken.
    name: msgspec.json.Decoder(method.params if name == "hello" else _exact(method.params))
    for name, method in METHODS.items()
}
_logger = logging.getLogger(__name__)


class _Stalled(Exception):
    """The client has not read anything for too long."""


class Connection:
    """A client of the engine."""

    def __init__(self, engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.name = ""
        """Who it is, from its ``hello``."""
        self.outbox = Outbox()
        self.followed: dict[str, Run] = {}
        """The runs that it is subscribed to, the latest last."""
        self._engine = engine
        self._reader = reader
        self._writer = writer
        self._greeted = False
        self._leaving = False
        self._waits = asyncio.Event()
        self._room = asyncio.Event()
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)
        self._working = asyncio.Lock()
        writer.transport.set_write_buffer_limits(high=_SEND_BUFFER)

    async def serve(self) -> None:
        """Talk with the client until one side leaves."""
        sending = asyncio.create_task(self._send())
        receiving = asyncio.create_task(self._receive())
        try:
            done, _ = await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            if receiving in done and not sending.done():
                await asyncio.wait({sending}, timeout=_FLUSH_S)
        finally:
            self._leaving = True
            for task in (sending, receiving):
                task.cancel()
            await asyncio.wait({sending, receiving})
            for run in list(self.followed.values()):
                run.unsubscribe(self)
            errors = [e for t in (sending, receiving) if not t.cancelled() and (e := t.exception())]
            await self._hang_up(politely=not errors)
        for error in errors:
            self._say_why(error)

    async def fetch(self, work: Callable[[], T]) -> T:
        """Do something that mostly waits for a disk, in a thread: one of a client at a time."""
        async with self._working:
            return await asyncio.to_thread(work)

    async def think(self, work: Callable[[], T]) -> T:
        """Do something that takes a processor a while, in a thread: one of a client, and few of all, at a time.

        Threads that compute share one interpreter with the event loop, so that many of them would hold up
        everybody's events, and a client with many wishes everybody else's.
        """
        async with self._working, self._engine.thinking:
            return await asyncio.to_thread(work)

    def leave(self) -> None:
        """Send what waits, then end the connection."""
        self._leaving = True
        self.wake()

    def wake(self) -> None:
        """Something was put into the outbox."""
        self._waits.set()

    def notify(self, method: str, params: msgspec.Struct, key: str) -> None:
        """Send a notification of which only the latest with the same key counts."""
        if not self._leaving:
            self.outbox.latest(key, encode_frame(rpc.Notification(method=method, params=params)))
            self.wake()

    async def _hang_up(self, *, politely: bool) -> None:
        """Close the socket. What the transport still holds goes out first, where the client takes it."""
        if politely:
            self._writer.close()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(_FLUSH_S):
                    await self._writer.wait_closed()
        self._writer.transport.abort()

    def _say_why(self, error: BaseException) -> None:
        if isinstance(error, _Stalled):
            _logger.warning("client %s was dropped: it has not read for a while", self.name or "?")
        elif not isinstance(error, OSError):
            _logger.error("client %s was dropped", self.name or "?", exc_info=error)

    # Out

    async def _send(self) -> None:
        while True:
            self._waits.clear()
            while (frame := self.outbox.next()) is not None:
                self._writer.write(frame)
                if self.outbox.bytes < MOST_WAITING_BYTES:
                    self._room.set()
                await self._drained()
            self._room.set()
            if self._leaving:
                return
            if not any(run.catch_up(self) for run in list(self.followed.values())):
                await self._waits.wait()

    async def _drained(self) -> None:
        """Wait until the client has taken most of what was written; it may be slow, but has to move."""
        transport = self._writer.transport
        left = transport.get_write_buffer_size()
        while True:
            try:
                async with asyncio.timeout(self._engine.patience_s):
                    await self._writer.drain()
                    return
            except TimeoutError:
                still = transport.get_write_buffer_size()
                if still >= left:
                    raise _Stalled from None
                left = still

    def _reply(
        self, number: int | str | None, result: Any = None, error: rpc.ErrorBody | None = None
    ) -> None:
        if self._leaving:
            return
        try:
            frame = encode_frame(rpc.Response(id=number, result=result, error=error))
        except FrameTooLong:
            body = rpc.ErrorBody(
                code=rpc.REFUSED, message="the answer is too long for one message.", kind="engine"
            )
            frame = encode_frame(rpc.Response(id=number, error=body))
        self.outbox.reply(frame)
        self.wake()

    def _refuse(self, number: int | str | None, code: int, message: str, kind: str = "engine") -> None:
        self._reply(number, error=rpc.ErrorBody(code=code, message=message, kind=kind))

    # In

    async def _receive(self) -> None:
        while not self._leaving:
            if self.outbox.bytes >= MOST_WAITING_BYTES:
                self._room.clear()
                await self._room.wait()
            try:
                async with asyncio.timeout(None if self._greeted else self._engine.patience_s):
                    line = await read_frame(self._reader)
                if line is None:
                    break
                request = decode_frame(line, _requests)
            except FrameTooLong as error:
                self._refuse(None, rpc.INVALID_REQUEST, str(error))
                break
            except TimeoutError:
                self._refuse(None, rpc.INVALID_REQUEST, "nobody said hello.")
                break
            except BadFrame as error:
                self._refuse(None, error.code, str(error))
                continue
            if isinstance(request.id, str) and len(request.id) > LONGEST_ID:
                message = f"the id of a request has at most {LONGEST_ID} characters."
                self._refuse(None, rpc.INVALID_REQUEST, message)
            elif request.method == "hello":
                self._hello(request)
            elif not self._greeted:
                self._refuse(request.id, rpc.INVALID_REQUEST, "say hello first.")
            else:
                await self._slots.acquire()
                self._engine.spawn(self._answer(request))
        self.leave()

    def _hello(self, request: rpc.Request) -> None:
        try:
            hello = decode_frame(request.params, _params["hello"])
        except BadFrame as error:
            self._refuse(request.id, rpc.INVALID_PARAMS, str(error))
            return
        assert isinstance(hello, m.Hello)
        if hello.newest < m.OLDEST_PROTOCOL or hello.oldest > m.PROTOCOL:
            self._refuse(
                request.id,
                rpc.REFUSED,
                f"the engine {__version__} speaks protocol {_span(m.OLDEST_PROTOCOL, m.PROTOCOL)}, "
                f"this console {_span(hello.oldest, hello.newest)}; install the same version of both, "
                "then restart the engine with `logbert-engine stop` (training goes on).",
            )
            self.leave()
            return
        self._greeted, self.name = True, hello.client
        self._reply(request.id, self._engine.welcome(min(hello.newest, m.PROTOCOL)))

    async def _answer(self, request: rpc.Request) -> None:
        try:
            handler = HANDLERS.get(request.method)
            if handler is None:
                message = f"the engine {__version__} has no method {request.method[:_SHOWN]!r}."
                self._refuse(request.id, rpc.METHOD_NOT_FOUND, message)
                return
            try:
                params = decode_frame(request.params, _params[request.method])
            except BadFrame as error:
                self._refuse(request.id, rpc.INVALID_PARAMS, f"{request.method}: {error}")
                return
            # No step of the event loop lies between a handler's return and the reply being queued:
            # a snapshot is encoded as it was when the subscription began.
            result = await handler(self._engine, self, params)
            if request.id is not None:
                self._reply(request.id, result)
        except LogbertError as error:
            self._refuse(request.id, rpc.REFUSED, str(error), error.kind)
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            self._refuse(request.id, rpc.REFUSED, f"{place}{error.strerror or error}.", "storage")
        except Exception:
            _logger.exception("%s failed", request.method)
            message = f"the engine failed on {request.method}; its log says why. Other requests still work."
            self._refuse(request.id, rpc.INTERNAL_ERROR, message)
        finally:
            self._slots.release()


def _span(oldest: int, newest: int) -> str:
    return str(newest) if oldest == newest else f"{oldest} to {newest}"
