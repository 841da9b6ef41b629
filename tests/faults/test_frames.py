"""Row 19: whatever bytes arrive, the answer is an error or the end of the connection, and the engine goes on."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from logbert_engine.daemon.server import MOST_CLIENTS
from logbert_engine.protocol.locations import socket_path
from logbert_engine.protocol.methods import METHODS
from logbert_engine.protocol.rpc import FRAME_LIMIT, INTERNAL_ERROR
from tests.faults.harness import eventually

pytestmark = [pytest.mark.row(19), pytest.mark.timeout(3600)]

Record = Callable[[str, object], None]
FAST_CASES, ALL_CASES = 1500, 100_000
MOST_GROWTH = 64 << 20
"""Bytes of resident memory over all cases: caches fill once, nothing accumulates."""
HELLO = b'{"jsonrpc":"2.0","id":"hello","method":"hello","params":{}}\n'
LAST = b'{"jsonrpc":"2.0","id":"last","method":"list_runs"}\n'
IDLE = {"tasks": 2, "clients": 0}
"""The engine's main task, and the one that sees to it that the socket is still there."""
ANSWER_S = 30.0


class Target:
    """An engine in a process of its own, and what it has open."""

    def __init__(self) -> None:
        self.path = socket_path()
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("counted_engine.py")), str(self.path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.look = psutil.Process(self.process.pid)
        self._line()

    def counts(self) -> dict[str, int]:
        """Tasks and clients now."""
        self.process.send_signal(signal.SIGUSR1)
        return self._line()

    def throw(self, content: bytes, *, hang_up: bool = False) -> list[dict[str, Any]]:
        """Send bytes on a connection of their own, then a good request; returns what is answered up to the answer
        to that, or up to the end of the connection."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(ANSWER_S)
            client.connect(str(self.path))
            try:
                client.sendall(content if hang_up else content + b"\n" + HELLO + LAST)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before all of it was taken
            if hang_up:
                return []
            answers: list[dict[str, Any]] = []
            with client.makefile("rb") as lines:
                try:
                    for line in lines:
                        answer = json.loads(line)
                        if answer.get("id") == "last":
                            break
                        if answer.get("id") != "hello":
                            answers.append(answer)
                except ConnectionResetError:
                    pass  # the end of a connection whose last bytes were not read
        return answers

    def is_well(self) -> None:
        """Assert that it answers as ever."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5.0)
            client.connect(str(self.path))
            client.sendall(HELLO + LAST)
            with client.makefile("rb") as lines:
                hello, listed = json.loads(lines.readline()), json.loads(lines.readline())
        assert hello["result"]["pid"] == self.process.pid
        assert listed["result"] == {"runs": []}

    def has_let_go_of_all(self) -> None:
        """Assert that no client, no task and no descriptor is left of those who came and went."""
        eventually(lambda: self.counts() == IDLE, f"idle: {IDLE}, not {self.counts()}", 20)
        assert self.look.num_fds() <= self._fds + 2

    def warm_up(self) -> int:
        """Have it load all that it needs for any call; returns its resident memory then."""
        for method in sorted(METHODS):
            if method not in ("shutdown", "hello"):
                self.throw(HELLO + request(method, {}))
        for _ in range(200):
            self.throw(HELLO)
        eventually(lambda: self.counts() == IDLE, "it is idle", 20)
        self._fds = self.look.num_fds()
        return int(self.look.memory_info().rss)

    def _line(self) -> dict[str, int]:
        assert self.process.stdout is not None
        found: dict[str, int] = json.loads(self.process.stdout.readline())
        return found


@pytest.fixture
def target() -> Iterator[Target]:
    one = Target()
    yield one
    assert one.process.poll() is None, one.process.communicate()
    one.process.terminate()
    _, said = one.process.communicate(timeout=20)
    assert one.process.returncode == 0
    assert "Traceback" not in said, said


def request(method: str, params: object, number: object = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n"


def reasonable(answers: list[dict[str, Any]]) -> None:
    """Assert that each is a result or a refusal in a sentence, and none an error of ours."""
    for answer in answers:
        assert ("result" in answer) != ("error" in answer) or "params" in answer, answer
        if "error" in answer:
            assert answer["error"]["code"] != INTERNAL_ERROR, answer
            assert answer["error"]["message"]
            assert "Traceback" not in answer["error"]["message"]


# Which calls with which parameters are thrown: none that ends the engine or starts a process.
_methods = sorted(set(METHODS) - {"shutdown"})
_paths = st.sampled_from(
    ["/", "/nowhere", "~", "~nobody-of-that-name", "relative", "", "/\0", "/" + "x" * 5000]
)
_huge = st.sampled_from([10**30, -(10**30), 2**63, -1, 1.5e308, 0])
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | _huge
    | _paths,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_fields = sorted({name for method in METHODS.values() for name in method.params.__struct_fields__})
_params = _json | st.dictionaries(st.sampled_from(_fields), _json | _paths, max_size=4)
_valid = st.builds(
    request, st.sampled_from(_methods), _params, st.integers() | st.text(max_size=5) | st.none()
)


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    """A good request with bytes changed, left out or doubled."""
    frame = bytearray(draw(_valid))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(frame) - 1))
        match draw(st.integers(0, 2)):
            case 0:
                frame[at] = draw(st.integers(0, 255))
            case 1:
                del frame[at : at + draw(st.integers(1, 8))]
            case 2:
                frame[at:at] = frame[at : at + draw(st.integers(1, 64))]
        if not frame:
            break
    return bytes(frame)


_odd = st.sampled_from(
    [
        b"[" * 20_000 + b"\n",
        b'{"a":' * 20_000 + b"\n",
        b'{"jsonrpc":"2.0","id":1,"method":"list_runs","params":' + b"[" * 3000 + b"]" * 3000 + b"}\n",
        b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"list_runs"}\n',
        b'{"jsonrpc":"2.0","id":1e999,"method":"list_runs"}\n',
        b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}\n',
        b'{"jsonrpc":"2.0","id":1,"method":"\xed\xa0\x80"}\n',
        b'{"jsonrpc":"2.0","id":1,"id":2,"method":"list_runs","method":"x"}\n',
        b'{"jsonrpc":"2.0","id":"' + b"i" * 100_000 + b'","method":"list_runs"}\n',
        b'{"jsonrpc":"2.0","id":1,"method":"' + b"\\u0000" * 20_000 + b'"}\n',
        b"\r\n\r\n\0\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\xff\xfe\x00\n",
    ]
)
_case = st.tuples(
    st.sampled_from([HELLO, HELLO, HELLO, b""]),
    st.lists(st.one_of(st.binary(max_size=200), _valid, _mutated(), _odd), min_size=1, max_size=3),
    st.booleans(),
)


@pytest.mark.parametrize("cases", [FAST_CASES, pytest.param(ALL_CASES, marks=pytest.mark.slow)])
def test_no_bytes_end_the_engine_or_stay_in_it(target: Target, cases: int, record_property: Record) -> None:
    before = target.warm_up()
    thrown = 0

    @settings(
        max_examples=cases,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=_case)
    def throw(case: tuple[bytes, list[bytes], bool]) -> None:
        nonlocal thrown
        greeting, frames, hang_up = case
        reasonable(target.throw(greeting + b"".join(frames), hang_up=hang_up))
        thrown += 1

    throw()
    target.is_well()
    target.has_let_go_of_all()
    grown = target.look.memory_info().rss - before
    print(f"{thrown} cases; the engine's {before >> 20} MB grew by {grown >> 20} MB")
    record_property("cases", thrown)
    assert grown < MOST_GROWTH
    assert thrown >= cases


@pytest.mark.parametrize("rounds", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_frames_above_the_limit_are_refused_and_kept_nowhere(
    target: Target, rounds: int, record_property: Record
) -> None:
    before = target.warm_up()
    for size in (FRAME_LIMIT + 1, 2 * FRAME_LIMIT, 8 * FRAME_LIMIT):
        for _ in range(rounds):
            for greeting in (b"", HELLO):
                answers = target.throw(greeting + b"x" * size)
                reasonable(answers)
                assert all("error" in answer for answer in answers)
    longest = request("list_runs", {"x": "y"})[:-1].ljust(FRAME_LIMIT - 1) + b"\n"
    (answer,) = target.throw(HELLO + longest)
    assert "unknown field" in answer["error"]["message"], "of exactly the limit: it is read"
    target.is_well()
    target.has_let_go_of_all()
    assert target.look.memory_info().rss - before < MOST_GROWTH
    record_property("oversize frames", 6 * rounds)


@pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_half_frames_and_clients_that_vanish_leave_nothing(
    target: Target, rounds: int, record_property: Record
) -> None:
    target.warm_up()
    numbers = random.Random(1)
    for _ in range(rounds):
        half_frames(target, numbers, clients=100)
    target.has_let_go_of_all()
    record_property("half frames", 100 * rounds)


def half_frames(target: Target, numbers: random.Random, clients: int) -> None:
    whole = HELLO + request("list_runs", {}) * 3
    waiting = []
    for _ in range(clients):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(target.path))
        client.sendall(whole[: numbers.randrange(1, len(whole))])
        waiting.append(client)
    eventually(lambda: target.counts()["clients"] == clients, "all are served")
    target.is_well()
    for client in waiting:
        client.close()
    eventually(lambda: target.counts()["clients"] == 0, "they are gone")


def test_more_clients_than_it_can_serve_are_told_so_and_those_who_are_served_go_on(target: Target) -> None:
    target.warm_up()
    crowd = []
    for _ in range(MOST_CLIENTS + 100):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(target.path))  # waits while more knock than the engine lets in at a time
        client.settimeout(ANSWER_S)
        crowd.append(client)
    eventually(lambda: target.counts()["clients"] == MOST_CLIENTS, "as many as there is room for are served")
    crowd[0].sendall(HELLO)
    assert b'"result"' in crowd[0].recv(1 << 20)
    assert f"serves {MOST_CLIENTS} clients" in crowd[-1].recv(1 << 20).decode()
    assert crowd[-1].recv(1 << 20) == b""
    for client in crowd:
        client.close()
    target.has_let_go_of_all()
    target.is_well()


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_field_or_an_id_that_it_does_not_know_is_refused(target: Target, method: str) -> None:
    """To do something else than was asked for would be worse than to say so. A hello alone may say more."""
    needed = {"run_dir": "/x", "path": "/x", "name": "x", "data": "/x", "checkpoint": "/x", "inputs": ["/x"]}
    needed |= {"output": "/x", "start": 0, "id": 1, "rank": 0}
    known = {name: needed[name] for name in METHODS[method].params.__struct_fields__ if name in needed}
    if method in ("estimate", "measure"):
        known = {"spec": {"data": "/x", "run_dir": "/x"}}
    if method != "hello":
        (answer,) = target.throw(HELLO + request(method, {**known, "no_such_field": 1}))
        assert "no_such_field" in answer["error"]["message"]
        assert method in answer["error"]["message"]
    (answer,) = target.throw(HELLO + request(method, known, "i" * 1000))
    assert "id" in answer["error"]["message"]
    assert "i" * 300 not in json.dumps(answer)
    assert os.path.exists(target.path)  # noqa: PTH110
    target.is_well()
