"""The client's end of a connection to the engine."""

from __future__ import annotations

import asyncio
import getpass
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import msgspec

from logbert_engine.protocol.errors import EngineError, EngineSilent, error_of_kind
from logbert_engine.protocol.framing import BadFrame, FrameTooLong, decode_frame, encode_frame, read_frame
from logbert_engine.protocol.messages import OLDEST_PROTOCOL, PROTOCOL, Hello, Welcome
from logbert_engine.protocol.methods import METHODS, NOTIFICATIONS, Nothing
from logbert_engine.protocol.rpc import FRAME_LIMIT, ErrorBody, Request

HELLO_DEADLINE_S = 10.0
MOST_WAITING = 10_000
"""Notifications kept for a caller who does not read them. Beyond, the engine has to wait, and sends a gap."""


class _Incoming(msgspec.Struct):
    """Anything the engine says: an answer has ``id``, a notification ``method``."""

    id: int | str | None = None
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw(b"{}")
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: ErrorBody | None = None


_incoming = msgspec.json.Decoder(_Incoming)
_results = {name: msgspec.json.Decoder(method.result) for name, method in METHODS.items()}
_notifications = {name: msgspec.json.Decoder(kind) for name, kind in NOTIFICATIONS.items()}


def default_client_name() -> str:
    """Who calls, as other consoles see it: ``ana@laptop``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, as in containers
        user = "user"
    return f"{user}@{socket.gethostname()}"


class EngineClient:
    """A connection on which ``hello`` has been said. Made by ``connect``.

    Calls may overlap. Whoever subscribes reads ``notifications`` in a task of its own.
    """

    def __init__(self, path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.path = path
        self.closed = asyncio.Event()
        """Set when the connection has ended, for whatever reason."""
        self.welcome: Welcome
        self._reader = reader
        self._writer = writer
        self._last_id = 0
        self._calls: dict[int | str, tuple[str, asyncio.Future[msgspec.Struct]]] = {}
        self._waiting: asyncio.Queue[msgspec.Struct | None] = asyncio.Queue(MOST_WAITING)
        self._end = ""
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def connect(cls, path: Path, client: str) -> EngineClient:
        """Connect and say hello.

        Args:
            path: the engine's socket.
            client: who calls, such as ``default_client_name()``.

        Raises:
            EngineSilent: what listens there does not answer.
            EngineError: no engine listens there, or it speaks another protocol.
        """
        try:
            reader, writer = await asyncio.open_unix_connection(path, limit=FRAME_LIMIT)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise EngineError(
                f"no engine answers at {path}; start one with `logbert-engine serve`."
            ) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise EngineError(f"cannot connect to the engine at {path}: {reason}.") from error
        self = cls(path, reader, writer)
        try:
            async with asyncio.timeout(HELLO_DEADLINE_S):
                welcome = await self.call("hello", Hello(client=client))
        except TimeoutError as error:
            pid = _peer_pid(writer.get_extra_info("socket"))
            await self.close()
            raise EngineSilent(
                f"the engine at {path}{f', process {pid},' if pid else ''} does not answer: it hangs or was stopped; "
                f"end it{f' with `kill -9 {pid}`' if pid else ''} (training goes on) and try again.",
                pid,
            ) from error
        except BaseException:
            await self.close()
            raise
        assert isinstance(welcome, Welcome)
        if not OLDEST_PROTOCOL <= welcome.protocol <= PROTOCOL:
            await self.close()
            raise EngineError(
                f"the engine {welcome.engine_version} speaks protocol {welcome.protocol}, "
                f"this program up to {PROTOCOL}; install the same version of both."
            )
        self.welcome = welcome
        return self

    async def call(self, method: str, params: msgspec.Struct | None = None) -> msgspec.Struct:
        """Ask the engine for something and wait for its answer.

        Args:
            method: a name in ``protocol.methods.METHODS``.
            params: of the type that the table gives; None for calls without parameters.

        Returns:
            The answer, of the type that the table gives.

        Raises:
            LogbertError: the engine refused; the class is the one that it had there.
            EngineError: the connection ended before the answer came, or the request is too long.
        """
        if self.closed.is_set():
            raise self._lost()
        self._last_id += 1
        number = self._last_id
        raw = msgspec.Raw(msgspec.json.encode(params if params is not None else Nothing()))
        frame = encode_frame(Request(jsonrpc="2.0", method=method, id=number, params=raw))
        answer: asyncio.Future[msgspec.Struct] = asyncio.get_running_loop().create_future()
        self._calls[number] = (method, answer)
        try:
            self._writer.write(frame)
            try:
                await self._writer.drain()
            except OSError as error:
                raise self._lost() from error
            return await answer
        finally:
            self._calls.pop(number, None)
            if answer.done() and not answer.cancelled():
                answer.exception()  # looked at, so that nothing is reported as forgotten

    async def notifications(self) -> AsyncIterator[msgspec.Struct]:
        """What the engine says unasked: ``Events``, ``Gap``, ``Resources``, ``InferenceProgress``.

        For one reader at a time. Ends when the connection does.
        """
        while (notification := await self._waiting.get()) is not None:
            yield notification
        with suppress(asyncio.QueueFull):
            self._waiting.put_nowait(None)  # for a later reader of a connection that has ended

    async def close(self) -> None:
        """End the connection. Calls that wait are refused with ``EngineError``."""
        self._end = self._end or "this program closed the connection"
        self._listener.cancel()
        await asyncio.wait([self._listener])
        self._ended()  # a task that was cancelled before it began never got there
        with suppress(OSError):
            await self._writer.wait_closed()

    async def _listen(self) -> None:
        try:
            while (line := await read_frame(self._reader)) is not None:
                await self._take(decode_frame(line, _incoming))
        except (FrameTooLong, BadFrame) as error:
            self._end = f"the engine sent {error}"
        except OSError as error:
            self._end = f"the connection to the engine broke: {error.strerror or error}"
        finally:
            self._ended()

    async def _take(self, message: _Incoming) -> None:
        if message.method is not None:
            decoder = _notifications.get(message.method)
            if decoder is not None:  # a newer engine may say more than this program knows
                await self._waiting.put(decode_frame(message.params, decoder))
            return
        if message.id is None:
            if message.error is not None:
                self._end = message.error.message.removesuffix(".")
            return
        method, answer = self._calls.get(message.id, ("", None))
        if answer is None or answer.done():
            return  # the caller gave up waiting
        if message.error is not None:
            answer.set_exception(error_of_kind(message.error.kind, message.error.message))
            return
        try:
            answer.set_result(decode_frame(message.result, _results[method]))
        except BadFrame as error:
            answer.set_exception(error)

    def _ended(self) -> None:
        if self.closed.is_set():
            return
        self.closed.set()
        self._writer.close()
        for _, answer in self._calls.values():
            if not answer.done():
                answer.set_exception(self._lost())
        if self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait(None)

    def _lost(self) -> EngineError:
        end = self._end or "the engine closed the connection"
        return EngineError(f"{end}; runs go on without it, start it again with `logbert-engine serve`.")


def _peer_pid(peer: socket.socket) -> int:
    """The process that listens at the other end, as the kernel tells it; 0 where it does not."""
    try:
        if sys.platform == "darwin":
            local_level, local_peerpid = 0, 2
            return peer.getsockopt(local_level, local_peerpid)
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError:
        return 0
    return int(struct.unpack("3i", credentials)[0])  # struct ucred: pid, uid, gid
