"""Memory of one worker after each of ten stages: what a stage took is given back before the next."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

from logbert_engine.protocol.events import Log
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.rundir.journal import read_journal
from logbert_engine.supervision.launch import supervisor_command
from logbert_engine.training.prepare import prepare
from tests.bench import classic

STAGES, FIRST = 10, 2
AT_MOST = 0.05
_FREED = re.compile(r"memory freed after stage_(\d+)_\d+pct: ([\d,]+) MB in use")


def run() -> bool:
    """Print the figures; whether memory after the last stage is that after the second."""
    os.environ.setdefault("LOGBERT_CACHE_DIR", tempfile.mkdtemp(prefix="bench-"))
    os.environ.setdefault("LOGBERT_STATE_DIR", tempfile.mkdtemp(prefix="bench-"))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        layout = prepare(
            RunSpec(
                data=str(classic.sessions_folder()),
                run_dir=str(Path(folder) / "run"),
                preset="test",
                sample_ratio=0.5,
                progressive=True,
                device="cpu",
                overrides=["stages.epochs=1", "model.hidden=128", "model.layers=2"],
            )
        )
        subprocess.run(supervisor_command(layout), check=True, stdin=subprocess.DEVNULL)
        said = [event.message for event in read_journal(layout.journal) if isinstance(event, Log)]
    after = {int(m[1]): float(m[2].replace(",", "")) for m in map(_FREED.search, said) if m is not None}
    grown = after[STAGES] / after[FIRST] - 1
    print("memory of the worker after each stage, resident MB (stages of 10% to 100% of the sessions)")
    print("  ".join(f"{stage}: {mb:,.0f}" for stage, mb in sorted(after.items())))
    print(f"after stage {STAGES} against stage {FIRST}: {grown:+.1%} (within {AT_MOST:.0%})")
    return abs(grown) <= AT_MOST
