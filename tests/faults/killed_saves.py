"""Saves that are killed at one point after the other: ``python -m tests.faults.killed_saves [every]``.

A process of its own, since torch takes seconds to import and is imported once here. For each point it forks a
child, which begins a save and kills itself there with SIGKILL; then it reads what is left, and saves once more.
It prints a line of JSON for each point.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from logbert_engine.protocol.errors import LogbertError
from logbert_engine.rundir.layout import StageLayout
from tests.faults.disk import Disk, Operation, watched
from tests.faults.models import SAVES, Saved

FOLLOWING = 7
"""The state that is saved after a kill."""


class Points(Disk):
    """Names each moment of a save, and is killed at one of them.

    After one operation is before the next: for a kill these are the same point, named once. Of the many writes of
    a file only the first, one in the middle and the last are points, unless every one is asked for.
    """

    def __init__(self, die_at: str = "", writes: Counter[str] | None = None) -> None:
        self._die_at, self._writes = die_at, writes
        self.seen: Counter[str] = Counter()
        self.names: list[str] = []

    def before(self, operation: Operation) -> None:
        if operation.kind != "read":  # which changes nothing
            self.seen[str(operation)] += 1
            self._reach("before", str(operation), operation.kind == "write")

    def middle(self, operation: Operation) -> None:
        self._reach("in the middle of", str(operation), True)

    def end(self) -> None:
        """All operations are done."""
        self._reach("after", "all", False)

    def _reach(self, moment: str, name: str, is_write: bool) -> None:
        number = self.seen[name]
        if is_write and self._writes is not None:
            last = self._writes[name]
            if number not in (1, last // 2, last):
                return
        self.names.append(f"{moment} {name}" + (f", number {number}" if number > 1 else ""))
        if self.names[-1] == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)


class Case(NamedTuple):
    """A file to save, where there were some generations of it before."""

    saved: Saved
    before: int
    template: StageLayout
    folder: Path

    def begin(self, points: Points) -> StageLayout:
        """The stage as it was before the save, and the save."""
        stage = self.fresh()
        self.save(stage, points)
        return stage

    def fresh(self) -> StageLayout:
        """The stage as it was before the save."""
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.template.root.parent, copy)
        return StageLayout(copy / self.template.name)

    def save(self, stage: StageLayout, points: Points) -> None:
        """Save the next generation."""
        with watched(stage.root, points):
            self.saved.save(stage, self.before + 1)
        points.end()


def cases(folder: Path, generations: Sequence[int]) -> Iterator[tuple[str, Case]]:
    """Each file, with some generations of it before."""
    for name, saved in SAVES.items():
        for before in generations:
            template = StageLayout(folder / f"{name}-{before}" / "stage_1_10pct")
            template.checkpoints.mkdir(parents=True)
            saved.prepare(template)
            for number in range(1, before + 1):
                saved.save(template, number)
            yield name, Case(saved, before, template, folder)


def main(every: bool) -> None:
    """Print what became of each point of each save."""
    torch.set_num_threads(1)
    gc.freeze()  # a collection in a child would copy pages
    folder = Path(tempfile.mkdtemp(prefix="killed-"))
    try:
        for name, case in cases(folder, (2, 0) if every else (2,)):
            counting = Points()
            case.begin(counting)
            writes = None if every else counting.seen
            listing = Points(writes=writes)
            case.begin(listing)
            for point in listing.names:
                stage = case.fresh()
                ended = _in_child(partial(case.save, stage, Points(point, writes)))
                told = {"what": name, "before": case.before, "point": point, "signal": ended}
                print(json.dumps({**told, **_left(stage, case.saved)}))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _in_child(work: Callable[[], None]) -> int:
    """Do something in a child; returns the signal that ended it, 0 for none."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def _left(stage: StageLayout, saved: Saved) -> dict[str, Any]:
    """What is found after a kill, and after a save that follows."""
    try:
        found = saved.read(stage)
        saved.save(stage, FOLLOWING)
        return {"found": found, "then": saved.read(stage), "error": ""}
    except LogbertError as error:
        return {"found": -1, "then": -1, "error": str(error)}


if __name__ == "__main__":
    main(every=sys.argv[1:] == ["every"])
