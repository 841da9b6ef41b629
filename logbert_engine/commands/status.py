"""``logbert-engine status``: whether the engine runs, and how the known runs stand."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from logbert_engine.protocol.expectation import Figure

if TYPE_CHECKING:
    from logbert_engine.protocol.messages import Welcome


class EngineStatus(msgspec.Struct, kw_only=True):
    """The engine, where one is there."""

    pid: int
    socket: str
    answers: bool
    """Else it hangs or was stopped, and only its process is known."""
    version: str = ""
    started_at: float | None = None


class RunStatus(msgspec.Struct, kw_only=True):
    """A run, read from its directory."""

    run_dir: str
    phase: str
    phase_words: str
    """The same, with the first words of the reason where a pause was not asked for: ``paused: disk full``."""
    preset: str
    stage: int
    stages: int
    step: int
    steps: int
    """Optimizer steps of the stage, done and in all."""
    loss: float | None
    best_valid_loss: float | None
    sessions_per_s: float | None
    """None when nobody trains."""
    events_per_s: float | None
    worker_pid: int | None
    """The run's supervisor; a signal to it reaches all of the run's processes. None when nobody is at work."""
    reason: str
    attempt: int
    processes: int
    """Those that train together."""
    device: str
    micro_batch: int
    """Sessions on a device at once; 0 before the first stage."""
    batch: int
    """Sessions that an optimizer step of the stage sees; 0 before the data has been read."""
    memory: str
    """``micro_batch`` in words, with the reason where memory ran short."""
    health: str
    """``rising``, ``stalling`` or empty: what is to be noticed about the loss."""
    health_message: str
    resumes: str
    """In words, where this attempt picked up, or where a resume would."""
    seconds: float
    """Training time so far."""
    stage_left_s: float | None
    """From the measured rate; None when nobody trains, or nothing has been measured."""
    run_left_s: float | None
    expected_s: Figure | None
    """Training time of the whole run, as it was estimated; None in runs of before it was."""
    peak_memory_mb: float | None
    """Where it trains: of a GPU with memory of its own there, else of the process."""
    memory_budget_mb: float | None
    expected_memory_mb: Figure | None


class Status(msgspec.Struct, kw_only=True):
    """What ``--json`` prints."""

    engine: EngineStatus | None
    runs: list[RunStatus]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "run_dirs",
        type=Path,
        nargs="*",
        metavar="RUN_DIR",
        help="tell all about these runs; default: a line a run",
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the engine and the runs, the latest first; or just the runs that are named, with all about them."""
    from logbert_engine.protocol.errors import LogbertError
    from logbert_engine.protocol.locations import resolved_path
    from logbert_engine.rundir.registry import known_runs

    runs: list[RunStatus] = []
    failed = False
    named = arguments.run_dirs
    for path in named or known_runs():
        try:
            runs.append(_run_status(resolved_path(path, "the run directory")))
        except LogbertError as error:  # one damaged run must not hide the others
            failed = True
            print(f"logbert-engine: {error}", file=sys.stderr)
    found = Status(engine=_engine_status(quiet=bool(named)), runs=runs)
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        if not named:
            print(_engine_line(found.engine))
        for status in runs:
            print("\n".join([_run_line(status, brief=not named), *(_detail_lines(status) if named else [])]))
    return 1 if failed else 0


def _engine_status(*, quiet: bool) -> EngineStatus | None:
    import asyncio

    from logbert_engine.protocol.client import EngineClient, default_client_name
    from logbert_engine.protocol.locations import socket_path

    path = socket_path()
    if not path.exists():
        return None

    async def ask() -> Welcome:
        client = await EngineClient.connect(path, default_client_name())
        await client.close()
        return client.welcome

    from logbert_engine.protocol.errors import EngineError, EngineSilent

    try:
        welcome = asyncio.run(ask())
    except EngineSilent as error:
        if not quiet:
            print(f"logbert-engine: {error}", file=sys.stderr)
        return EngineStatus(pid=error.pid, socket=str(path), answers=False)
    except EngineError as error:  # it was killed, or speaks another protocol; runs need it not
        if quiet:
            return None
        print(f"logbert-engine: {error}", file=sys.stderr)
        return None
    return EngineStatus(
        pid=welcome.pid,
        socket=str(path),
        answers=True,
        version=welcome.engine_version,
        started_at=welcome.started_at,
    )


def _run_status(path: Path) -> RunStatus:
    from logbert_engine.commands.waiting import look
    from logbert_engine.protocol import wording
    from logbert_engine.rundir.layout import RunLayout

    found = look(RunLayout(path))
    state = found.state
    stage = state.current()
    last = state.last if state.phase == "training" else None
    stage_left, run_left = state.time_left()
    losses = [s.best_valid_loss for s in state.stages if s.best_valid_loss is not None]
    return RunStatus(
        run_dir=str(path),
        phase=state.phase,
        phase_words=wording.phase(state),
        preset=state.preset,
        stage=state.stage,
        stages=len(state.stages),
        step=stage.step if stage else 0,
        steps=stage.plan.steps if stage else 0,
        loss=stage.loss if stage else None,
        best_valid_loss=min(losses, default=None),
        sessions_per_s=last.sessions_per_s if last else None,
        events_per_s=last.events_per_s if last else None,
        worker_pid=found.holder.pid if found.holder else None,
        reason=state.reason,
        attempt=state.attempt,
        processes=state.world_size,
        device=state.device,
        micro_batch=state.micro_batch,
        batch=stage.plan.batch if stage else 0,
        memory=wording.micro_batch(state),
        health=state.health.finding if state.health else "",
        health_message=state.health.message if state.health else "",
        resumes=state.resumes,
        seconds=round(state.seconds, 3),
        stage_left_s=stage_left,
        run_left_s=run_left,
        expected_s=state.expected_seconds,
        peak_memory_mb=state.peak_mb or None,
        memory_budget_mb=state.memory_budget_mb,
        expected_memory_mb=state.expected_memory,
    )


def _engine_line(engine: EngineStatus | None) -> str:
    if engine is None:
        return "engine: not running (the console starts it; runs do not need it)"
    if not engine.answers:
        return f"engine: process {engine.pid} does not answer at {engine.socket}"
    return f"engine: process {engine.pid}, version {engine.version}, at {engine.socket}"


def _run_line(status: RunStatus, *, brief: bool) -> str:
    """One line; a brief one also has, in a word, what the details tell."""
    from logbert_engine.protocol import wording

    parts = [status.phase_words]
    if status.stage:
        parts.append(f"stage {status.stage}/{status.stages}, step {status.step:,}/{status.steps:,}")
    if status.loss is not None:
        parts.append(f"loss {status.loss:.4f}")
    if status.sessions_per_s:
        parts.append(f"{status.sessions_per_s:,.0f} sessions/s")
    if brief:
        parts += [
            wording.processes(status.processes),
            f"attempt {status.attempt}" if status.attempt > 1 else "",
            status.memory,
            wording.FINDINGS[status.health] if status.health else "",
            status.reason if status.phase in ("failed", "new") or status.phase_words != status.phase else "",
        ]
    return f"{status.run_dir}: {', '.join(part for part in parts if part)}"


def _detail_lines(status: RunStatus) -> list[str]:
    from logbert_engine.protocol import wording

    at_work = status.worker_pid is not None
    found = []
    if status.reason:
        found.append(f"reason: {status.reason}")
    if status.attempt:
        picked_up = (
            f", resumed at {status.resumes}" if at_work and status.attempt > 1 and status.resumes else ""
        )
        found.append(f"attempt {status.attempt}{picked_up}")
        together = wording.processes(status.processes) or "1 process"
        supervised = f", supervised by process {status.worker_pid}" if at_work else ""
        found.append(f"{together} on {status.device}{supervised}")
    if status.memory:
        found.append(status.memory)
    found += _expectation_lines(status)
    if status.health:
        found.append(f"{wording.FINDINGS[status.health]}: {status.health_message}")
    if status.best_valid_loss is not None:
        found.append(f"best validation loss {status.best_valid_loss:.4f}")
    if not at_work and status.resumes:
        found.append(f"a resume: {status.resumes}")
    return [f"  {line}" for line in found]


def _expectation_lines(status: RunStatus) -> list[str]:
    """Time and memory: so far, to come, and as they were expected."""
    from logbert_engine.protocol import figures_in_words as words_for

    time, memory = status.expected_s, status.expected_memory_mb
    times = [f"{words_for.seconds(status.seconds)} of training so far"] if status.seconds else []
    if status.stage_left_s is not None and status.run_left_s is not None:
        left = words_for.seconds(status.stage_left_s), words_for.seconds(status.run_left_s)
        times.append(f"left: stage {left[0]}, run {left[1]}")
    times += [f"expected {words_for.duration(time)} in all, {time.origin}"] if time is not None else []
    memories = [f"peak {words_for.megabytes(status.peak_memory_mb)}"] if status.peak_memory_mb else []
    memories += [f"budget {words_for.megabytes(status.memory_budget_mb)}"] if status.memory_budget_mb else []
    memories += [f"expected {words_for.memory(memory)}, {memory.origin}"] if memory is not None else []
    lines = (("time", times), ("memory", memories))
    return [f"{name}: {'; '.join(words)}" for name, words in lines if words]
