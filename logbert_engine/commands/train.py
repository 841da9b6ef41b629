"""``logbert-engine train``: start a run and return, or follow it to its end."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from logbert_engine.commands.settings import SMALL, USUAL, add_settings, spec_of
from logbert_engine.protocol.locations import DEFAULT_RUN_DIR

ADVICE = (
    f"no preset is named, so {USUAL} fine-tunes a large model, slowly without a GPU; for own logs on a machine like "
    f"this one: --preset {SMALL}"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments; what is not given is as the preset has it."""
    parser.add_argument("--data", required=True, metavar="FILE|DIR", help="session files")
    parser.add_argument("--run-dir", default=DEFAULT_RUN_DIR, metavar="DIR", help="default: %(default)s")
    add_settings(parser)
    parser.add_argument(
        "--foreground",
        action="store_true",
        help="follow the run to its end; Ctrl-C pauses it, SIGTERM stops it",
    )


def run(arguments: argparse.Namespace) -> int:
    """Start the run; with --foreground stay until it is over and pass on its status."""
    from logbert_engine.commands.waiting import start_worker
    from logbert_engine.hardware.probe import probe
    from logbert_engine.presets.runfile import read_config
    from logbert_engine.protocol import wording
    from logbert_engine.protocol.events import RunEnded
    from logbert_engine.protocol.locations import program
    from logbert_engine.rundir.journal import last_event
    from logbert_engine.supervision.launch import launch
    from logbert_engine.training.plan import resume_point
    from logbert_engine.training.prepare import prepare

    layout = prepare(spec_of(arguments))
    if arguments.preset is None and not probe(layout.root).accelerators:
        print(ADVICE, file=sys.stderr)
    last = last_event(layout.journal)
    said_so = isinstance(last, RunEnded) and last.state == "finished"  # else a worker still has to write it
    if said_so and resume_point(layout, read_config(layout).stages).next is None:
        print(f"all stages in {layout.root} are complete; nothing to do")
        return 0
    if arguments.foreground:
        from logbert_engine.commands.following import follow

        return follow(layout, launch(layout), sys.stdout, 0 if last is None else last.seq)
    where = Path(arguments.run_dir)
    opened = start_worker(layout)
    ranks = f", {wording.processes(opened.world_size)}" if opened.world_size > 1 else ""
    print(f"training in the background, process {opened.pid}{ranks}, in {layout.root}")
    if opened.resumes:
        print(f"goes on:   {opened.resumes}")
    print(f"watch it:  {program('logbert-tui')} {where}")
    print(f"pause it:  {program('logbert-engine')} pause {where}")
    return 0
