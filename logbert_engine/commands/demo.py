"""``logbert-engine demo``: the whole job on simulated logs. In a terminal it opens the console on it."""

from __future__ import annotations

import argparse
import csv
import sys
import textwrap
from pathlib import Path

import msgspec

from logbert_engine.protocol.errors import RunError
from logbert_engine.protocol.locations import given_path, program
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.protocol.results import SessionResult

SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("directory", nargs="?", default="demo", help="default: %(default)s")
    parser.add_argument("--sessions", type=int, default=20_000, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--print", action="store_true", dest="printed", help="print everything, also in a terminal"
    )


def run(arguments: argparse.Namespace) -> int:
    """Make the data, train three stages, score the last day; print it, or show it in the console."""
    from logbert_engine.demo.simulate import Scale
    from logbert_engine.demo.writing import write_demo
    from logbert_engine.rundir.journal import last_event
    from logbert_engine.rundir.layout import RunLayout
    from logbert_engine.rundir.lock import holder
    from logbert_engine.supervision.launch import launch
    from logbert_engine.training.prepare import prepare

    directory = given_path(arguments.directory, "the directory")
    data, run_dir = directory / "data", directory / "run"
    if not (data / "faults.csv").exists():
        print(f"simulating {arguments.sessions:,} sessions of a small system into {data}", flush=True)
        write_demo(data, Scale(sessions=arguments.sessions))
    in_terminal = sys.stdin.isatty() and sys.stdout.isatty() and not arguments.printed
    at_work = holder(RunLayout(run_dir)) if run_dir.is_dir() else None
    if at_work is not None:
        if in_terminal:
            return _console(run_dir)
        raise RunError(
            f"{at_work} trains the demo already; watch it: {program('logbert-tui')} {run_dir}, "
            f"or pause it: {program('logbert-engine')} pause {run_dir}"
        )
    layout = prepare(RunSpec(data=str(data / "sessions"), run_dir=str(run_dir), preset="demo"))
    last = last_event(layout.journal)
    before = 0 if last is None else last.seq
    process = launch(layout)
    if in_terminal:
        return _console(run_dir)

    from logbert_engine.commands.following import follow

    print(f"training preset demo in three progressive stages, in {run_dir}", flush=True)
    status = follow(layout, process, sys.stdout, before)
    if status != 0:
        return status
    return _score(layout.root, data)


def _console(run_dir: Path) -> int:
    """Open the console on the run, as `logbert-tui RUN_DIR` would."""
    import os

    os.execv(sys.executable, [sys.executable, "-m", "logbert_tui", str(run_dir)])


def _score(run_dir: Path, data: Path) -> int:
    from logbert_engine.detection.inference import infer

    output = run_dir / "results" / "demo.json"
    found = infer(run_dir, [data / "eval"], output)
    print(
        f"{found.sessions:,} sessions of the last day scored; {found.anomalies:,} alarm, "
        f"as {found.false_alarm_rate:.1%} of ordinary ones do\n"
    )
    ranked = msgspec.json.decode(output.read_bytes(), type=list[SessionResult])[:SHOWN]
    print("\n".join(table(ranked, _faults(data))))
    print(f"\nall of them, ranked: {output}")
    print(f"look through them:   {program('logbert-tui')} {run_dir} --inference")
    return 0


def _faults(data: Path) -> dict[str, str]:
    """Session id to what the simulation did to it."""
    path = data / "faults.csv"
    if not path.exists():
        raise RunError(f"{path} is missing; remove {data} and run the demo again.")
    with path.open(newline="") as file:
        return {row["session_id"]: row["kind"] for row in csv.DictReader(file)}


def table(ranked: list[SessionResult], faults: dict[str, str]) -> list[str]:
    """The highest sessions, two lines each: figures with what the simulation injected, then the reason."""
    lines = [f"{'':>2}  {'score':>6}  {'session':<24}{'service':<10}{'events':>6}  injected fault"]
    for place, result in enumerate(ranked, start=1):
        fault = faults.get(str(result.session_id), "none").replace("_", " ")
        lines.append(
            f"{place:>2}  {result.anomaly_score:>6.2f}  {result.session_id!s:<24}"
            f"{result.service_name or '':<10}{result.length:>6}  {fault}"
        )
        lines.append(textwrap.indent(result.reason, " " * 12))
    return lines
