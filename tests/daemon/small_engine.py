"""An engine in a process of its own whose workers are small ones: ``small_engine.py SOCKET [worker options]``."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from logbert_engine.daemon.server import serve
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.supervision.launch import launch

WORKER = Path(__file__).with_name("small_worker.py")


def start(run: RunLayout, *, restart_stage: bool) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(WORKER), str(run.root), *sys.argv[2:]]
    return launch(run, command=[*command, "--restart-stage"] if restart_stage else command)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), launcher=start))
