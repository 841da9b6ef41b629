"""The table of faults and what each came to: ``python -m tests.faults.report [--fast] [--rows N …]``.

Runs the tests of this folder and prints a line for each fault, ending in ``passed`` or ``failed``. The exit
status is 0 only where all passed. With ``--fast`` the slow tests are left out, as in ``make test``; with ``--rows``
some rows alone are run and printed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ONLY = "LOGBERT_FAULT_ROWS"
"""Environment variable with the numbers of the rows that are run, separated by commas; all when not set."""


class Row(NamedTuple):
    """A fault, and what is promised in spite of it."""

    number: int
    fault: str
    promise: str


ROWS = (
    Row(1, "the worker is killed at random instants", "losses and weights bit-equal to an undisturbed run"),
    Row(2, "killed at each point of a save", "the previous or the new checkpoint loads, never neither"),
    Row(3, "torchrun or a rank is killed", "no process left after 5 s; resumes"),
    Row(4, "the engine is killed", "training undisturbed, adopted again, no gap in seq"),
    Row(5, "killed between stages", "no stage skipped or run twice"),
    Row(6, "unsynced data are lost at any operation", "recovers"),
    Row(7, "the n-th write, fsync or rename fails", "a clean error, the old checkpoint intact"),
    Row(8, "full disk", "paused, nothing truncated, resumes when there is room"),
    Row(9, "files truncated, flipped, zeroed, swapped", "found and named, one step back, never trained on"),
    Row(10, "a malicious pickle as checkpoint", "refused, nothing executed"),
    Row(11, "two engines, or two runs on one directory", "the second leaves, naming the holder"),
    Row(12, "stale or reused pid", "not taken for ours"),
    Row(13, "hang-up, closed terminal", "nothing stops"),
    Row(14, "SIGTERM", "checkpoint within 10 s, exit status 0"),
    Row(15, "out of memory on a device or rank", "all stop, micro-batch halved; at 1 a clear failure"),
    Row(16, "worker killed by a memory limit", '"out of host memory", engine alive'),
    Row(17, "NaN loss on one rank", "stops before the update"),
    Row(18, "a client that stops reading", "others lag less than 100 ms, engine memory bounded"),
    Row(19, "oversize, half, deep and random frames", "an error or a close; engine alive"),
    Row(20, "another user connects", "refused"),
    Row(21, "reconnects in mid-stream", "the events seen equal the journal"),
    Row(22, "malformed, empty, duplicate, huge files", "quarantined with place; over the limit a clear stop"),
    Row(23, "clock moved by a day", "durations monotonic, order from seq"),
    Row(24, "pause hammered, pause during a save", "one pause, exact resume"),
    Row(25, "torn last journal line", "ignored, logged"),
    Row(26, "a hung rank", "found by the watchdog, relaunched"),
)


@dataclass
class Outcome:
    """What the tests of a row came to."""

    passed: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)
    """Names of tests."""
    counts: Counter[str] = field(default_factory=Counter)
    """What the tests counted, such as ``kills``: the sum over them."""
    facts: dict[str, str] = field(default_factory=dict)
    """What they measured, such as ``lag``."""

    @property
    def holds(self) -> bool:
        """Whether the promise was kept: something was tested, and nothing failed."""
        return self.passed > 0 and not self.failed

    def words(self) -> str:
        """Counts and facts, for people."""
        told = [f"{count:,} {name}" for name, count in self.counts.items()]
        told += [f"{name} {value}" for name, value in self.facts.items()]
        if not self.passed and not self.failed:
            told.append("only skipped tests" if self.skipped else "no test")
        told += [f"failed: {name}" for name in self.failed]
        return ", ".join(told)


def outcomes(results: Path) -> dict[int, Outcome]:
    """Rows to what their tests came to, from a results file of pytest (``--junit-xml``)."""
    found: dict[int, Outcome] = {}
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        properties = [(p.get("name", ""), p.get("value", "")) for p in case.iter("property")]
        for number in {int(value) for name, value in properties if name == "row"}:
            outcome = found.setdefault(number, Outcome())
            if case.find("failure") is not None or case.find("error") is not None:
                outcome.failed.append(case.get("name", "?"))
            elif case.find("skipped") is not None:
                outcome.skipped += 1
            else:
                outcome.passed += 1
                for name, value in properties:
                    if name == "row":
                        continue
                    if value.isdecimal():
                        outcome.counts[name] += int(value)
                    else:
                        outcome.facts[name] = value
    return found


def table(found: dict[int, Outcome], wanted: Sequence[int] = ()) -> list[str]:
    """The lines to print, of the rows that are wanted or of all."""
    rows = []
    for row in (row for row in ROWS if not wanted or row.number in wanted):
        outcome = found.get(row.number, Outcome())
        tests = outcome.passed + len(outcome.failed)
        told = [f"{tests} test{'' if tests == 1 else 's'}", *filter(None, [outcome.words()])]
        verdict = "passed" if outcome.holds else "failed"
        rows.append((f"{row.number:>2}", row.fault, row.promise, "; ".join(told), verdict))
    wide = [max(len(row[column]) for row in rows) for column in range(5)]
    return ["  ".join(f"{cell:<{wide[i]}}" for i, cell in enumerate(row)) for row in rows]


def run_tests(folder: Path, results: Path, *, fast: bool, rows: Sequence[int] = ()) -> int:
    """Run a folder's tests of some rows, or all; what pytest says goes to standard error. Returns its status."""
    words = [sys.executable, "-m", "pytest", str(folder), "-q", f"--junit-xml={results}"]
    words += ["-o", "junit_family=xunit1", "-p", "no:cacheprovider"]
    words += ["-m", "not slow"] if fast else []
    env = {**os.environ, ONLY: ",".join(map(str, rows))}
    return subprocess.run(words, stdout=sys.stderr, cwd=HERE.parents[1], env=env, check=False).returncode


def main(words: Sequence[str] | None = None) -> int:
    """Run and print; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.report", description=(__doc__ or "").strip()
    )
    parser.add_argument("--fast", action="store_true", help="leave out the slow tests")
    parser.add_argument(
        "--rows",
        type=int,
        nargs="+",
        default=[],
        metavar="N",
        choices=range(1, len(ROWS) + 1),
        help="only these",
    )
    arguments = parser.parse_args(words)
    wanted = arguments.rows or [row.number for row in ROWS]
    descriptor, name = tempfile.mkstemp(suffix=".xml")
    os.close(descriptor)
    results = Path(name)
    try:
        status = run_tests(HERE, results, fast=arguments.fast, rows=arguments.rows)
        found = outcomes(results) if results.stat().st_size else {}
    finally:
        results.unlink()
    for line in table(found, wanted):
        print(line)
    held = sum(found[number].holds for number in set(wanted) if number in found)
    print(f"\n{held} of {len(set(wanted))} promises held")
    if status not in (0, 1) and held:
        print(f"pytest ended with status {status}", file=sys.stderr)
    return 0 if held == len(set(wanted)) and status == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
