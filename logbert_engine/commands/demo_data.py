"""``logbert-engine demo-data``: write a simulated system's logs, sessions and labels."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from logbert_engine.demo.simulate import Scale
from logbert_engine.demo.writing import FAULTS, VOCABULARY, Written, write_demo
from logbert_engine.protocol.locations import given_path, program

NAME = "demo-data"
HELP = "write a simulated system's logs, sessions and labels"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    default = Scale()
    parser.add_argument("directory", metavar="DIR", help="new, empty, or an earlier demo to replace")
    parser.add_argument(
        "--sessions", type=int, default=default.sessions, metavar="N", help="in all (default: %(default)s)"
    )
    parser.add_argument(
        "--days",
        type=int,
        default=default.days,
        metavar="N",
        help="of which the last quarter, at least one, is for evaluation (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=default.seed,
        metavar="N",
        help="the same seed gives the same files (default: %(default)s)",
    )
    parser.add_argument(
        "--anomaly-rate",
        type=float,
        default=default.anomaly_rate,
        metavar="R",
        help="share of faulty sessions on the evaluation days (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Write the demo data and say what was written."""
    directory = given_path(arguments.directory, "DIR")
    scale = Scale(
        sessions=arguments.sessions,
        days=arguments.days,
        seed=arguments.seed,
        anomaly_rate=arguments.anomaly_rate,
    )
    written = write_demo(directory, scale)
    if arguments.json:
        print(json.dumps(dataclasses.asdict(written), indent=2))
    else:
        print("\n".join(_report(written)))
        sessions = directory / "sessions"
        print(f"\ntrain on it: {program('logbert-engine')} train --data {sessions} --run-dir RUN")
    return 0


def _report(written: Written) -> list[str]:
    lines = [f"{written.directory}: {written.sessions:,} sessions, {written.events:,} lines"]
    folders: dict[str, list[int]] = {}
    for name, count in written.files.items():
        if name.startswith(("sessions/", "eval/")):
            lines.append(f"  {name:<52} {count:>9,} sessions")
        elif name.startswith("raw/"):
            folders.setdefault(str(Path(name).parent), []).append(count)
    for folder, counts in folders.items():
        lines.append(f"  {f'{folder}/ ({len(counts)} files)':<52} {sum(counts):>9,} lines")
    lines.append(f"  {VOCABULARY:<52} {written.templates:>9,} templates")
    lines.append(f"  {FAULTS:<52} {written.files[FAULTS]:>9,} faulty sessions")
    lines.append("")
    lines.append(f"{'fault':<54} {'training':>8} {'evaluation':>11}")
    for kind in sorted({*written.faults_in_training, *written.faults_in_evaluation}):
        training = written.faults_in_training.get(kind, 0)
        lines.append(f"  {kind:<52} {training:>8,} {written.faults_in_evaluation.get(kind, 0):>11,}")
    return lines
