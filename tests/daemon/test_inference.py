"""Inference as a child of the engine. The program is a small one, or the real command where it has to fail."""

from __future__ import annotations

import sys

import pytest

from logbert_engine.commands.scoring import share
from logbert_engine.daemon.inference import Inferences
from logbert_engine.protocol.errors import EngineError
from logbert_engine.protocol.messages import InferenceProgress, InferSpec

SCORES = """
import json, sys, time
for done in range(0, 101, 20):
    print(json.dumps({"phase": "scoring", "done": done, "total": 100}), flush=True)
print("a library says something")
print(json.dumps({"state": "finished", "message": " ".join(sys.argv[1:])}))
"""
HANGS = """
import json, signal
print(json.dumps({"phase": "scoring", "done": 1, "total": 2}), flush=True)
signal.pause()
"""
SHOUTS = "print('x' * (3 << 20))"


@pytest.fixture
def spec(tmp_path):
    return InferSpec(
        checkpoint=str(tmp_path / "model"), inputs=["/in"], output=str(tmp_path / "results.json")
    )


def progress(follower) -> list[InferenceProgress]:
    return [other for other in follower.others if isinstance(other, InferenceProgress)]


def ended(follower) -> bool:
    return any(p.state != "running" for p in progress(follower))


async def test_progress_goes_to_the_client_that_asked(engine, follow, spec):
    engine.inferences = Inferences([sys.executable, "-c", SCORES])
    asking, other = await follow(), await follow()
    spec.threshold = -1.5
    ref = await asking.client.call("start_inference", spec)
    assert ref.output == spec.output
    await asking.until(lambda: ended(asking))
    last = progress(asking)[-1]
    assert (last.id, last.state, last.phase, last.done, last.total) == (
        ref.id,
        "finished",
        "scoring",
        100,
        100,
    )
    assert last.message == (
        f"--progress json --device auto --checkpoint={spec.checkpoint} --output={spec.output} "
        "--threshold=-1.5 --input /in"
    )
    assert other.others == []


@pytest.mark.parametrize("budget", [0.0000123, 0.005, 0.007, 0.5])
async def test_a_budget_is_passed_on_in_place_of_a_threshold(engine, follow, spec, budget):
    engine.inferences = Inferences([sys.executable, "-c", SCORES])
    follower = await follow()
    spec.alert_budget = budget
    await follower.client.call("start_inference", spec)
    await follower.until(lambda: ended(follower))
    words = progress(follower)[-1].message.split()
    (given,) = [word.removeprefix("--alert-budget=") for word in words if "--alert-budget" in word]
    assert share(given) == budget, "as the command reads it"
    assert "--adapt" not in words


async def test_adapting_is_passed_on(engine, follow, spec):
    engine.inferences = Inferences([sys.executable, "-c", SCORES])
    follower = await follow()
    spec.adapt = True
    await follower.client.call("start_inference", spec)
    await follower.until(lambda: ended(follower))
    assert progress(follower)[-1].message.endswith(" --adapt --input /in")


async def test_a_cancelled_inference_ends(engine, follow, spec):
    engine.inferences = Inferences([sys.executable, "-c", HANGS])
    follower = await follow()
    ref = await follower.client.call("start_inference", spec)
    await follower.until(lambda: any(p.phase == "scoring" for p in progress(follower)))
    with pytest.raises(EngineError, match="is running already"):
        await follower.client.call("start_inference", spec)
    await follower.client.call("cancel_inference", ref)
    await follower.until(lambda: ended(follower))
    assert (progress(follower)[-1].state, progress(follower)[-1].message) == ("failed", "cancelled")
    with pytest.raises(EngineError, match="no inference"):
        await follower.client.call("cancel_inference", ref)


async def test_output_without_end_ends_the_inference(engine, follow, spec):
    engine.inferences = Inferences([sys.executable, "-c", SHOUTS])
    follower = await follow()
    await follower.client.call("start_inference", spec)
    await follower.until(lambda: ended(follower))
    assert progress(follower)[-1].state == "failed"


async def test_the_real_command_says_in_one_sentence_why_it_failed(engine, follow, spec, shared_data):
    spec.inputs = [str(shared_data / "tiny")]
    follower = await follow()
    await follower.client.call("start_inference", spec)
    await follower.until(lambda: ended(follower))
    last = progress(follower)[-1]
    assert last.state == "failed"
    assert str(spec.checkpoint) in last.message
    assert "Traceback" not in last.message
    assert not last.message.startswith("logbert-engine")


async def test_nothing_to_infer_from_and_relative_paths_are_refused(engine, follow, spec):
    client = (await follow()).client
    for change, says in [({"inputs": []}, "session files"), ({"output": "r.json"}, "not absolute")]:
        with pytest.raises(EngineError, match=says):
            await client.call(
                "start_inference",
                InferSpec(**{**{f: getattr(spec, f) for f in spec.__struct_fields__}, **change}),
            )
