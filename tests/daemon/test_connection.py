"""What a client may send, how slowly it may read, and what that does to the others: nothing."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logbert_engine.daemon.methods import HANDLERS
from logbert_engine.daemon.server import serving
from logbert_engine.protocol.client import EngineClient
from logbert_engine.protocol.errors import EngineError
from logbert_engine.protocol.events import Log
from logbert_engine.protocol.locations import socket_path
from logbert_engine.protocol.messages import Events, Gap, ReadLog
from logbert_engine.protocol.methods import METHODS
from logbert_engine.protocol.rpc import (
    FRAME_LIMIT,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    REFUSED,
)
from logbert_engine.rundir.journal import JournalWriter, read_journal

HELLO = b'{"jsonrpc":"2.0","id":0,"method":"hello","params":{}}\n'


def test_every_call_of_the_protocol_has_a_handler():
    assert set(HANDLERS) == set(METHODS) - {"hello"}


async def talk(*lines: bytes, answers: int) -> list[dict]:
    """Send lines on a connection of their own, and read as many answers."""
    reader, writer = await asyncio.open_unix_connection(socket_path(), limit=4 * FRAME_LIMIT)
    try:
        writer.writelines(lines)
        async with asyncio.timeout(20):
            return [json.loads(await reader.readline()) for _ in range(answers)]
    finally:
        writer.close()
        await writer.wait_closed()


def call(method: str, params: object = None, number: int = 1) -> bytes:
    request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params or {}}
    return json.dumps(request).encode() + b"\n"


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        (b"this is not JSON\n", PARSE_ERROR, "not JSON"),
        (b'{"jsonrpc":"2.0",\n', PARSE_ERROR, "not JSON"),
        (b'{"jsonrpc":"2.0","id":1,"method":"\xff\xfe"}\n', PARSE_ERROR, "UTF-8"),
        (b"[" * 100_000 + b"]" * 100_000 + b"\n", INVALID_REQUEST, "not a valid message"),
        (
            b'{"jsonrpc":"2.0","method":"x","params":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
            PARSE_ERROR,
            "deep",
        ),
        (b'{"jsonrpc":"1.0","id":1,"method":"hello"}\n', INVALID_REQUEST, "jsonrpc"),
        (b"[]\n", INVALID_REQUEST, "object"),
        (b"null\n", INVALID_REQUEST, "object"),
        (b'{"jsonrpc":"2.0","id":{},"method":"hello"}\n', INVALID_REQUEST, "id"),
        (b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"newest":"x"}}\n', INVALID_PARAMS, "newest"),
        (b'{"jsonrpc":"2.0","id":1,"method":"list_runs"}\n', INVALID_REQUEST, "hello first"),
    ],
)
async def test_a_bad_line_gets_an_error_and_the_connection_goes_on(engine, line, code, says):
    refused, welcomed = await talk(line, HELLO, answers=2)
    assert refused["error"]["code"] == code
    assert says in refused["error"]["message"]
    assert len(refused["error"]["message"]) < 400
    assert welcomed["result"]["protocol"] == 1


async def test_a_line_above_the_limit_gets_an_error_and_the_end_of_the_connection(engine, follow):
    reader, writer = await asyncio.open_unix_connection(socket_path())
    writer.write(HELLO + b"x" * (FRAME_LIMIT + 10))
    await reader.readline()
    refused = json.loads(await reader.readline())
    assert str(FRAME_LIMIT) in refused["error"]["message"]
    assert await reader.read() == b""
    writer.close()
    await follow()  # the engine goes on


async def test_a_line_of_exactly_the_limit_is_taken(engine):
    line = HELLO[:-1].ljust(FRAME_LIMIT - 1) + b"\n"
    (welcomed,) = await talk(line, answers=1)
    assert welcomed["result"]["protocol"] == 1


async def test_half_a_line_and_the_end_of_a_client_disturb_nobody(engine, follow):
    _, writer = await asyncio.open_unix_connection(socket_path())
    writer.write(HELLO[:20])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await (await follow()).client.call("list_runs")


async def test_unknown_methods_and_wrong_parameters_are_named(engine):
    _, unknown, wrong, missing = await talk(
        HELLO,
        call("dance"),
        call("subscribe", {"run_dir": 3}),
        call("read_log", {"run_dir": "/"}),
        answers=4,
    )
    assert unknown["error"]["code"] == METHOD_NOT_FOUND
    assert "'dance'" in unknown["error"]["message"]
    assert wrong["error"]["code"] == INVALID_PARAMS
    assert "run_dir" in wrong["error"]["message"]
    assert missing["error"]["code"] == INVALID_PARAMS


async def test_a_refusal_carries_its_kind_and_no_traceback(engine):
    _, refused = await talk(HELLO, call("subscribe", {"run_dir": "/nowhere"}), answers=2)
    assert refused["error"]["code"] == REFUSED
    assert refused["error"]["kind"] == "run"
    assert "Traceback" not in refused["error"]["message"]


async def test_another_protocol_gets_one_clear_sentence_and_the_end(engine):
    reader, writer = await asyncio.open_unix_connection(socket_path())
    writer.write(call("hello", {"oldest": 7, "newest": 9}))
    answer = json.loads(await reader.readline())
    assert "speaks protocol 1, this console 7 to 9" in answer["error"]["message"]
    assert answer["error"]["kind"] == "engine"
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_a_newer_console_that_still_speaks_our_protocol_is_welcome(engine):
    (welcomed,) = await talk(call("hello", {"oldest": 1, "newest": 9}), answers=1)
    assert welcomed["result"]["protocol"] == 1


async def test_an_internal_error_is_logged_and_told_without_its_insides(engine, follow, monkeypatch, caplog):
    async def broken(*_: object) -> msgspec.Struct:
        raise ZeroDivisionError("secret")

    monkeypatch.setitem(HANDLERS, "list_runs", broken)
    client = (await follow()).client
    with pytest.raises(Exception, match="the engine failed on list_runs") as refused:
        await client.call("list_runs")
    assert "secret" not in str(refused.value)
    assert "secret" in caplog.text
    await client.call("list_presets")


async def test_many_requests_at_once_are_all_answered(engine):
    answers = await talk(HELLO, *(call("list_runs", number=i) for i in range(200)), answers=201)
    assert {answer["id"] for answer in answers} == set(range(200))


def chatter(run, count: int) -> None:
    with JournalWriter(run.journal) as journal:
        for i in range(count):
            journal.append(Log(level="info", message=f"{i} " + "x" * 500))


def silent_client(run) -> socket.socket:
    """A client that subscribes and then does not read."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(socket_path()))
    client.sendall(HELLO + call("subscribe", {"run_dir": str(run.root)}))
    return client


def subscribed(engine, count: int) -> Callable[[], bool]:
    return lambda: sum(bool(c.followed) for c in engine.connections) == count


async def test_a_slow_client_gets_a_gap_and_the_others_do_not_lag(engine, follow, run, loop_until):
    slow = silent_client(run)
    fast = await follow()
    await fast.subscribe(run)
    await loop_until(subscribed(engine, 2))
    for round_ in range(8):
        await asyncio.to_thread(chatter, run, 1000)
        await fast.until(lambda r=round_: fast.state.seq == 1000 * (r + 1))
    assert fast.gaps() == []
    assert fast.events == list(read_journal(run.journal))

    def read_all() -> tuple[list[int], Gap]:
        seqs: list[int] = []
        for line in slow.makefile("rb"):
            message = json.loads(line)
            if message.get("method") == "events":
                events = msgspec.convert(message["params"], Events).events
                seqs += [event.seq for event in events]
            elif message.get("method") == "gap":
                return seqs, msgspec.convert(message["params"], Gap)
        raise AssertionError("the connection ended without a gap")

    seqs, gap = await asyncio.wait_for(asyncio.to_thread(read_all), 20)
    assert seqs == list(range(1, len(seqs) + 1))
    assert gap.after_seq == len(seqs) < 8000
    slow.close()


async def test_a_client_that_does_not_read_at_all_is_dropped(run, workers, follow, loop_until):
    async with serving(socket_path(), launcher=workers.launcher(), patience_s=0.3) as engine:
        slow = silent_client(run)
        fast = await follow()
        await fast.subscribe(run)
        await loop_until(subscribed(engine, 2))
        for round_ in range(6):
            await asyncio.to_thread(chatter, run, 500)
            await fast.until(lambda r=round_: fast.state.seq == 500 * (r + 1))
        await loop_until(lambda: len(engine.connections) == 1)
        await fast.client.call("list_runs")
        slow.close()


async def test_a_client_that_asks_and_never_reads_does_not_fill_the_memory(run, workers, loop_until):
    run.logs.mkdir()
    (run.logs / "progressive_training_20250101_000000.log").write_text("line of the log\n" * 20_000)
    params = msgspec.to_builtins(
        ReadLog(run_dir=str(run.root), name="logs/progressive_training_20250101_000000.log", start=0)
    )
    async with serving(socket_path(), launcher=workers.launcher(), patience_s=1.0) as engine:
        _, writer = await asyncio.open_unix_connection(socket_path(), limit=1024)
        writer.write(HELLO + call("read_log", params) * 2000)
        await loop_until(lambda: engine.connections)
        (connection,) = engine.connections
        waiting: list[int] = []

        def gone() -> bool:
            waiting.append(connection.outbox.bytes)
            return not engine.connections

        await loop_until(gone)
        assert 1 << 20 < max(waiting) < 16 << 20, "8 MiB and what was being worked on"
        writer.transport.abort()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.one_of(st.binary(max_size=300), st.text(max_size=100).map(str.encode)), max_size=8))
def test_no_bytes_end_the_engine(run, workers, lines):
    async def throw() -> None:
        async with serving(socket_path(), launcher=workers.launcher()):
            for greeting in (b"", HELLO):
                reader, writer = await asyncio.open_unix_connection(socket_path())
                writer.write(greeting + b"\n".join(lines) + b"\n")
                writer.write_eof()
                await asyncio.wait_for(reader.read(), 20)
                writer.close()
            client = await EngineClient.connect(socket_path(), "after")
            await client.call("list_runs")
            await client.close()

    asyncio.run(throw())


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(sorted(set(METHODS) - {"shutdown", "start_inference", "start_run"})),
    params=_json | st.fixed_dictionaries({"run_dir": st.text(max_size=30)}),
)
def test_no_parameters_end_the_engine(run, workers, method, params):
    async def ask() -> None:
        async with serving(socket_path(), launcher=workers.launcher()):
            _, answer = await talk(HELLO, call(method, params), answers=2)
            assert ("result" in answer) != ("error" in answer)
            assert answer.get("error", {}).get("code") != -32603, answer

    asyncio.run(ask())


async def test_the_client_raises_what_the_engine_refused(engine, follow):
    client = (await follow()).client
    with pytest.raises(EngineError, match="not absolute"):
        await client.call("inspect_data", METHODS["inspect_data"].params("data"))
