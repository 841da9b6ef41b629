"""`logbert-tui`: opens the console."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from logbert_engine import __version__
from logbert_engine.protocol.errors import EngineError, LogbertError


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="logbert-tui", description="Train, watch and use log-anomaly models from the terminal."
    )
    made.add_argument("run_dir", nargs="?", default="", metavar="RUN_DIR", help="a run to open")
    made.add_argument(
        "--socket", type=Path, metavar="PATH", help="the socket of an engine (default: your own)"
    )
    made.add_argument(
        "--read-only", action="store_true", help="watch only; refuse everything that changes a run"
    )
    made.add_argument("--data", default="", metavar="PATH", help="session files to begin with")
    made.add_argument("--inference", action="store_true", help="show RUN_DIR's latest inference results")
    made.add_argument("--version", action="version", version=f"logbert-tui {__version__}")
    made.add_argument("--debug", action="store_true", help="show tracebacks")
    return made


def main(words: Sequence[str] | None = None) -> int:
    """Run the console.

    Returns:
        The exit status: 0, or 1 with one sentence on standard error.
    """
    options = parser().parse_args(words)
    try:
        _check(options)
        return _open(options)
    except (LogbertError, OSError) as error:
        if options.debug:
            raise
        print(f"logbert-tui: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # while modules are imported; later it is a key
        return 130


def _check(options: argparse.Namespace) -> None:
    if options.inference and not options.run_dir:
        raise LogbertError(
            "--inference needs a RUN_DIR whose results to show: logbert-tui RUN_DIR --inference"
        )
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise LogbertError(
            "The console needs a terminal; in scripts use logbert-engine, which has the same commands."
        )


def _open(options: argparse.Namespace) -> int:
    from logbert_tui.app import LogbertApp

    app = LogbertApp(
        os.path.abspath(os.path.expanduser(options.run_dir)) if options.run_dir else "",  # noqa: PTH100, PTH111 - no link is to be resolved
        socket=options.socket,
        read_only=options.read_only,
        data=options.data,
        inference=options.inference,
        must_connect=True,
    )
    parting = app.run()
    status = app.return_code or 0
    if status and parting:
        raise EngineError(parting)
    if parting:
        print(parting)
    return status


if __name__ == "__main__":
    sys.exit(main())
