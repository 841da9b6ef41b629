"""``logbert-engine stop``: end a run's worker; without a run directory, the engine."""

from __future__ import annotations

import argparse
from pathlib import Path

from logbert_engine.protocol.errors import LogbertError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run_dir", type=Path, nargs="?", metavar="RUN_DIR", help="default: stop the engine")
    parser.add_argument(
        "--force", action="store_true", help="stop the engine although it is scoring, which is lost then"
    )


def run(arguments: argparse.Namespace) -> int:
    """Ask, wait, and say how it ended."""
    if arguments.run_dir is None:
        return _stop_engine(force=arguments.force)
    if arguments.force:
        raise LogbertError(
            f"--force is for stopping the engine; leave it out to stop the run {arguments.run_dir}."
        )
    return _stop_run(arguments.run_dir)


def _stop_run(run_dir: Path) -> int:
    from logbert_engine.commands.waiting import end_worker, layout_of

    run = layout_of(run_dir)
    state = end_worker(run, "stop")
    resumes = f"; resume picks up at {state.resumes}" if state.resumes else ""
    print(f"{run.root} is {state.phase}{resumes}")
    return 0


def _stop_engine(*, force: bool) -> int:
    import asyncio

    from logbert_engine.protocol.client import EngineClient, default_client_name
    from logbert_engine.protocol.locations import socket_path
    from logbert_engine.protocol.messages import Done
    from logbert_engine.protocol.methods import Shutdown

    async def shut_down() -> str:
        client = await EngineClient.connect(socket_path(), default_client_name())
        try:
            done = await client.call("shutdown", Shutdown(force=force))
            assert isinstance(done, Done)
            await client.closed.wait()
        finally:
            await client.close()
        return f"engine {client.welcome.pid} has stopped; {done.message}"

    print(asyncio.run(shut_down()))
    return 0
