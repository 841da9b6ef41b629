"""Finds the command's module, runs it, and turns errors into one sentence and an exit status."""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from collections.abc import Sequence
from typing import Protocol, cast

from logbert_engine import __version__
from logbert_engine.protocol.errors import LogbertError

COMMANDS: dict[str, str] = {
    "serve": "run the engine (the console starts it when it is not there)",
    "status": "say whether the engine runs, and what it trains",
    "stop": "stop a run, or without a run directory the engine (training goes on; a scoring is lost)",
    "train": "start a run and return; --foreground follows it to the end",
    "pause": "pause a run: save its exact state and free all memory",
    "resume": "go on with a paused, stopped or crashed run",
    "restart-stage": "go back to the last completed stage and train the next one again",
    "infer": "score sessions with a checkpoint",
    "evaluate": "how good a checkpoint is on labelled sessions, beside simple rules",
    "estimate": "what a preset takes on this machine: memory, time, money; --measure takes real steps",
    "presets": "list, show or check presets, or print their JSON Schema",
    "doctor": "look at this machine and what is installed, and say what is wrong and how to mend it",
    "demo-data": "write a simulated system's logs, sessions and labels",
    "demo": "show the whole job on demo data, in a few minutes",
}
"""In the order of the help text. A dash in a name is an underscore in the module's."""


class Command(Protocol):
    """What a command's module offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Carry it out; returns the exit status."""


def _refused(error: OSError | UnicodeEncodeError, where: str, debug: bool) -> int:
    """What the system refuses, in one sentence."""
    if debug:
        traceback.print_exc()
    reason = error.strerror if isinstance(error, OSError) and error.strerror else ascii(str(error))
    print(f"logbert-engine: {where}{reason}.", file=sys.stderr)
    return 1


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status: 0 only on success."""
    given = list(sys.argv[1:] if words is None else words)
    parser = argparse.ArgumentParser(prog="logbert-engine", description="The engine behind logbert-tui.")
    parser.add_argument("--version", action="version", version=f"logbert-engine {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen: Command | None = None
    for name, help_text in COMMANDS.items():
        about = f"{help_text[0].upper()}{help_text[1:]}."
        sub = commands.add_parser(name, help=help_text, description=about)
        if given and given[0] == name:  # only the command that is asked for is imported
            chosen = cast(Command, importlib.import_module(f"{__package__}.{name.replace('-', '_')}"))
            chosen.add_arguments(sub)
            sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
    for word in given:
        if word.startswith("--") and word.endswith("=--"):  # argparse takes it for an empty list
            parser.error(f"argument {word.removesuffix('=--')}: expected one argument")
    arguments = parser.parse_args(given)
    if chosen is None:
        parser.error("the command comes first")
    try:
        return chosen.run(arguments)
    except LogbertError as error:
        if arguments.debug:
            traceback.print_exc()
        print(f"logbert-engine: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            sys.stderr.close()  # the reader of a pipe left; nothing more can be said to it
            return 141
        return _refused(error, f"{error.filename!a}: " if error.filename else "", arguments.debug)
    except UnicodeEncodeError as error:
        return _refused(error, "a path or name is not UTF-8, rename it: ", arguments.debug)
    except KeyboardInterrupt:
        return 130
