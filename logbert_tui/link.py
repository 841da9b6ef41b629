"""The console's end of the connection: calls, the run that is followed, and coming back after a loss."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from logbert_engine.protocol import messages as m
from logbert_engine.protocol.client import EngineClient, default_client_name
from logbert_engine.protocol.errors import EngineError, LogbertError
from logbert_engine.protocol.estimates import Measuring
from logbert_tui.state import ConsoleState

CONTROL_METHODS = frozenset(
    (
        "start_run",
        "pause",
        "resume",
        "restart_stage",
        "stop",
        "start_inference",
        "cancel_inference",
        "measure",
        "cancel_measure",
        "shutdown",
    )
)
"""Calls that change something, refused by a read-only console."""
FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 5.0


class EngineLink:
    """Owns the connection to the engine and feeds ``ConsoleState``.

    Args:
        state: What to feed.
        socket: The engine's socket; None for the user's own engine, started when it is not there.
    """

    def __init__(self, state: ConsoleState, socket: Path | None = None) -> None:
        self.state = state
        self._socket = socket
        self._client: EngineClient | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._held: list[m.Events | m.InferenceProgress] | None = None
        """News of runs that come in while a subscription is being answered."""
        self._subscribing = asyncio.Lock()
        self._resubscribe: asyncio.Task[None] | None = None
        self.on_connected: Callable[[], Awaitable[None]] | None = None
        """Called after each connection, once the run that is followed is subscribed to again."""

    @property
    def is_local(self) -> bool:
        """Whether this is the user's own engine on this machine, so that paths mean the same on both sides."""
        return self._socket is None

    # Lifetime

    def start(self) -> None:
        """Connect, and stay connected, in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._stay_connected(), name="engine link")

    async def close(self) -> None:
        """Let go of the engine; runs go on."""
        tasks = [task for task in (self._task, self._resubscribe) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = None
        await self._drop()

    async def connected(self, timeout_s: float = 15.0) -> None:
        """Wait for the connection.

        Raises:
            EngineError: none within the time, with the reason of the last attempt.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        except TimeoutError as error:
            problem = self.state.connection_problem or f"no answer within {timeout_s:.0f} s"
            raise EngineError(problem) from error

    # Calls

    async def call(self, method: str, params: msgspec.Struct | None = None) -> Any:
        """Ask the engine. Waits for the connection when it is being made.

        Returns:
            The struct that ``protocol.methods.METHODS`` names as the result.

        Raises:
            LogbertError: the engine refused, is not there, or the console is read-only.
        """
        if self.state.read_only and method in CONTROL_METHODS:
            raise EngineError(
                "This console is read-only: start logbert-tui without --read-only to steer runs."
            )
        await self.connected()
        client = self._client
        if client is None:
            raise EngineError("The engine is not connected; the console is trying again.")
        return await client.call(method, params)

    async def follow(self, run_dir: str) -> None:
        """Turn to a run and receive its events from where they are known; a new run starts with a snapshot.

        Raises:
            LogbertError: there is no such run, or the engine is not there.
        """
        await self.connected()
        before = self.state.run_dir
        if before and before != run_dir and self._client is not None:
            await self._client.call("unsubscribe", m.RunRef(run_dir=before))
        await self._subscribe(run_dir)

    async def _subscribe(self, run_dir: str, *, whole: bool = False) -> None:
        """Subscribe, holding events back until the answer is taken in, so that none is applied too early."""
        async with self._subscribing:
            client = self._client
            if client is None:
                raise EngineError("The engine is not connected; the console is trying again.")
            same = run_dir == self.state.run_dir and not whole
            self._held = []
            try:
                since = self.state.seq if same else 0
                request = m.Subscribe(run_dir=run_dir, since_seq=since)
                answer: Any = await client.call("subscribe", request)
                self.state.follow(answer.run_dir)
                self.state.subscribed(answer)
                held = self._held
            finally:
                self._held = None
        for note in held:
            self._take(note)

    # Connection

    async def _stay_connected(self) -> None:
        wait = FIRST_WAIT_S
        while True:
            try:
                await self._connect()
            except (LogbertError, OSError) as error:
                self.state.disconnected(str(error))
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT_S)
                continue
            wait = FIRST_WAIT_S
            problem = "The engine went away; runs go on, and the console is connecting again."
            try:
                await self._receive()
            except (LogbertError, OSError) as error:
                problem = str(error)
            self._ready.clear()
            await self._drop()
            self.state.disconnected(problem)
            await asyncio.sleep(wait)

    async def _connect(self) -> None:
        from logbert_engine.protocol.starting import ensure_engine

        path = self._socket if self._socket is not None else await ensure_engine()
        client = await EngineClient.connect(path, default_client_name())
        self._client = client
        if self.state.run_dir:
            try:
                await self._subscribe(self.state.run_dir)
            except EngineError:
                await self._drop()
                raise
            except LogbertError as error:  # the run is gone: that is no reason to stay away
                self.state.notice(str(error), "error")
        self.state.connected(client.welcome)
        self._ready.set()

    async def _receive(self) -> None:
        client = self._client
        if client is None:
            return
        greeting: asyncio.Future[None] | None = None
        if self.on_connected is not None:
            greeting = asyncio.ensure_future(self.on_connected())
        try:
            async for note in client.notifications():
                self._take(note)
        finally:
            if greeting is not None:
                greeting.cancel()
                await asyncio.gather(greeting, return_exceptions=True)

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    # Notifications

    def _take(self, note: msgspec.Struct) -> None:
        match note:
            case m.Events() | m.InferenceProgress() if self._held is not None:
                self._held.append(note)
            case m.Events():
                self._events(note)
            case m.Gap():
                if note.run_dir == self.state.run_dir:
                    self._catch_up()
            case m.Resources():
                self.state.set_resources(note)
            case m.InferenceProgress():
                self.state.set_inference(note)
            case Measuring():
                self.state.set_measuring(note)
            case _:
                pass  # a later engine may say more than this console knows

    def _events(self, note: m.Events) -> None:
        if not self.state.apply(note.run_dir, note.events):
            self._catch_up()

    def _catch_up(self) -> None:
        """Ask for the whole run again, once, after events were missed."""
        if self._resubscribe is None or self._resubscribe.done():
            self._resubscribe = asyncio.create_task(self._snapshot(), name="snapshot")

    async def _snapshot(self) -> None:
        try:
            await self._subscribe(self.state.run_dir, whole=True)
        except LogbertError as error:
            self.state.notice(str(error), "error")
