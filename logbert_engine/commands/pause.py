"""``logbert-engine pause``: the worker saves its exact state and frees all memory."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR")


def run(arguments: argparse.Namespace) -> int:
    """Ask, wait until the worker has ended, and say where a resume picks up."""
    from logbert_engine.commands.waiting import end_worker, layout_of

    layout = layout_of(arguments.run_dir)
    state = end_worker(layout, "pause")
    resumes = f"; resume picks up at {state.resumes}" if state.resumes else ""
    print(f"{layout.root} is {state.phase}{resumes}")
    return 0 if state.phase in ("paused", "finished") else 1
