"""``logbert-engine train``: start a run and return, or follow it to its end."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Literal

from logbert_engine.protocol.locations import DEFAULT_RUN_DIR
from logbert_engine.protocol.messages import RunSpec

USUAL, SMALL = "transfer", "quick"
"""Presets: the training scripts' default, and the one for machines without a GPU."""
ADVICE = (
    f"no preset is named, so {USUAL} fine-tunes a large model, slowly without a GPU; for own logs on a machine like "
    f"this one: --preset {SMALL}"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments; what is not given is as the preset has it."""
    parser.add_argument("--data", required=True, metavar="FILE|DIR", help="session files")
    parser.add_argument("--run-dir", default=DEFAULT_RUN_DIR, metavar="DIR", help="default: %(default)s")
    parser.add_argument(
        "--preset", metavar="NAME", help=f"default: {USUAL}; for own logs on a small machine: {SMALL}"
    )
    parser.add_argument(
        "--progressive",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="train on a growing share of the sessions, a folder a stage",
    )
    parser.add_argument(
        "--pretrained", metavar="ID|DIR", help="start from this pre-trained BERT or DistilBERT"
    )
    parser.add_argument("--start-ratio", type=float, metavar="R", help="share of the first stage")
    parser.add_argument("--step-size", type=float, metavar="R", help="how much the share grows each stage")
    parser.add_argument("--max-ratio", type=float, metavar="R", help="share of the last stage")
    parser.add_argument("--epochs-per-stage", type=int, metavar="N")
    parser.add_argument("--sample-ratio", type=float, metavar="R", help="share of the sessions used at all")
    parser.add_argument("--max-files", type=int, metavar="N", help="use the first N files; 0: all")
    parser.add_argument(
        "--max-memory-mb",
        type=float,
        metavar="N",
        help="memory that training may take; above 80%% of it the micro-batch is halved, the batch stays",
    )
    parser.add_argument(
        "--nproc",
        type=_nproc,
        metavar="N|auto",
        help="processes that train together on this machine; auto: one for each CUDA device",
    )
    parser.add_argument("--device", choices=["auto", "cpu", "mps", "cuda"])
    parser.add_argument("--seed", type=int, metavar="N")
    parser.add_argument(
        "--evaluate",
        metavar="FILE|DIR",
        help="labelled sessions: how well each stage finds their anomalies goes into its figures, and nowhere else",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="path.to.key=value",
        help="override a single value of the preset; repeatable",
    )
    parser.add_argument(
        "--foreground",
        action="store_true",
        help="follow the run to its end; Ctrl-C pauses it, SIGTERM stops it",
    )


def _nproc(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is neither a number nor auto") from None


def spec_of(arguments: argparse.Namespace) -> RunSpec:
    """The request that a command line makes."""
    return RunSpec(
        data=arguments.data,
        run_dir=arguments.run_dir,
        preset=arguments.preset or USUAL,
        progressive=arguments.progressive,
        pretrained=arguments.pretrained,
        start_ratio=arguments.start_ratio,
        step_size=arguments.step_size,
        max_ratio=arguments.max_ratio,
        epochs_per_stage=arguments.epochs_per_stage,
        sample_ratio=arguments.sample_ratio,
        max_files=arguments.max_files,
        max_memory_mb=arguments.max_memory_mb,
        nproc=arguments.nproc,
        device=arguments.device,
        seed=arguments.seed,
        evaluate=arguments.evaluate,
        overrides=arguments.overrides,
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
