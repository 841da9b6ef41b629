"""``logbert-engine evaluate``: how good a checkpoint is on labelled sessions, beside simple rules."""

from __future__ import annotations

import argparse

from logbert_engine.commands.scoring import (
    ADAPT,
    ScoringProgress,
    add_model_and_sessions,
    model_and_sessions,
    share,
)
from logbert_engine.protocol.locations import given_path

MOST_ANSWERS = 1000


def weight(text: str) -> float:
    """How many sessions one stands for."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0, such as 33.6")
    return value


def seed(text: str) -> int:
    """What the draws begin with."""
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def answers(text: str) -> int:
    """How many signatures are judged."""
    if not text.isdecimal() or not 0 <= int(text) <= MOST_ANSWERS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of answers, 0 to {MOST_ANSWERS:,}")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_model_and_sessions(parser, "session files or directories, with labels")
    parser.add_argument(
        "--alert-budget",
        type=share,
        default=0.001,
        metavar="SHARE",
        help="share of ordinary sessions that may alarm (default 0.1%%)",
    )
    parser.add_argument(
        "--normal-weight",
        type=weight,
        default=1.0,
        metavar="N",
        help="sessions that a normal one stands for, where anomalies are more frequent here than in the logs",
    )
    parser.add_argument("--device", choices=["auto", "cpu", "mps", "cuda"], default="auto")
    parser.add_argument("--seed", type=seed, default=0, help="of the bootstrap")
    parser.add_argument("--html", metavar="FILE", help="write a report as one page")
    parser.add_argument(
        "--operator",
        type=answers,
        default=0,
        metavar="N",
        help="simulate a person who is shown the top of the list and judges N of its signatures truly",
    )
    parser.add_argument("--adapt", action="store_true", help=ADAPT)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print the table."""
    from logbert_engine.detection.evaluating import evaluate
    from logbert_engine.evaluation.comparison import encode
    from logbert_engine.evaluation.page import render_page
    from logbert_engine.evaluation.table import table
    from logbert_engine.rundir.atomic import only_over, write_file

    checkpoint, inputs = model_and_sessions(arguments)
    html = given_path(arguments.html, "--html") if arguments.html is not None else None
    if html is not None:
        only_over(html, b"<!DOCTYPE html>", "--html", "no page")
    progress = ScoringProgress("auto")
    try:
        found = evaluate(
            checkpoint,
            inputs,
            budget=arguments.alert_budget,
            normal_weight=arguments.normal_weight,
            device=arguments.device,
            seed=arguments.seed,
            operator=arguments.operator,
            adapting=arguments.adapt,
            report=progress,
        )
    finally:
        progress.finish()
    if html is not None:
        page = render_page(found.comparison, found.sample, found.detectors)
        write_file(html, page.encode())
    if arguments.json:
        print(encode(found.comparison).decode())
        return 0
    print("\n".join(table(found.comparison)))
    if html is not None:
        print(f"\nreport written to {html}")
    return 0
