"""``logbert-engine status``: whether the engine runs, and how the known runs stand."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

    from logbert_engine.protocol.messages import Welcome


class EngineStatus(msgspec.Struct, kw_only=True):
    """The engine, where one answers."""

    pid: int
    version: str
    started_at: float
    socket: str


class RunStatus(msgspec.Struct, kw_only=True):
    """A run, read from its directory."""

    run_dir: str
    phase: str
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
    reason: str


class Status(msgspec.Struct, kw_only=True):
    """What ``--json`` prints."""

    engine: EngineStatus | None
    runs: list[RunStatus]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the engine and the runs, the latest first."""
    from logbert_engine.protocol.errors import LogbertError
    from logbert_engine.rundir.registry import known_runs

    runs: list[RunStatus] = []
    failed = False
    for path in known_runs():
        try:
            runs.append(_run_status(path))
        except LogbertError as error:  # one damaged run must not hide the others
            failed = True
            print(f"logbert-engine: {error}", file=sys.stderr)
    found = Status(engine=_engine_status(), runs=runs)
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        print(_engine_line(found.engine))
        for status in runs:
            print(_run_line(status))
    return 1 if failed else 0


def _engine_status() -> EngineStatus | None:
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

    from logbert_engine.protocol.errors import EngineError

    try:
        welcome = asyncio.run(ask())
    except EngineError as error:  # it was killed, or speaks another protocol
        print(f"logbert-engine: {error}", file=sys.stderr)
        return None
    return EngineStatus(
        pid=welcome.pid, version=welcome.engine_version, started_at=welcome.started_at, socket=str(path)
    )


def _run_status(path: Path) -> RunStatus:
    from logbert_engine.commands.waiting import look
    from logbert_engine.rundir.layout import RunLayout

    found = look(RunLayout(path))
    state = found.state
    stage = state.current()
    last = state.last if state.phase == "training" else None
    losses = [s.best_valid_loss for s in state.stages if s.best_valid_loss is not None]
    return RunStatus(
        run_dir=str(path),
        phase=state.phase,
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
    )


def _engine_line(engine: EngineStatus | None) -> str:
    if engine is None:
        return "engine: not running (the console starts it; runs do not need it)"
    return f"engine: process {engine.pid}, version {engine.version}, at {engine.socket}"


def _run_line(status: RunStatus) -> str:
    parts = [status.phase]
    if status.stage:
        parts.append(f"stage {status.stage}/{status.stages}, step {status.step:,}/{status.steps:,}")
    if status.loss is not None:
        parts.append(f"loss {status.loss:.4f}")
    if status.sessions_per_s:
        parts.append(f"{status.sessions_per_s:,.0f} sessions/s")
    if status.phase == "failed" and status.reason:
        parts.append(status.reason)
    return f"{status.run_dir}: {', '.join(parts)}"
