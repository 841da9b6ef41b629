"""``logbert-engine serve``: be the engine, until told to stop."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--socket",
        type=Path,
        metavar="PATH",
        help="where to listen; default: in the user's runtime directory",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve. A second engine leaves at once: the first one can be used."""
    import asyncio

    from logbert_engine.daemon.server import AlreadyServed, serve
    from logbert_engine.protocol.locations import socket_path

    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)-7s %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
    )
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal ends nobody's engine
    path = arguments.socket or socket_path()
    try:
        asyncio.run(serve(path.absolute()))
    except AlreadyServed as error:
        print(error)
    return 0
