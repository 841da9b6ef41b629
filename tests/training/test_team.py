from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from logbert_engine.training.team import Place, Team

Answers = list[dict[str, Any]]

HEAD = """
import json, os, sys, torch
from logbert_engine.training.team import PeerLostError, Place, Team
team = Team(Place.from_environment(), torch.device("cpu"))
rank, answer = team.place.rank, {}
"""
TAIL = """
print(json.dumps(answer), flush=True)
team.leave()
"""


@pytest.fixture
def together() -> Callable[..., Answers]:
    """``together(n, code)``: run code in n real processes that meet over gloo; what each puts into ``answer``."""

    def run_it(count: int, code: str, **expected: int) -> Answers:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        script = HEAD + textwrap.dedent(code) + TAIL
        meeting = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "WORLD_SIZE": str(count),
            "OMP_NUM_THREADS": "1",
        }
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", script],
                env={**os.environ, **meeting, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(count)
        ]
        try:
            said = [process.communicate(timeout=120)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        for rank, process in enumerate(processes):
            assert process.returncode == expected.get(f"rank{rank}", 0), said
        return [json.loads(one) for one in said if one]

    return run_it


def test_ranks_agree_on_the_highest_word_add_up_and_hear_of_each_other(
    together: Callable[..., Answers],
) -> None:
    answers = together(
        3,
        """
        answer["agreed"] = team.agree(rank, 5 - rank, 0)
        answer["total"] = team.total(0.5 + rank)
        a, b = torch.full((2, 3), float(rank)), torch.tensor(10.0 * rank)
        team.add_up([a, b])
        answer["sums"] = [a.tolist(), float(b)]
        answer["gathered"] = [list(one) for one in team.gather(bytes(range(rank)))]
        answer["told"] = team.told(b"from 0" if rank == 0 else b"not heard").decode()
        team.wait()
        """,
    )
    expected = {
        "agreed": [2, 5, 0],
        "total": 4.5,
        "sums": [[[3.0] * 3] * 2, 30.0],
        "gathered": [[], [0], [0, 1]],
        "told": "from 0",
    }
    assert answers == [expected] * 3


def test_many_numbers_are_added_up_in_the_same_order_every_time(together: Callable[..., Answers]) -> None:
    answers = together(
        3,
        """
        import hashlib
        import logbert_engine.training.team as module
        module._BUCKET = 1000
        def once():
            generator = torch.Generator().manual_seed(rank)
            tensors = [torch.randn(n, generator=generator) for n in (3, 999, 5000, 1, 700)]
            alone = [tensor.clone() for tensor in tensors]
            team.add_up(tensors)
            data = b"".join(tensor.numpy().tobytes() for tensor in tensors)
            return hashlib.sha256(data).hexdigest(), [float(t[0]) for t in tensors], [float(t[0]) for t in alone]
        first, second = once(), once()
        answer.update(same=first == second, digest=first[0], sums=first[1], alone=first[2])
        """,
    )
    assert all(answer["same"] for answer in answers)
    assert len({answer["digest"] for answer in answers}) == 1
    for i, total in enumerate(answers[0]["sums"]):
        assert total == pytest.approx(sum(answer["alone"][i] for answer in answers), abs=1e-5)


def test_the_end_of_a_rank_is_noticed_by_the_others(together: Callable[..., Answers]) -> None:
    code = """
        team.wait()
        if rank == 1:
            os.kill(os.getpid(), 9)
        try:
            team.agree(0)
            answer["lost"] = False
        except PeerLostError:
            answer["lost"] = True
        print(json.dumps(answer), flush=True)
        os._exit(0)
        """
    assert together(2, code, rank1=-signal.SIGKILL) == [{"lost": True}]


def test_a_team_of_one_talks_to_nobody() -> None:
    team = Team(Place(), torch.device("cpu"))
    tensor = torch.arange(3.0)
    team.add_up([tensor])
    assert (team.agree(2, 0), team.total(1.5), team.gather(b"x"), team.told(b"y")) == (
        [2, 0],
        1.5,
        [b"x"],
        b"y",
    )
    assert tensor.tolist() == [0.0, 1.0, 2.0]
    assert not torch.distributed.is_initialized()
    team.wait()
    team.leave()


def test_the_place_is_what_torchrun_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert Place.from_environment() == Place()
    assert Place().leads
    for name, value in (("RANK", "3"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "4")):
        monkeypatch.setenv(name, value)
    place = Place.from_environment()
    assert place == Place(rank=3, local_rank=1, world_size=4)
    assert not place.leads
    assert not place.alone
