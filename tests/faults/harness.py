"""What the tests of faults share: real runs on a tiny model, faults put into them, and what must be left of them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import psutil

from logbert_engine.protocol.events import JournalEvent, Metric, RunEnded, StageStarted
from logbert_engine.protocol.results import SessionResult
from logbert_engine.protocol.runstate import RunState
from logbert_engine.rundir.journal import last_event, read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import holder

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
DEADLINE_S = 90.0
INJECT = Path(__file__).with_name("inject")
Happening = Literal[
    "device_memory",
    "cpu_memory",
    "memory_error",
    "limit_memory",
    "os_error",
    "nan",
    "infinite_gradient",
    "signal",
    "clock",
    "sleep",
]


@dataclass(frozen=True)
class Fault:
    """A function that misbehaves, in the processes that are started with ``environment``."""

    at: str
    """``module:qualified.name`` of the function, such as ``os:fsync`` or ``torch.nn:Module.__call__``."""
    does: Happening
    """Raise as a device, the CPU or Python do without memory; let the process's address space grow by ``amount`` MB
    at most; raise ``OSError(error)``; make the (first) result NaN; make a gradient of the model that is the first
    argument infinite; send the process ``signal``; set its clock by ``amount`` seconds; sleep ``amount`` seconds,
    0: for ever."""
    marks: Path
    """An empty folder for this fault alone, where a file is made each time that it happens."""
    call: int = 1
    """From which call of the function in a process on."""
    step: int = 0
    """From how many optimizer steps done in the process on."""
    when: str = ""
    """A Python expression over ``args``, ``kwargs``, ``calls`` and ``steps`` that has to hold as well."""
    times: int = 1
    """How often it happens, in all processes together: one that is started again counts on. 0: every time, untold."""
    rank: int | None = 0
    """In which rank; 0 is also a process that is none; None: in any."""
    process: str = ""
    """A regular expression that the process's command line has to match."""
    after: bool = False
    """Whether the function does its work first."""
    error: str = "EIO"
    signal: str = "SIGKILL"
    amount: float = 0.0

    def happened(self) -> list[int]:
        """The processes in which it happened, in order; a mark counts when it has been written whole."""
        marks = sorted(self.marks.iterdir(), key=lambda mark: int(mark.name))
        return [int(text.split()[0]) for text in (mark.read_text() for mark in marks) if text.endswith("\n")]


def environment(*faults: Fault, **more: str) -> dict[str, str]:
    """The environment of a process that has these faults, and its children."""
    for fault in faults:
        fault.marks.mkdir(parents=True, exist_ok=True)
    specs = [{**asdict(fault), "marks": str(fault.marks)} for fault in faults]
    path = os.pathsep.join(filter(None, [str(INJECT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "LOGBERT_TEST_FAULT": json.dumps(specs), **more}


# Commands and runs


def command(*words: str | Path) -> list[str]:
    """The words that run a command of the engine."""
    return [sys.executable, "-m", "logbert_engine", *map(str, words)]


def engine(
    *words: str | Path, env: Mapping[str, str] | None = None, timeout: float = DEADLINE_S
) -> subprocess.CompletedProcess[str]:
    """Carry out a command of the engine, as a person does, and wait for its end."""
    return subprocess.run(
        command(*words), capture_output=True, text=True, check=False, env=env, timeout=timeout
    )


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on standard error of a command that was refused."""
    assert done.returncode not in (0, None), done.stdout
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("logbert-engine: ")
    return lines[0].removeprefix("logbert-engine: ")


def write_sessions(folder: Path, sessions: int = 60, day: str = "2025-01-01") -> Path:
    """A daily file of short sessions in a directory, which is returned for ``--data``."""
    folder.mkdir(parents=True, exist_ok=True)
    records = [{"session_id": f"{day}/{i}", "event_sequence": [1, 2, 3 + i % 7, 4]} for i in range(sessions)]
    (folder / f"preprocessed_logs_{day}.json").write_text(json.dumps(records))
    return folder


def train_words(data: Path, run_dir: Path, *more: str) -> list[str | Path]:
    """``train`` on a tiny model (preset ``demo``, one stage of one epoch unless ``more`` says otherwise)."""
    small = ["--preset", "demo", "--max-ratio", "0.34", "--epochs-per-stage", "1"]
    return ["train", "--data", data, "--run-dir", run_dir, *small, *more]


def start(run: RunLayout, data: Path, *more: str, env: Mapping[str, str] | None = None) -> None:
    """Start a run in the background and wait until it trains."""
    done = engine(*train_words(data, run.root, *more), env=env)
    assert done.returncode == 0, done.stderr
    eventually(lambda: trains(run), "it trains")


def trains(run: RunLayout) -> bool:
    """Whether the latest attempt has got as far as its first figures."""
    return isinstance(last_event(run.journal), Metric)


def ended(run: RunLayout) -> RunEnded | None:
    """How the latest attempt ended, once it has and is gone."""
    last = last_event(run.journal)
    return last if isinstance(last, RunEnded) and holder(run) is None else None


# Waiting


def eventually(condition: Callable[[], object], what: str, within_s: float = DEADLINE_S) -> float:
    """Wait until something outside this process has come about; returns the seconds that it took."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() < begin + within_s, f"not within {within_s:g} s: {what}"
        time.sleep(0.01)
    return time.monotonic() - begin


async def in_time(answer: Awaitable[T], within_s: float = 20.0) -> T:
    """An answer of the engine that must come: nothing that is asked may keep it waiting."""
    return await asyncio.wait_for(answer, within_s)


# What is left


def processes_of(run: RunLayout) -> list[psutil.Process]:
    """Every process that belongs to a run: named after its directory, or in a session of one that is, or a
    descendant of one. Not this process, nor those above it."""
    us = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
    directory = str(run.root.resolve())
    found: dict[int, psutil.Process] = {}
    sessions: set[int] = set()
    everyone = [p for p in psutil.process_iter(["cmdline"]) if p.pid not in us]
    for process in everyone:
        if any(
            word == directory or word.startswith(f"{directory}/") for word in process.info["cmdline"] or []
        ):
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                found[process.pid] = process
                sessions.add(os.getsid(process.pid))
                found.update((child.pid, child) for child in process.children(recursive=True))
    sessions.discard(os.getsid(0))
    for process in everyone:
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getsid(process.pid) in sessions:
                found[process.pid] = process
    return [process for process in found.values() if is_alive(process)]


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def none_left(run: RunLayout, known: Iterable[psutil.Process] = (), within_s: float = 5.0) -> None:
    """Assert that no process of a run is left, nor one of those that were known to be."""
    known = list(known)

    def left() -> list[psutil.Process]:
        return [*processes_of(run), *(process for process in known if is_alive(process))]

    eventually(lambda: not left(), f"no process of {run.root} is left; there are {left()}", within_s)


def kill_all(run: RunLayout) -> None:
    """End what a test has left of a run."""
    for process in processes_of(run):
        with suppress(psutil.NoSuchProcess):
            process.kill()


# What a run came to


def result(number: int) -> SessionResult:
    """A record of a results file."""
    return SessionResult(
        session_id=number,
        anomaly_score=1.0,
        is_anomaly=False,
        threshold=2.0,
        surprisal=0.1,
        length=3,
        reason="x" * 200,
    )


def state_of(run: RunLayout) -> RunState:
    """The run as its journal tells it."""
    state = RunState()
    for event in read_journal(run.journal):
        state.apply(event)
    return state


def without_gap(events: Sequence[JournalEvent]) -> bool:
    """Whether the events count 1, 2, 3 … each once."""
    return [event.seq for event in events] == list(range(1, len(events) + 1))


def losses(run: RunLayout) -> dict[int, float | None]:
    """Optimizer step since stage 1 to loss, of those steps that count: what was trained again replaces the rest."""
    found: dict[int, float | None] = {}
    for event in read_journal(run.journal):
        if isinstance(event, StageStarted):
            found = {step: loss for step, loss in found.items() if step <= event.total_step}
        elif isinstance(event, Metric):
            found[event.total_step] = event.loss
    return found


def weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a model file, for a comparison bit by bit with ``same_bits``."""
    import torch

    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    found: dict[str, torch.Tensor] = {}

    def collect(value: Any, name: str) -> None:
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, dict):
            for key, inner in value.items():
                collect(inner, f"{name}.{key}")

    collect(content, "")
    assert found, f"{path} holds no tensors"
    return found


def same_bits(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Whether two sets of weights are the same in every bit."""
    import torch

    def bits(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.contiguous().flatten().view(torch.uint8)

    return one.keys() == other.keys() and all(
        a.dtype == b.dtype and a.shape == b.shape and torch.equal(bits(a), bits(b))
        for a, b in ((one[name], other[name]) for name in one)
    )
