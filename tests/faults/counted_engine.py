"""``counted_engine.py SOCKET``: an engine that tells, at each SIGUSR1, how many tasks and clients it has."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from logbert_engine.daemon.server import serving


async def main() -> None:
    """Serve until SIGTERM."""
    async with serving(Path(sys.argv[1])) as engine:

        def tell() -> None:
            counts = {"tasks": len(asyncio.all_tasks()), "clients": len(engine.connections)}
            print(json.dumps(counts), flush=True)

        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, tell)
        loop.add_signal_handler(signal.SIGTERM, engine.stopping.set)
        tell()
        await engine.stopping.wait()


if __name__ == "__main__":
    asyncio.run(main())
