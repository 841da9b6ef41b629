"""What clients name is data, never a command, and leads nowhere but where it may."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from logbert_engine.protocol.errors import DataError, EngineError, LogbertError, PresetError, RunError
from logbert_engine.protocol.messages import InferSpec, ReadLog, RunRef, RunSpec
from logbert_engine.protocol.methods import DataPath
from logbert_engine.protocol.results import ReadResults
from logbert_engine.rundir import registry
from logbert_engine.rundir.layout import RunLayout
from tests.faults.harness import in_time, result, write_sessions

SECRET = "xyzzy 4711"
LOG = "progressive_training_20250101_000000.log"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside all run directories."""
    path = tmp_path / "elsewhere" / LOG
    path.parent.mkdir()
    path.write_text(f"{SECRET}\n")
    return path


# Logs


async def test_no_name_of_a_log_leads_out_of_the_run_directory(
    engine, follow, run: RunLayout, secret: Path
) -> None:
    run.logs.mkdir()
    (run.logs / LOG).write_text("a line\n")
    (run.logs / LOG.replace("2025", "2026")).symlink_to(secret)
    stage = run.stage("stage_1_50pct")
    stage.root.mkdir()
    stage.logs.symlink_to(secret.parent)  # a whole folder
    (run.root / "stage_2_100pct").symlink_to(secret.parent.parent)
    client = (await follow()).client
    listed = (await client.call("list_logs", RunRef(run_dir=str(run.root)))).files
    assert [file.name for file in listed] == [f"logs/{LOG}"], "links that lead out are not even listed"
    names = [
        f"logs/{LOG.replace('2025', '2026')}",
        f"stage_1_50pct/logs/{LOG}",
        f"../elsewhere/{LOG}",
        f"logs/../../elsewhere/{LOG}",
        str(secret),
        f"logs/./{LOG}",
        f"logs//{LOG}",
        f"logs/{LOG}\0",
        "..",
        "/",
        "",
        "run.yaml",
        "journal.ndjson",
        "logs",
        "x" * 100_000,
        "logs/*.log",
    ]
    for name in names:
        with pytest.raises(RunError, match="has no log") as refused:
            await in_time(client.call("read_log", ReadLog(run_dir=str(run.root), name=name, start=0)))
        assert SECRET not in str(refused.value)


@pytest.mark.parametrize("number", [10**30, -(10**30), 2**63, -(2**63), 2**64])
async def test_huge_numbers_are_clipped_to_what_there_is(engine, follow, run: RunLayout, number: int) -> None:
    run.logs.mkdir()
    (run.logs / LOG).write_text("one\ntwo\n")
    results = run.root / "results.json"
    results.write_bytes(msgspec.json.encode([result(1)]))
    client = (await follow()).client
    chunk = await client.call(
        "read_log", ReadLog(run_dir=str(run.root), name=f"logs/{LOG}", start=number, most=number)
    )
    assert 0 <= chunk.start <= chunk.end <= chunk.size == 8
    page = await client.call("read_results", ReadResults(output=str(results), offset=number, most=number))
    assert page.total == 1


# What is no file


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "socket"])
async def test_what_is_no_file_is_refused_and_keeps_nobody_waiting(
    engine, follow, run: RunLayout, tmp_path: Path, kind: str
) -> None:
    make: dict[str, Callable[[Path], object]] = {
        "pipe": os.mkfifo,
        "folder": os.mkdir,
        "device": lambda path: path.symlink_to("/dev/zero"),
        "socket": lambda path: subprocess.run(
            [sys.executable, "-c", f"import socket; socket.socket(1).bind({str(path)!r})"], check=True
        ),
    }
    odd, data = tmp_path / "o", write_sessions(tmp_path / "data")
    make[kind](odd)
    good = run.root / "results.json"
    good.write_bytes(msgspec.json.encode([result(1)]))
    (run.root / "results.meta.json").symlink_to(odd)
    preset = tmp_path / "preset.yaml"
    preset.symlink_to(odd)
    client = (await follow()).client
    for _ in range(8):  # more than there are threads
        for path in (odd, good):
            with pytest.raises(DataError):
                await in_time(client.call("read_results", ReadResults(output=str(path))))
        with pytest.raises(DataError):
            await in_time(
                client.call("inspect_data", DataPath(path=str(odd / "x" if kind == "folder" else odd)))
            )
        with pytest.raises(RunError):
            await in_time(client.call("list_logs", RunRef(run_dir=str(odd))))
        for method in ("plan_run", "start_run"):
            spec = RunSpec(data=str(odd), run_dir=str(run.root), preset=str(preset))
            with pytest.raises(PresetError, match="not a file"):
                await in_time(client.call(method, spec))
    for name in ("journal.ndjson", "lock", "run.yaml"):
        other = RunLayout(tmp_path / f"other-{name}")
        other.root.mkdir()
        other.config.write_bytes(run.config.read_bytes())
        (other.root / name).unlink(missing_ok=True)
        (other.root / name).symlink_to(odd)
        registry.remember(other.root)
        with contextlib.suppress(LogbertError):  # some of them do without that file
            await in_time(client.call("open_run", RunRef(run_dir=str(other.root))))
        with contextlib.suppress(LogbertError):
            await in_time(
                client.call("start_run", RunSpec(data=str(data), run_dir=str(other.root), preset="test"))
            )
    assert (await in_time(client.call("list_runs"))).runs is not None


@pytest.mark.skipif(sys.platform != "linux", reason="such files are of Linux")
@pytest.mark.parametrize("path", ["/proc/kmsg", "/proc/self/mem", "/proc/kcore", "/proc/self/environ"])
async def test_files_that_the_system_makes_up_are_no_results(engine, follow, path: str) -> None:
    """Some of them have no end, and to read others waits for ever."""
    client = (await follow()).client
    for _ in range(8):
        with pytest.raises(DataError):
            await in_time(client.call("read_results", ReadResults(output=path)))
    if path != "/proc/kcore":  # which has a size, and a beginning that is no JSON
        with contextlib.suppress(DataError):  # without a size it is an empty file
            summary = await in_time(client.call("inspect_data", DataPath(path=path)))
            assert summary.peeked_sessions == 0


async def test_a_refusal_tells_nothing_of_what_a_file_holds(engine, follow, secret: Path) -> None:
    client = (await follow()).client
    for call, params in [
        ("read_results", ReadResults(output=str(secret))),
        ("inspect_data", DataPath(path=str(secret))),
        ("open_run", RunRef(run_dir=str(secret))),
    ]:
        with pytest.raises(LogbertError) as refused:
            await client.call(call, params)
        assert SECRET not in str(refused.value)
        assert "xyzzy" not in str(refused.value)


async def test_a_large_file_of_something_else_is_not_taken_apart(engine, follow, tmp_path: Path) -> None:
    """A gigabyte of small numbers would be decoded into some ten of objects."""
    path = tmp_path / "numbers.json"
    path.write_bytes(b"[" + b"1," * (20 << 20) + b"1]")
    client = (await follow()).client
    with pytest.raises(DataError, match="holds no results"):
        await asyncio.wait_for(client.call("read_results", ReadResults(output=str(path))), 2)


# Relative paths: the engine's working directory is not the client's


@pytest.mark.parametrize(
    "path", ["relative", "./x", "../x", "", ".", "x\0y", "/x\0y", "~nobody-of-that-name/x"]
)
async def test_a_path_that_the_engine_cannot_place_is_refused(
    engine, follow, run: RunLayout, path: str
) -> None:
    client = (await follow()).client
    ref = RunRef(run_dir=path)
    asked: list[tuple[str, msgspec.Struct]] = [
        *((name, ref) for name in ("open_run", "pause", "resume", "restart_stage", "stop", "list_logs")),
        ("read_log", ReadLog(run_dir=path, name=LOG, start=0)),
        ("inspect_data", DataPath(path=path)),
        ("read_results", ReadResults(output=path)),
        ("inference_options", ref),
        ("start_inference", InferSpec(checkpoint=path, inputs=["/x"], output="/x")),
        ("start_inference", InferSpec(checkpoint="/x", inputs=["/x", path], output="/x")),
        ("start_inference", InferSpec(checkpoint="/x", inputs=["/x"], output=path)),
    ]
    for name in ("start_run", "plan_run"):
        asked.append((name, RunSpec(data="/x", run_dir=path)))
        if path:
            asked.append((name, RunSpec(data=path, run_dir="/x")))
            asked.append((name, RunSpec(data="/x", run_dir="/x", preset=f"{path}.yaml")))
            asked.append((name, RunSpec(data="/x", run_dir="/x", overrides=[f"data.templates={path}"])))
    for method, params in asked:
        with pytest.raises(EngineError, match=r"not absolute|zero byte|no such user"):
            await in_time(client.call(method, params))


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="later Pythons follow such links as far as they lead")
async def test_links_that_lead_in_a_circle_are_told_in_a_sentence(engine, follow, tmp_path: Path) -> None:
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    client = (await follow()).client
    ref = RunRef(run_dir=str(circle))
    asked: list[tuple[str, msgspec.Struct]] = [
        *((name, ref) for name in ("open_run", "resume", "list_logs", "inference_options")),
        ("start_inference", InferSpec(checkpoint="/x", inputs=["/x"], output=str(circle))),
    ]
    for method, params in asked:
        with pytest.raises(EngineError, match="lead in a circle"):
            await in_time(client.call(method, params))


@pytest.mark.parametrize("name", ["./model", "../model", "."])
async def test_a_pretrained_model_is_an_id_or_a_whole_path(engine, follow, name: str) -> None:
    client = (await follow()).client
    for more in ({"pretrained": name}, {"overrides": [f"model.pretrained={name}"]}):
        with pytest.raises(EngineError, match="not absolute"):
            await client.call("plan_run", RunSpec(data="/x", run_dir="/y", **more))  # type: ignore[arg-type]


async def test_an_id_that_is_also_a_folder_where_the_engine_stands_is_asked_about(
    engine, follow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bert-base-uncased").mkdir()
    monkeypatch.chdir(tmp_path)
    client = (await follow()).client
    spec = RunSpec(data="/x", run_dir="/y", pretrained="bert-base-uncased")
    with pytest.raises(EngineError, match="is an id of the hub and also a folder"):
        await client.call("plan_run", spec)
    spec.pretrained = "bert-base-cased"
    await client.call("plan_run", spec)


def test_an_entry_of_the_registry_with_a_relative_path_is_passed_over(run: RunLayout, monkeypatch) -> None:
    (entry,) = (registry._folder()).glob("*.json")
    assert registry.known_runs() == [run.root]
    monkeypatch.chdir(run.root.parent)
    entry.write_bytes(msgspec.json.encode(registry.KnownRun(run_dir=run.root.name)))
    assert registry.known_runs() == []
