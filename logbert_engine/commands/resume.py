"""``logbert-engine resume``: go on with a run where it was left."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR")


def run(arguments: argparse.Namespace) -> int:
    """Start the run's processes, wait until they have opened it, and say where it picks up."""
    from logbert_engine.commands.waiting import layout_of, look_again, start_worker
    from logbert_engine.protocol import wording
    from logbert_engine.protocol.errors import RunError
    from logbert_engine.training.plan import resume_words

    layout = layout_of(arguments.run_dir)
    found = look_again(layout)
    if found.holder is not None:
        raise RunError(f"process {found.holder.pid} is at work on {layout.root} already.")
    if found.state.phase == "finished":
        raise RunError(f"{layout.root} is finished: all stages are complete.")
    words = resume_words(layout)
    opened = start_worker(layout)
    ranks = f", {wording.processes(opened.world_size)}" if opened.world_size > 1 else ""
    print(f"{layout.root} goes on in process {opened.pid}{ranks}: {opened.resumes or words}")
    return 0
