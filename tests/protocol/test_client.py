"""The client against servers of all kinds, on real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from logbert_engine.protocol import client as client_module
from logbert_engine.protocol.client import EngineClient, default_client_name
from logbert_engine.protocol.errors import DataError, EngineError
from logbert_engine.protocol.locations import socket_path
from logbert_engine.protocol.messages import Events, Gap, RunRef
from logbert_engine.protocol.methods import Nothing, RunList
from logbert_engine.protocol.rpc import FRAME_LIMIT

WELCOME = {
    "protocol": 1,
    "engine_version": "1",
    "engine_id": "x",
    "pid": 1,
    "started_at": 0,
    "default_run_dir": "/r",
}
Answer = Callable[[dict, asyncio.StreamWriter], Awaitable[None]]


def send(writer: asyncio.StreamWriter, **message: object) -> None:
    writer.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


@asynccontextmanager
async def server(answer: Answer, welcome: dict | None = None):
    """A server that welcomes and leaves every other request to ``answer``."""
    tasks: set[asyncio.Task] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                request = json.loads(line)
                if request["method"] == "hello":
                    send(writer, id=request["id"], result=welcome or WELCOME)
                else:
                    await answer(request, writer)
        finally:
            writer.transport.abort()

    def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(talk(reader, writer)))

    listening = await asyncio.start_unix_server(meet, socket_path())
    try:
        yield socket_path()
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def never(request: dict, writer: asyncio.StreamWriter) -> None:
    """Does not answer."""


async def test_answers_find_their_calls_in_any_order():
    waiting: list[dict] = []

    async def backwards(request: dict, writer: asyncio.StreamWriter) -> None:
        waiting.append(request)
        if len(waiting) == 3:
            for one in reversed(waiting):
                send(writer, id=one["id"], result={"message": one["params"]["run_dir"]})

    async with server(backwards) as path:
        client = await EngineClient.connect(path, "test")
        answers = await asyncio.gather(*(client.call("pause", RunRef(run_dir=n)) for n in "abc"))
        assert [a.message for a in answers] == ["a", "b", "c"]
        await client.close()


async def test_an_error_is_raised_as_the_class_of_its_kind():
    async def refuse(request: dict, writer: asyncio.StreamWriter) -> None:
        send(writer, id=request["id"], error={"code": -32000, "message": "no data there.", "kind": "data"})

    async with server(refuse) as path:
        client = await EngineClient.connect(path, "test")
        with pytest.raises(DataError, match=r"no data there\."):
            await client.call("list_runs", Nothing())
        await client.close()


async def test_an_answer_of_another_shape_is_an_engine_error():
    async def odd(request: dict, writer: asyncio.StreamWriter) -> None:
        send(writer, id=request["id"], result={"runs": [{"phase": "dancing"}]})

    async with server(odd) as path:
        client = await EngineClient.connect(path, "test")
        with pytest.raises(EngineError):
            await client.call("list_runs")
        await client.close()


async def test_nobody_there_is_one_sentence(own_folders):
    with pytest.raises(
        EngineError, match=r"^no engine answers at .*start one with `logbert-engine serve`\.$"
    ):
        await EngineClient.connect(socket_path(), "test")
    socket_path().write_text("not a socket")
    with pytest.raises(EngineError):
        await EngineClient.connect(socket_path(), "test")
    with pytest.raises(EngineError):
        await EngineClient.connect(own_folders / ("x" * 200), "test")


@pytest.mark.parametrize("protocol", [0, 2])
async def test_another_protocol_is_one_sentence(protocol):
    async with server(never, {**WELCOME, "protocol": protocol}) as path:
        with pytest.raises(EngineError, match=f"speaks protocol {protocol}, this program up to 1"):
            await EngineClient.connect(path, "test")


async def test_a_server_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(client_module, "HELLO_DEADLINE_S", 0.1)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(socket_path()))
        silent.listen()
        with pytest.raises(EngineError, match="does not answer"):
            await EngineClient.connect(socket_path(), "test")


async def test_calls_that_wait_and_later_ones_fail_when_the_engine_goes_away():
    async def leave(request: dict, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with server(leave) as path:
        client = await EngineClient.connect(path, "test")
        with pytest.raises(EngineError, match="the engine closed the connection; runs go on"):
            await client.call("list_runs")
        await asyncio.wait_for(client.closed.wait(), 5)
        with pytest.raises(EngineError, match="closed the connection"):
            await client.call("list_runs")
        assert [note async for note in client.notifications()] == []
        assert [note async for note in client.notifications()] == []
        await client.close()


@pytest.mark.parametrize("junk", [b"junk\n", b"\xff\n", b"[" * 5000 + b"\n", b"x" * (FRAME_LIMIT + 5)])
async def test_an_engine_that_sends_junk_is_left(junk):
    async def talk_nonsense(request: dict, writer: asyncio.StreamWriter) -> None:
        writer.write(junk)

    async with server(talk_nonsense) as path:
        client = await EngineClient.connect(path, "test")
        with pytest.raises(EngineError, match="the engine sent"):
            await client.call("list_runs")
        await client.close()


async def test_notifications_come_typed_and_unknown_ones_are_passed_over():
    async def tell(request: dict, writer: asyncio.StreamWriter) -> None:
        send(
            writer,
            method="events",
            params={"run_dir": "/r", "events": [{"kind": "log", "seq": 1, "level": "info", "message": "hi"}]},
        )
        send(writer, method="from_the_future", params={"x": 1})
        send(writer, method="gap", params={"run_dir": "/r", "after_seq": 1})
        send(writer, id=request["id"], result={"runs": []})

    async with server(tell) as path:
        client = await EngineClient.connect(path, "test")
        assert isinstance(await client.call("list_runs"), RunList)
        notes = client.notifications()
        first, second = await anext(notes), await anext(notes)
        assert isinstance(first, Events)
        assert first.events[0].message == "hi"
        assert second == Gap(run_dir="/r", after_seq=1)
        await client.close()
        assert [note async for note in notes] == []


async def test_a_call_that_is_given_up_disturbs_no_other():
    asked: list[dict] = []

    async def late(request: dict, writer: asyncio.StreamWriter) -> None:
        asked.append(request)
        if len(asked) == 2:
            for one in asked:
                send(writer, id=one["id"], result={"message": str(one["id"])})

    async with server(late) as path:
        client = await EngineClient.connect(path, "test")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.call("pause", RunRef(run_dir="/r"))
        answer = await client.call("pause", RunRef(run_dir="/r"))
        assert answer.message == str(asked[1]["id"])
        await client.close()


async def test_a_request_above_the_limit_is_refused_before_it_is_sent():
    async with server(never) as path:
        client = await EngineClient.connect(path, "test")
        with pytest.raises(EngineError, match="limit"):
            await client.call("pause", RunRef(run_dir="x" * FRAME_LIMIT))
        assert not client.closed.is_set()
        await client.close()


def test_the_client_has_a_name():
    user, at, host = default_client_name().partition("@")
    assert user
    assert at
    assert host
