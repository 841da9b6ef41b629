"""``logbert-engine restart-stage``: train the stage after the last complete one again, from its start."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR")


def run(arguments: argparse.Namespace) -> int:
    """End what trains, if anything does, start again, and say where it begins."""
    from logbert_engine.commands.waiting import end_worker, layout_of, look_again, start_worker
    from logbert_engine.protocol import wording
    from logbert_engine.protocol.errors import RunError
    from logbert_engine.training.plan import resume_words

    layout = layout_of(arguments.run_dir)
    found = look_again(layout)
    state = found.state if found.holder is None else end_worker(layout, "stop")
    if state.phase == "finished":
        raise RunError(f"{layout.root} is finished: all stages are complete.")
    opened = start_worker(layout, restart_stage=True)
    ranks = f", {wording.processes(opened.world_size)}" if opened.world_size > 1 else ""
    print(f"{layout.root} goes on in process {opened.pid}{ranks}: {opened.resumes or resume_words(layout)}")
    return 0
