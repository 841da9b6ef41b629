"""``logbert-engine stop``: end a run's worker; without a run directory, the engine."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run_dir", type=Path, nargs="?", metavar="RUN_DIR", help="default: stop the engine")


def run(arguments: argparse.Namespace) -> int:
    """Ask, wait, and say how it ended."""
    return _stop_engine() if arguments.run_dir is None else _stop_run(arguments.run_dir)


def _stop_run(run_dir: Path) -> int:
    from logbert_engine.commands.waiting import end_worker, layout_of

    run = layout_of(run_dir)
    state = end_worker(run, "stop")
    resumes = f"; resume picks up at {state.resumes}" if state.resumes else ""
    print(f"{run.root} is {state.phase}{resumes}")
    return 0


def _stop_engine() -> int:
    import asyncio

    from logbert_engine.protocol.client import EngineClient, default_client_name
    from logbert_engine.protocol.locations import socket_path

    async def shut_down() -> int:
        client = await EngineClient.connect(socket_path(), default_client_name())
        try:
            await client.call("shutdown")
            await client.closed.wait()
        finally:
            await client.close()
        return client.welcome.pid

    print(f"engine {asyncio.run(shut_down())} has stopped; training goes on")
    return 0
