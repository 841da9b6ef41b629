"""``logbert-engine infer``: score sessions with a checkpoint."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path


def share(text: str) -> float:
    """A share as people write it: ``0.5%`` or ``0.005``."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 0.5% or 0.005")
    return value


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
    parser.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        metavar="PATH",
        help="a run directory, a stage directory, a best_model.pt or an exported folder",
    )
    parser.add_argument(
        "--input",
        type=Path,
        required=True,
        nargs="+",
        metavar="FILE|DIR",
        help="session files or directories",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the JSON list to write")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--threshold", type=finite, help="alarm above this anomaly_score, a robust z")
    limit.add_argument(
        "--alert-budget", type=share, metavar="SHARE", help="alarm on this share of ordinary sessions, 0.5%%"
    )
    parser.add_argument("--device", choices=["auto", "cpu", "mps", "cuda"], default="auto")
    parser.add_argument(
        "--allow-unknown", action="store_true", help="score logs that the checkpoint hardly knows"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument(
        "--progress", choices=["auto", "json", "none"], default="auto", help=argparse.SUPPRESS
    )


class ScoringProgress:
    """Says how far it is: a line that renews itself in a terminal, JSON lines for the engine."""

    def __init__(self, kind: str) -> None:
        self._kind = kind if kind != "auto" or sys.stderr.isatty() else "none"
        self._next = 0.0
        self._phase = ""

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Say it, a few times a second."""
        now = time.monotonic()
        if now < self._next and phase == self._phase and done < total:
            return
        self._next, self._phase = now + 0.1, phase
        if self._kind == "json":
            print(json.dumps({"phase": phase, "done": done, "total": total}), flush=True)
        elif self._kind == "auto":
            print(f"\r\x1b[K{phase} {done / max(1, total):.0%}", end="", file=sys.stderr, flush=True)

    def finish(self) -> None:
        """Clear the line."""
        if self._kind == "auto":
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def run(arguments: argparse.Namespace) -> int:
    """Score and say what was found."""
    from logbert_engine.detection.inference import infer

    progress = ScoringProgress(arguments.progress)
    try:
        found = infer(
            arguments.checkpoint,
            arguments.input,
            arguments.output,
            threshold=arguments.threshold,
            budget=arguments.alert_budget,
            device=arguments.device,
            allow_unknown=arguments.allow_unknown,
            report=progress,
        )
    finally:
        progress.finish()
    limit = f"score above {found.threshold:.4f}" if found.threshold is not None else "alarm"
    message = (
        f"{found.sessions:,} sessions ({found.distinct:,} distinct) scored: {found.anomalies:,} {limit}, as about "
        f"{found.false_alarm_rate:.2%} of ordinary sessions do, by {found.calibration_sessions:,} held out from "
        "training"
    )
    if found.budget is not None and found.false_alarm_rate > found.budget:
        needed = found.false_alarm_rate / found.budget * found.calibration_sessions
        message += f"; a budget of {found.budget:.4%} asks for {needed:,.0f} of them"
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
        if found.rejected:
            print(f"{found.rejected:,} records could not be used")
        print(f"written to {found.output}, ranked, highest first")
    return 0
