"""What the commands that score sessions share: arguments, and the line that says how far they are."""

from __future__ import annotations

import argparse
import json
import sys
import time
from decimal import Decimal
from pathlib import Path

from logbert_engine.protocol.locations import given_path

ADAPT = "walk through the sessions in time, and learn from them, without labels, what is ordinary now"
"""What ``--adapt`` does."""
AMBIGUOUS = 0.05
"""From here on a number alone may be meant as a percentage: hardly anybody lets 5% of the ordinary sessions alarm."""


def share(text: str) -> float:
    """A share as people write it: ``0.5%`` or ``0.005``. A larger one says that it is a percentage."""
    in_percent = text.endswith("%")
    try:
        value = float(Decimal(text.removesuffix("%")) / (100 if in_percent else 1))
    except ArithmeticError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 0.5% or 0.005")
    if not in_percent and value >= AMBIGUOUS:
        whole = f"{100 * value:g}%"
        raise argparse.ArgumentTypeError(
            f"{text}: a share, {whole} of the sessions, or a percentage? Write {text}% or {whole}"
        )
    return value


def add_model_and_sessions(parser: argparse.ArgumentParser, sessions: str) -> None:
    """Declare ``--checkpoint`` and ``--input``.

    Args:
        parser: of the command.
        sessions: what the input has to be, in words.
    """
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="PATH",
        help="a run directory, a stage directory, a best_model.pt or an exported folder",
    )
    parser.add_argument(
        "--input",
        required=True,
        nargs="+",
        metavar="FILE|DIR",
        help=sessions,
    )


def model_and_sessions(arguments: argparse.Namespace) -> tuple[Path, list[Path]]:
    """What ``--checkpoint`` and ``--input`` name.

    Raises:
        LogbertError: one of them is empty, or of the home of nobody.
    """
    return given_path(arguments.checkpoint, "--checkpoint"), [
        given_path(path, "--input") for path in arguments.input
    ]


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
