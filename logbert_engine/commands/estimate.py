"""``logbert-engine estimate``: what a preset takes on this machine, before it is started."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from logbert_engine.commands.settings import USUAL, add_settings, spec_of

if TYPE_CHECKING:
    from logbert_engine.estimates.machine import Machine
    from logbert_engine.protocol.messages import DataSummary, RunSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--data", default="", metavar="FILE|DIR", help="session files; without them no time of a run"
    )
    add_settings(parser)
    parser.add_argument("--all", action="store_true", help="every preset, a line each")
    parser.add_argument(
        "--measure",
        action="store_true",
        help="take up to 20 real steps first, for a minute and a half or as long as two of them take",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.set_defaults(run_dir="")


def run(arguments: argparse.Namespace) -> int:
    """Estimate and print."""
    from logbert_engine.data.inspect import inspect
    from logbert_engine.estimates.asking import all_presets, asked_machine, estimates_of
    from logbert_engine.protocol.errors import LogbertError, PresetError
    from logbert_engine.protocol.estimates import EstimateQuery
    from logbert_engine.protocol.locations import given_path

    spec = spec_of(arguments)
    data = inspect(given_path(arguments.data, "--data")) if arguments.data else None
    if arguments.measure and arguments.all:
        raise LogbertError(
            "--measure takes one preset at a time; leave --all out, and name it with --preset."
        )
    machine = asked_machine()
    if arguments.measure:
        machine = _measure(spec, data, machine)
    presets = all_presets() if arguments.all else [arguments.preset or USUAL]
    found = estimates_of(EstimateQuery(spec=spec, presets=presets, data=data), machine)
    if not found.estimates:
        raise PresetError(next(iter(found.problems.values())))
    if arguments.json:
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(found)).decode())
        return 0
    from logbert_engine.estimates import report

    print("\n".join(report.table(found) if arguments.all else report.page(found.estimates[0])))
    return 0


def _measure(spec: RunSpec, data: DataSummary | None, machine: Machine) -> Machine:
    from logbert_engine.estimates.asking import Measurement

    measurement = Measurement(spec, data, machine)

    def progress(done: int, steps: int) -> None:
        if sys.stderr.isatty():
            print(f"\rmeasuring: step {done} of {steps}", end="", file=sys.stderr, flush=True)

    try:
        return measurement.run(progress)
    except KeyboardInterrupt:
        measurement.cancel()
        raise
    finally:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
