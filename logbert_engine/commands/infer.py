"""``logbert-engine infer``: score sessions with a checkpoint."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING

from logbert_engine.commands.scoring import (
    ADAPT,
    ScoringProgress,
    add_model_and_sessions,
    model_and_sessions,
    share,
)
from logbert_engine.protocol.errors import LogbertError
from logbert_engine.protocol.locations import given_path

if TYPE_CHECKING:
    from logbert_engine.detection.inference import Adaptation

MOST_EVENTS = 8
"""Named in a line."""


def finite(text: str) -> float:
    """A number that scores can be compared with."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number such as 2.0")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_model_and_sessions(parser, "session files or directories")
    parser.add_argument("--output", required=True, metavar="FILE", help="the JSON list to write")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--threshold", type=finite, help="alarm above this anomaly_score, a robust z")
    limit.add_argument(
        "--alert-budget",
        type=share,
        metavar="SHARE",
        help="share of ordinary sessions that may alarm (default 0.1%%)",
    )
    parser.add_argument("--adapt", action="store_true", help=ADAPT)
    parser.add_argument("--device", choices=["auto", "cpu", "mps", "cuda"], default="auto")
    parser.add_argument(
        "--allow-unknown", action="store_true", help="score logs that the checkpoint hardly knows"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument(
        "--progress", choices=["auto", "json", "none"], default="auto", help=argparse.SUPPRESS
    )


def run(arguments: argparse.Namespace) -> int:
    """Score and say what was found."""
    from logbert_engine.detection.inference import infer

    if arguments.adapt and arguments.threshold is not None:
        raise LogbertError(
            "--adapt calibrates anew, so a fixed --threshold means nothing with it; give --alert-budget."
        )
    checkpoint, inputs = model_and_sessions(arguments)
    output = given_path(arguments.output, "--output")
    progress = ScoringProgress(arguments.progress)
    try:
        found = infer(
            checkpoint,
            inputs,
            output,
            threshold=arguments.threshold,
            budget=arguments.alert_budget,
            device=arguments.device,
            allow_unknown=arguments.allow_unknown,
            adapting=arguments.adapt,
            report=progress,
        )
    finally:
        progress.finish()
    limit = f"score above {found.threshold:.4f}" if found.threshold is not None else "alarm"
    span = ""
    if found.false_alarm_span is not None:
        low, high = found.false_alarm_span
        span = f" ({low:.2%} to {high:.2%} with 95% confidence)"
    learnt_from = "them" if found.adapted is not None and found.adapted.blocks else "training"
    message = (
        f"{found.sessions:,} sessions ({found.distinct:,} distinct) scored: {found.anomalies:,} {limit}, as about "
        f"{found.false_alarm_rate:.2%} of ordinary sessions do{span}, by "
        f"{found.calibration_sessions:,} held out from {learnt_from}"
    )
    if found.budget is not None and found.false_alarm_rate > found.budget:
        needed = found.false_alarm_rate / found.budget * found.calibration_sessions
        message += f"; a budget of {_percent(found.budget)} asks for {needed:,.0f} of them"
    if found.silenced:
        message += f"; {found.silenced:,} more are silenced by verdicts"
    if arguments.progress == "json":
        print(json.dumps({"state": "finished", "message": message}), flush=True)
    elif arguments.json:
        import msgspec

        print(msgspec.json.encode(found).decode())
    else:
        print(message)
        print(
            f"anomaly_score: mean {found.mean:.3f}, deviation {found.deviation:.3f}, "
            f"min {found.lowest:.3f}, max {found.highest:.3f}"
        )
        if found.components:
            print("alarms by evidence: " + ", ".join(f"{name} {n:,}" for name, n in found.components.items()))
        if found.drift:
            print(f"mind: {found.drift}")
        if found.adapted is not None:
            print(_adapted(found.adapted))
        if found.tails:
            print(f"mind: {found.tails}")
        if found.unused:
            print(f"mind: {found.unused}")
        print(f"written to {found.output}, ranked, highest first")
    return 0


def _percent(share: float) -> str:
    """``0.1%``, ``0.00001%``."""
    return f"{100 * share:.10f}".rstrip("0").rstrip(".") + "%"


def _adapted(what: Adaptation) -> str:
    from logbert_engine.detection.adapting import TOO_FEW

    if not what.blocks:
        return TOO_FEW
    events = ", ".join(map(str, what.learnt[:MOST_EVENTS]))
    more = f" and {len(what.learnt) - MOST_EVENTS} more" if len(what.learnt) > MOST_EVENTS else ""
    learnt = "no new event"
    if what.learnt:
        many = "1 new event is" if len(what.learnt) == 1 else f"{len(what.learnt)} new events are"
        learnt = f"{many} ordinary now ({events}{more})"
    blocks = "1 block" if what.blocks == 1 else f"{what.blocks} blocks over time"
    told = f"adapted in {blocks}: {learnt}; without it {what.alarms_before:,} sessions alarm"
    return told if what.learnt else f"{told}; logs that have not changed are judged better without it"
