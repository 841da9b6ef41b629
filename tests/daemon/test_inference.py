"""Inference as a child of the engine. The program is a small one, or the real command where it has to fail."""

from __future__ import annotations

import asyncio
import sys

import pytest

from logbert_engine.commands.dispatch import main
from logbert_engine.commands.scoring import share
from logbert_engine.daemon.inference import Inferences
from logbert_engine.daemon.server import serving
from logbert_engine.protocol.errors import EngineError
from logbert_engine.protocol.locations import socket_path
from logbert_engine.protocol.messages import InferenceProgress, InferenceRef, InferSpec

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


async def test_who_follows_the_run_is_told_of_its_inferences_to_their_end(engine, follow, spec, run):
    engine.inferences = Inferences([sys.executable, "-c", HANGS])
    spec.checkpoint = str(run.root / "stage_1_50pct" / "checkpoints" / "best_model.pt")
    early, asking, stranger = await follow(), await follow(), await follow()
    assert (await early.subscribe(run)).inferences == []
    ref = await asking.client.call("start_inference", spec)
    await early.until(lambda: any(p.phase == "scoring" for p in progress(early)))
    await asking.client.close()
    late = await follow()
    (found,) = (await late.subscribe(run)).inferences
    assert (found.id, found.output, found.run_dir) == (ref.id, spec.output, str(run.root))
    assert (found.phase, found.done, found.total, found.state) == ("scoring", 1, 2, "running")
    await late.client.call("cancel_inference", InferenceRef(id=found.id, output=found.output))
    for one in (early, late):
        await one.until(lambda one=one: ended(one))
        assert progress(one)[-1].message == "cancelled"
    assert (await late.subscribe(run)).inferences == []
    assert progress(stranger) == []


async def test_an_inference_of_another_run_is_none_of_a_followers_business(engine, follow, spec, run):
    engine.inferences = Inferences([sys.executable, "-c", HANGS])
    follower = await follow()
    await follower.client.call("start_inference", spec)
    assert (await follower.subscribe(run)).inferences == []


async def test_the_engine_is_not_stopped_while_it_scores_unless_by_force(follow, spec, capsys):
    async with serving(socket_path()) as engine:
        engine.inferences = Inferences([sys.executable, "-c", HANGS])
        client = (await follow()).client
        await client.call("start_inference", spec)
        assert await asyncio.to_thread(main, ["stop"]) == 1
        said = capsys.readouterr()
        assert said.err == (
            f"logbert-engine: the engine is scoring into {spec.output}, and that would be lost; "
            "wait for its end, or give --force to end it too (training goes on).\n"
        )
        assert not engine.stopping.is_set()
        stop = asyncio.create_task(asyncio.to_thread(main, ["stop", "--force"]))
        async with asyncio.timeout(30):
            await engine.stopping.wait()
    assert await stop == 0
    assert capsys.readouterr().out.endswith(
        f" has stopped; training goes on, what was scored into {spec.output} is lost\n"
    )


def test_force_is_for_the_engine_alone(tmp_path, capsys):
    assert main(["stop", str(tmp_path), "--force"]) == 1
    assert "--force is for stopping the engine" in capsys.readouterr().err
