"""What a client asks for: its words are never flags nor run by a shell, and nothing precious is written over."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from logbert_engine.daemon.inference import MOST_RUNNING, Inferences
from logbert_engine.protocol.client import EngineClient
from logbert_engine.protocol.errors import EngineError, PresetError
from logbert_engine.protocol.messages import InferenceRef, InferSpec, RunSpec
from logbert_engine.rundir.layout import RunLayout
from tests.faults.harness import in_time, result, write_sessions

HANGS = "import signal; signal.pause()"
TELLS = "import json, sys; print(json.dumps({'state': 'finished', 'message': json.dumps(sys.argv[1:])}))"


# Inference


@pytest.fixture
def spec(tmp_path: Path) -> InferSpec:
    data = write_sessions(tmp_path / "data")
    return InferSpec(checkpoint=str(tmp_path / "model"), inputs=[str(data)], output=str(tmp_path / "r.json"))


async def finished(follower: Any) -> str:
    await follower.until(lambda: any(getattr(other, "state", "") != "running" for other in follower.others))
    return str(follower.others[-1].message)


async def test_words_of_a_client_are_never_flags_nor_run_by_a_shell(
    engine, follow, tmp_path: Path, spec: InferSpec
) -> None:
    engine.inferences = Inferences([sys.executable, "-c", TELLS])
    mark = tmp_path / "made-by-a-shell"
    follower = await follow()
    spec.checkpoint = f"/x; touch {mark}"
    spec.inputs = [f"/$(touch {mark})", f"/`touch {mark}`", "/--allow-unknown"]
    spec.output = str(tmp_path / "--json; r.json")
    await follower.client.call("start_inference", spec)
    words = msgspec.json.decode(await finished(follower))
    assert words == [
        *("--progress", "json", "--device", "auto"),
        f"--checkpoint=/x; touch {mark}",
        f"--output={spec.output}",
        "--input",
        *spec.inputs,
    ]
    assert not mark.exists()


@pytest.mark.parametrize("precious", ["best_model.pt", "journal.ndjson", "run.yaml", "training_metrics.json"])
async def test_results_take_the_place_of_nothing_but_results(
    engine, follow, run: RunLayout, spec: InferSpec, precious: str
) -> None:
    engine.inferences = Inferences([sys.executable, "-c", TELLS])
    client = (await follow()).client
    file = run.root / precious
    file.write_text('{"precious": true}')
    link = run.root / "link.json"
    link.symlink_to(file)
    for output in (file, link, run.root, run.root / "stage" / ".." / precious):
        spec.output = str(output)
        with pytest.raises(EngineError, match="holds no results"):
            await client.call("start_inference", spec)
    assert file.read_text() == '{"precious": true}'
    earlier = run.root / "results.json"
    earlier.write_bytes(msgspec.json.encode([result(1)]))
    spec.output = str(earlier)
    await client.call("start_inference", spec)


async def test_an_output_over_an_input_is_refused_by_the_real_command(
    engine, follow, tmp_path: Path, spec: InferSpec
) -> None:
    (file,) = (tmp_path / "data").iterdir()
    before = file.read_bytes()
    follower = await follow()
    spec.output = str(file)
    with pytest.raises(EngineError, match="holds no results"):
        await follower.client.call("start_inference", spec)
    scored = file.with_name("scored.json")  # looks like results, and is named as an input
    scored.write_bytes(msgspec.json.encode([result(1)]))
    spec.inputs, spec.output = [str(scored)], str(scored)
    await follower.client.call("start_inference", spec)
    assert "would overwrite the input" in await finished(follower)
    assert (file.read_bytes(), scored.read_bytes()) == (before, msgspec.json.encode([result(1)]))


async def test_one_output_is_written_by_one_inference_however_it_is_spelt(
    engine, follow, tmp_path: Path, spec: InferSpec
) -> None:
    engine.inferences = Inferences([sys.executable, "-c", HANGS])
    (tmp_path / "way").symlink_to(tmp_path)
    client = (await follow()).client
    await client.call("start_inference", spec)
    for same in (tmp_path / "." / "r.json", tmp_path / "data" / ".." / "r.json", tmp_path / "way" / "r.json"):
        spec.output = str(same)
        with pytest.raises(EngineError, match="running already"):
            await client.call("start_inference", spec)


async def test_no_more_inferences_run_at_a_time_than_the_machine_can_bear(
    engine, follow, tmp_path: Path, spec: InferSpec
) -> None:
    engine.inferences = Inferences([sys.executable, "-c", HANGS])
    client: EngineClient = (await follow()).client
    refs = []
    for number in range(MOST_RUNNING):
        spec.output = str(tmp_path / f"{number}.json")
        refs.append(await client.call("start_inference", spec))
    spec.output = str(tmp_path / "more.json")
    with pytest.raises(EngineError, match=f"{MOST_RUNNING} inferences are running"):
        await client.call("start_inference", spec)
    await client.call("cancel_inference", InferenceRef(id=refs[0].id, output=refs[0].output))  # type: ignore[attr-defined]
    async with asyncio.timeout(20):
        while True:
            try:
                await client.call("start_inference", spec)
                break
            except EngineError:
                await asyncio.sleep(0.01)


# Runs


async def test_a_request_for_a_run_is_data_and_makes_nothing_where_it_is_refused(
    engine, follow, tmp_path: Path, workers
) -> None:
    client = (await follow()).client
    mark, run_dir = tmp_path / "made-by-a-shell", tmp_path / "new"
    data = write_sessions(tmp_path / "data")
    for change in (
        {"preset": f"test; touch {mark}"},
        {"preset": "../presets/test"},
        {"overrides": [f"model.hidden=$(touch {mark})"]},
        {"overrides": ["data.path=/etc"]},
        {"overrides": ["__class__.x=1"]},
        {"overrides": ["model.hidden=!!python/object/apply:os.system ['id']"]},
        {"overrides": ["model.hidden=" + "[" * 5000]},
        {"sample_ratio": 1e308},
        {"seed": 10**30},
        {"max_files": -(10**30)},
        {"epochs_per_stage": 10**30},
    ):
        spec = RunSpec(data=str(data), run_dir=str(run_dir), **{"preset": "test", **change})  # type: ignore[arg-type]
        for method in ("plan_run", "start_run"):
            with pytest.raises(PresetError):
                await in_time(client.call(method, spec))
    assert not mark.exists()
    assert not run_dir.exists()
    assert workers.started == []


async def test_a_plan_can_be_pasted_into_a_shell_whatever_it_holds(engine, follow, tmp_path: Path) -> None:
    mark = tmp_path / "made-by-a-shell"
    data = write_sessions(tmp_path / f"data'; touch {mark}; '$(touch {mark})")
    client = (await follow()).client
    plan = await client.call(
        "plan_run",
        RunSpec(data=str(data), run_dir=f"/-x `touch {mark}`", preset="test", overrides=["seed=3"]),
    )
    shell = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", f"printf '%s\\n' {plan.command}"), stdout=asyncio.subprocess.PIPE
    )
    words = (await shell.communicate())[0].decode().splitlines()
    assert words[:6] == ["logbert-engine", "train", "--data", str(data), "--run-dir", f"/-x `touch {mark}`"]
    assert not mark.exists()
