"""Estimates and measurements through the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from logbert_engine.daemon.engine import Engine
from logbert_engine.hardware.probe import probe
from logbert_engine.hardware.torch_answer import TorchAnswer, TorchDevice, keep, key_of
from logbert_engine.protocol.client import EngineClient
from logbert_engine.protocol.errors import LogbertError
from logbert_engine.protocol.estimates import EstimateQuery, Estimates, MeasureQuery, MeasureRef, Measuring
from logbert_engine.protocol.locations import socket_path
from logbert_engine.protocol.messages import RunSpec

SMALLER = ["model.hidden=32", "model.layers=1", "model.heads=2", "model.max_length=32", "training.batch=2"]
SPEC = RunSpec(data="", run_dir="", preset="test", device="cpu", overrides=SMALLER)


@pytest.fixture(autouse=True)
def torch_has_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGBERT_CACHE_DIR", str(tmp_path / "cache"))
    answer = TorchAnswer(torch="2.13.0", devices=[TorchDevice(kind="cpu", flops={"fp32": 1e11})])
    keep(key_of(probe(Path.home())), answer)


def trials() -> list[psutil.Process]:
    found = psutil.Process().children(recursive=True)
    return [child for child in found if any("training.trial" in word for word in child.cmdline())]


async def measured(client: EngineClient, seen: Callable[[Measuring], None] = lambda _said: None) -> Measuring:
    """How the measurement ended."""
    async with asyncio.timeout(60):
        async for said in client.notifications():
            if isinstance(said, Measuring):
                seen(said)
                if said.state != "running":
                    return said
    raise AssertionError("the engine left")


async def test_presets_are_estimated_with_the_settings_of_a_request(engine: Engine) -> None:
    client = await EngineClient.connect(socket_path(), "test")
    query = EstimateQuery(spec=SPEC, presets=["test", "small", "m4max-medium"])
    found: Estimates = await client.call("estimate", query)
    await client.close()
    assert [estimate.preset for estimate in found.estimates] == ["test", "small"]
    assert {estimate.memory.value > 100 for estimate in found.estimates} == {True}
    assert (
        "m4max-medium" in found.problems
    )  # a decoder has no batch of two sessions of 32 tokens and two heads


async def test_a_measurement_tells_of_its_steps_and_is_known_then(engine: Engine) -> None:
    client = await EngineClient.connect(socket_path(), "test")
    steps: list[int] = []
    ref: MeasureRef = await client.call("measure", MeasureQuery(spec=SPEC))
    end = await measured(client, lambda said: steps.append(said.step))
    found: Estimates = await client.call("estimate", EstimateQuery(spec=SPEC))
    await client.close()
    assert (end.id, end.state, end.preset) == (ref.id, "finished", "test")
    assert steps[:-1] == sorted(steps[:-1])
    assert max(steps) <= 20
    step = found.estimates[0].step_s
    assert step is not None
    assert step.origin == "measured"


async def test_one_at_a_time_and_cancelled_it_leaves_nothing(engine: Engine) -> None:
    client = await EngineClient.connect(socket_path(), "test")
    ref: MeasureRef = await client.call("measure", MeasureQuery(spec=SPEC))
    with pytest.raises(LogbertError, match="under way already"):
        await client.call("measure", MeasureQuery(spec=SPEC))
    await client.call("cancel_measure", ref)
    end = await measured(client)
    with pytest.raises(LogbertError, match="may have ended already"):
        await client.call("cancel_measure", ref)
    await client.close()
    assert (end.state, end.message) == ("failed", "cancelled.")
    assert trials() == []


async def test_the_end_of_the_engine_ends_a_measurement(engine: Engine) -> None:
    client = await EngineClient.connect(socket_path(), "test")
    await client.call("measure", MeasureQuery(spec=SPEC))
    await engine.estimating.close()
    await client.close()
    assert trials() == []


async def test_what_does_not_fit_is_refused_in_a_sentence(engine: Engine) -> None:
    client = await EngineClient.connect(socket_path(), "test")
    with pytest.raises(LogbertError, match="m4max-medium cannot be measured here: it needs mps"):
        await client.call("measure", MeasureQuery(spec=RunSpec(data="", run_dir="", preset="m4max-medium")))
    with pytest.raises(LogbertError, match="not absolute"):
        await client.call("estimate", EstimateQuery(spec=RunSpec(data="here", run_dir="", preset="test")))
    await client.close()
