"""A save that is killed at one point after the other: ``python -m tests.faults.killed_saves WHAT [every]``.

A process of its own, since torch takes seconds to import and is imported once here. For each point it forks a
child, which begins a save and kills itself there with SIGKILL; then it reads what is left, and saves once more.
It prints a line of JSON for each point.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from logbert_engine.models.checkpoint import export, load_export, save_model
from logbert_engine.protocol.errors import CheckpointError
from logbert_engine.rundir.layout import StageLayout
from logbert_engine.training.plan import complete, read_metrics, write_metrics
from tests.faults.disk import Disk, Operation, watched
from tests.faults.models import metrics, read_state, record, same_weights, save_state, small_model


class What(NamedTuple):
    """A file that is saved over and over; states of it are numbers."""

    save: Callable[[StageLayout, int], None]
    read: Callable[[StageLayout], int]
    """The number that is found; 0 where there is nothing."""


def _save_best(stage: StageLayout, number: int) -> None:
    save_model(stage.best, small_model(number), record(number))


def _read_best(stage: StageLayout) -> int:
    if not stage.best.exists():
        return 0
    return next(number for number in range(1, 9) if same_weights(stage.best, number))


def _save_metrics(stage: StageLayout, number: int) -> None:
    if not stage.best.exists():
        _save_best(stage, 1)
    write_metrics(stage, metrics(stage, number))


def _read_metrics(stage: StageLayout) -> int:
    return int(read_metrics(stage).finished_at[-2:]) if complete(stage) else 0


def _save_export(stage: StageLayout, number: int) -> None:
    export(stage.exported, small_model(number), record(number))


def _read_export(stage: StageLayout) -> int:
    if not stage.exported.exists():
        return 0
    model, _ = load_export(stage.exported)
    return next(number for number in range(1, 9) if same_weights(model, number))


def _read_resume(stage: StageLayout) -> int:
    if not stage.resume.exists() and not stage.resume_previous.exists():
        return 0
    step, problems = read_state(stage)
    if problems:
        raise CheckpointError(f"the state of {step} is found, but: {problems}")
    return step


SAVES = {
    "resume.pt": What(save_state, _read_resume),
    "best_model.pt": What(_save_best, _read_best),
    "training_metrics.json": What(_save_metrics, _read_metrics),
    "best_model": What(_save_export, _read_export),
}


class Points(Disk):
    """Names each moment of a save, and is killed at one of them.

    Of the many writes of a file only the first, one in the middle and the last are told apart, unless every one is
    asked for.
    """

    def __init__(self, die_at: str = "", writes: Counter[str] | None = None) -> None:
        self._die_at, self._writes = die_at, writes
        self._seen: Counter[str] = Counter()
        self.names: list[str] = []

    def before(self, operation: Operation) -> None:
        name = str(operation)
        self._seen[name] += 1
        self._reach("before", operation)

    def middle(self, operation: Operation) -> None:
        self._reach("in the middle of", operation)

    def after(self, operation: Operation) -> None:
        self._reach("after", operation)

    def _reach(self, moment: str, operation: Operation) -> None:
        name = str(operation)
        number = self._seen[name]
        if operation.kind == "write" and self._writes is not None:
            last = self._writes[name]
            if number not in (1, last // 2, last):
                return
        self.names.append(f"{moment} {name} ({number})")
        if self.names[-1] == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def writes(self) -> Counter[str]:
        """How many there were of each name."""
        return self._seen


def main(what: str, every: bool) -> None:
    torch.set_num_threads(1)
    save, read = SAVES[what]
    folder = Path(tempfile.mkdtemp(prefix="killed-"))
    try:
        for before in (2, 0):
            template = StageLayout(folder / f"before-{before}" / "stage_1_10pct")
            template.checkpoints.mkdir(parents=True)
            for number in range(1, before + 1):
                save(template, number)
            rehearsal = _copy(template, folder / "rehearsal")
            counting = Points()
            with watched(rehearsal.root, counting):
                save(rehearsal, before + 1)
            writes = None if every else counting.writes()
            listing = Points(writes=writes)
            rehearsal = _copy(template, folder / "rehearsal")
            with watched(rehearsal.root, listing):
                save(rehearsal, before + 1)
            for name in listing.names:
                stage = _copy(template, folder / "killed")
                ended = _killed(stage, name, writes, lambda stage=stage, n=before + 1: save(stage, n))
                print(
                    json.dumps({"before": before, "point": name, "signal": ended, **_left(stage, read, save)})
                )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(template: StageLayout, to: Path) -> StageLayout:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(template.root.parent, to)
    return StageLayout(to / template.root.name)


def _killed(stage: StageLayout, point: str, writes: Counter[str] | None, save: Callable[[], None]) -> int:
    """Save in a child that is killed at a point; returns the signal that ended it."""
    child = os.fork()
    if child == 0:
        with watched(stage.root, Points(point, writes)):
            save()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def _left(
    stage: StageLayout, read: Callable[[StageLayout], int], save: Callable[[StageLayout, int], None]
) -> dict[str, int | str]:
    """What is found after a kill, and after a save that follows."""
    try:
        found = read(stage)
        save(stage, 7)
        return {"found": found, "then": read(stage), "error": ""}
    except Exception as error:  # noqa: BLE001 - the test tells it
        return {"found": -1, "then": -1, "error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    main(sys.argv[1], every=sys.argv[2:] == ["every"])
