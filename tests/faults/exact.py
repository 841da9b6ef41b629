"""Real runs of a very small model: started, watched, and compared bit by bit with one that nothing happened to."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from unittest import mock

import msgspec
import psutil
import pytest

from logbert_engine.protocol.events import (
    EpochEnded,
    JournalEvent,
    Metric,
    RunEnded,
    StageEnded,
    StageStarted,
)
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.rundir.checksums import recorded, sha256_of
from logbert_engine.rundir.journal import JournalReader, read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.supervision.launch import launch
from logbert_engine.training.plan import read_metrics
from logbert_engine.training.prepare import prepare
from tests.faults.harness import Fault, eventually, is_alive, same_bits, weights, without_gap

if TYPE_CHECKING:
    import torch

Key = TypeVar("Key")
Started = subprocess.Popen[bytes]
_begun: list[Started] = []
_LOOK_S = 0.0005
DEADLINE_S = 300.0
"""Generous: of the import of torch by several processes on a busy machine."""


class Size(NamedTuple):
    """How long a run is: three stages, of these sessions."""

    sessions: int
    epochs: int = 2
    nproc: int = 1


SMALL = Size(160)
"""72 optimizer steps."""
LONG = Size(2000, epochs=3)
"""About 1,400."""


def write_varied(folder: Path, sessions: int) -> Path:
    """A daily file of sessions of different lengths, hardly one like another."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(20250101)
    records = [
        {"session_id": i, "event_sequence": [draw.randint(1, 12) for _ in range(draw.randint(3, 12))]}
        for i in range(sessions)
    ]
    (folder / "preprocessed_logs_2025-01-01.json").write_text(json.dumps(records))
    return folder


def spec(data: Path, run_dir: Path, size: Size, *more: str) -> RunSpec:
    """The request for a run that saves its exact state all the time, and tells the loss of every step,
    with everything in it that is drawn or kept beside the weights."""
    values = {
        "model.hidden": 16,
        "model.layers": 1,
        "model.heads": 2,
        "model.ffn": 32,
        "model.max_length": 16,
        "model.dropout": 0.1,
        "training.batch": 8,
        "training.micro_batch": 4,
        "training.rare_as_unknown": 50,  # of twelve events, a good part
        "training.hypersphere": 0.1,
        "training.log_every": 1,
        "training.save_minutes": 0.0005,
    }
    return RunSpec(
        data=str(data),
        run_dir=str(run_dir),
        preset="demo",
        epochs_per_stage=size.epochs,
        nproc=size.nproc,
        device="cpu",
        overrides=[*(f"{name}={value}" for name, value in values.items()), *more],
    )


def new_run(factory: pytest.TempPathFactory, run: RunLayout, size: Size, *more: str) -> None:
    """Prepare a directory for a run of a size."""
    prepare(spec(sessions_of(factory, size), run.root, size, *more))


def begin(run: RunLayout, env: Mapping[str, str] | None = None) -> Started:
    """Start the run's supervisor, as the engine and the commands do; the caller waits for its end."""
    with mock.patch.dict(os.environ, env or {}):
        supervisor = launch(run)
    _begun.append(supervisor)
    return supervisor


def end_all() -> None:
    """End the supervisors that a test has left, whose workers end with them."""
    while _begun:
        supervisor = _begun.pop()
        supervisor.kill()
        supervisor.wait()


def end_of(supervisor: Started, within_s: float = DEADLINE_S) -> int:
    """The exit status of a supervisor, once it has ended."""
    return supervisor.wait(within_s)


def complete(run: RunLayout, env: Mapping[str, str] | None = None, within_s: float = DEADLINE_S) -> None:
    """Bring a run to its end."""
    status = end_of(begin(run, env), within_s)
    last = last_end(run)
    assert (status, last.state) == (0, "finished"), f"{last}\n{_said(run)}"


def _said(run: RunLayout) -> str:
    return run.worker_errors.read_text() if run.worker_errors.exists() else ""


def last_end(run: RunLayout) -> RunEnded:
    """How the latest attempt ended, by the journal's last event."""
    last = list(read_journal(run.journal))[-1:]
    assert last, f"{run.journal} is empty"
    assert isinstance(last[0], RunEnded), f"{last[0]}\n{_said(run)}"
    return last[0]


# Processes


class Team(NamedTuple):
    """The processes of a run."""

    supervisor: psutil.Process
    agent: psutil.Process | None
    """torchrun, where there are several ranks."""
    ranks: dict[int, psutil.Process]

    def all(self) -> list[psutil.Process]:
        """Each of them."""
        return [self.supervisor, *filter(None, [self.agent]), *self.ranks.values()]


def team_of(supervisor: Started, size: Size) -> Team | None:
    """The processes, once all of them are there."""
    try:
        above = psutil.Process(supervisor.pid)
        children = above.children()
        if not children:
            return None
        if size.nproc == 1:
            return Team(above, None, {0: children[0]})
        ranks = {rank: child for child in children[0].children() if (rank := _rank(child)) is not None}
        return Team(above, children[0], ranks) if len(ranks) == size.nproc else None
    except psutil.NoSuchProcess:
        return None


def whole_team(supervisor: Started, size: Size) -> Team:
    """Wait for all of the processes."""
    found: list[Team] = []

    def there() -> bool:
        team = team_of(supervisor, size)
        found[:] = [team] if team is not None else []
        return bool(found)

    eventually(there, "all processes are there")
    return found[0]


def _rank(process: psutil.Process) -> int | None:
    with suppress(psutil.Error, KeyError, ValueError, OSError):
        return int(process.environ()["RANK"])
    return None


def slow_import(folder: Path, size: Size, seconds: float = 60.0) -> Fault:
    """Torch lies on a slow disk: in the middle of its import each worker waits."""
    return Fault(
        "platform:system",  # which it calls
        "sleep",
        folder / "imports",
        when="'torch' in __import__('sys').modules",
        times=size.nproc,
        rank=None,
        process="training.worker",
        amount=seconds,
    )


def until_imports(fault: Fault, size: Size) -> None:
    """Wait until all workers are in that import."""
    eventually(lambda: len(fault.happened()) == size.nproc, "they import torch", DEADLINE_S)


def send(number: int, processes: Iterable[psutil.Process]) -> None:
    """Send a signal to processes of which some may be gone."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


# Watching


class Watch:
    """Reads the journal of a run from now on, as it grows."""

    def __init__(self, run: RunLayout) -> None:
        self._reader = JournalReader(run.journal)
        while self._reader.read():
            pass

    def until(
        self, wanted: Callable[[JournalEvent], bool], supervisor: Started, within_s: float = DEADLINE_S
    ) -> JournalEvent | None:
        """The first event that is wanted; None where the attempt ends without one."""
        waited, looked = 0.0, time.monotonic()
        while True:
            over = supervisor.poll() is not None
            for event in self._reader.read():
                if wanted(event):
                    return event
            if over:
                return None
            now = time.monotonic()
            waited, looked = waited + min(now - looked, 1.0), now  # we may have been stopped for a while
            assert waited < within_s, f"not within {within_s:g} s"
            time.sleep(_LOOK_S)

    def until_step(self, total_step: int, supervisor: Started) -> bool:
        """Wait until a step has been done; returns whether the run came to it."""

        def done(event: JournalEvent) -> bool:
            return isinstance(event, Metric | StageStarted) and event.total_step >= total_step

        return self.until(done, supervisor) is not None


def until_trains(run: RunLayout, supervisor: Started, steps: int = 3) -> None:
    """Wait until an attempt has made some steps."""
    watch = Watch(run)
    for _ in range(steps):
        assert watch.until(lambda event: isinstance(event, Metric), supervisor) is not None, _said(run)


# What a run came to


@dataclass
class Came:
    """All that a run computed. Floating point numbers are compared bit by bit: none of them is a NaN."""

    steps: dict[int, tuple[object, ...]] = field(default_factory=dict)
    """Optimizer step since stage 1 to loss, learning rate and gradient norm."""
    epochs: dict[tuple[int, int], tuple[object, ...]] = field(default_factory=dict)
    """Stage and epoch to the losses of training and validation."""
    stages: dict[int, tuple[object, ...]] = field(default_factory=dict)
    curves: dict[int, str] = field(default_factory=dict)
    """Stage to the curve in its figures, as JSON."""
    models: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)
    """File to tensors."""


def came_to(run: RunLayout) -> Came:
    """What a run has come to by its journal and its files.

    Steps and epochs that were trained twice must have come to the same bits.
    """
    found = Came()
    events = list(read_journal(run.journal))
    assert without_gap(events), f"{run.journal} does not count without a gap"
    for event in events:
        match event:
            case Metric():
                _repeats(found.steps, event.total_step, (event.loss, event.lr, event.grad_norm))
            case EpochEnded():
                figures = (event.train_loss, event.valid_loss, event.best, event.total_step)
                _repeats(found.epochs, (event.stage, event.epoch), figures)
            case StageEnded():
                assert event.stage not in found.stages, f"stage {event.stage} ended twice"
                found.stages[event.stage] = (
                    event.sessions,
                    event.steps,
                    event.best_epoch,
                    event.train_loss,
                    event.best_valid_loss,
                )
            case _:
                pass
    for stage in run.stages():
        if stage.metrics.exists():
            found.curves[stage.index] = msgspec.json.encode(read_metrics(stage).figures).decode()
        for path in [stage.best, *sorted(stage.checkpoints.glob("epoch_*.pt"))]:
            if path.exists():
                found.models[str(path.relative_to(run.root))] = weights(path)
    return found


def _repeats(found: dict[Key, tuple[object, ...]], key: Key, figures: tuple[object, ...]) -> None:
    before = found.setdefault(key, figures)
    assert before == figures, f"{key} came to {figures}, and the first time to {before}"


def assert_same(found: Came, wanted: Came) -> None:
    """Every loss and every weight is the same, to the bit."""
    for name in ("steps", "epochs", "stages", "curves"):
        one, other = getattr(found, name), getattr(wanted, name)
        assert one.keys() == other.keys(), name
        different = {key: (one[key], other[key]) for key in one if one[key] != other[key]}
        assert not different, f"{name}: {len(different)} differ, the first: {next(iter(different.items()))}"
    assert found.models.keys() == wanted.models.keys()
    for path, tensors in found.models.items():
        assert same_bits(tensors, wanted.models[path]), f"{path} holds other weights"


def goes_on_exactly(run: RunLayout) -> bool:
    """Whether each attempt that trained began with the very step that came after the last one of the one before."""
    done, exact = 0, True
    for event in read_journal(run.journal):
        if isinstance(event, StageStarted):
            exact = exact and event.total_step == done
        elif isinstance(event, Metric):
            done = event.total_step
    return exact


def is_exact(run: RunLayout) -> bool:
    """Whether the state that a resume goes on from is that after the very last step."""
    from logbert_engine.models.payload import read_payload

    last = [event for event in read_journal(run.journal) if isinstance(event, Metric)][-1]
    stage = next(stage for stage in run.stages() if stage.resume.is_file())
    return stage.index == last.stage and read_payload(stage.resume, "resume")["position"]["step"] == last.step


def assert_whole(run: RunLayout) -> None:
    """Each file under a final name is one that was written whole: it has the digest recorded for it, or parses."""
    for stage in run.stages():
        for path in stage.checkpoints.glob("[!.]*.pt"):
            assert sha256_of(path) in recorded(path), f"{path} does not verify"
        if stage.metrics.exists():
            assert sha256_of(stage.metrics) in recorded(stage.metrics, stage.checkpoints)
            read_metrics(stage)
        if stage.exported.exists():
            for path in stage.exported.iterdir():
                digests = recorded(path, stage.checkpoints) if path.name == "SHA256SUMS" else recorded(path)
                assert sha256_of(path) in digests, f"{path} does not verify"
    if run.results.exists():
        json.loads(run.results.read_bytes())


_sessions: dict[int, Path] = {}
_references: dict[tuple[object, ...], Came] = {}


def sessions_of(factory: pytest.TempPathFactory, size: Size) -> Path:
    """The session files for a size, the same for all runs of it."""
    if size.sessions not in _sessions:
        _sessions[size.sessions] = write_varied(factory.mktemp("sessions"), size.sessions)
    return _sessions[size.sessions]


def reference(factory: pytest.TempPathFactory, size: Size, *more: str, within_s: float = DEADLINE_S) -> Came:
    """What a run of a size comes to that nothing happens to; it is trained once."""
    key = (size, *more)
    if key not in _references:
        run = prepare(spec(sessions_of(factory, size), factory.mktemp("undisturbed"), size, *more))
        complete(run, within_s=within_s)
        came = came_to(run)
        assert len(came.stages) == 3
        assert set(came.steps) == set(range(1, max(came.steps) + 1)), "a loss for every step"
        _references[key] = came
    return _references[key]


def all_gone(processes: Iterable[psutil.Process], within_s: float = 5.0) -> float:
    """Assert that processes end soon; returns the seconds that it took."""
    known, begun = list(processes), time.monotonic()
    while left := [process for process in known if is_alive(process)]:
        assert time.monotonic() < begun + within_s, f"still there after {within_s:g} s: {left}"
        time.sleep(0.01)
    return time.monotonic() - begun
