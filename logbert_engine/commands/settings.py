"""Flags that say what to train: the same for ``train`` and ``estimate``."""

from __future__ import annotations

import argparse
from typing import Literal

from logbert_engine.protocol.messages import RunSpec

USUAL, SMALL = "transfer", "quick"
"""Presets: the training scripts' default, and the one for machines without a GPU."""


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Declare the flags; what is not given is as the preset has it."""
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
