"""Why a process of a run could not go on: what a rank leaves behind for the supervisor, who alone sees them all."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

import msgspec

from logbert_engine.rundir.atomic import write_file
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.reading import SMALL, content

AGENT = "torchrun"
"""Who starts and watches the ranks where there are several."""
LEFT_WORD = 75
"""Exit status of a process that left an outcome for the supervisor, or lost a peer (EX_TEMPFAIL of sysexits.h)."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a process ended."""

    kind: Literal["out_of_memory", "failed", "ranks_ended"]
    message: str = ""
    stage: int = 0
    step: int = 0
    """Optimizer steps done in the stage."""
    in_step: bool = False
    """Whether memory ran out within a step, where a smaller micro-batch helps."""
    statuses: dict[int, int] = {}
    """Exit status of each rank that failed; negative: the signal that ended it."""


def leave(run: RunLayout, who: str, outcome: Outcome) -> None:
    """Leave word for the supervisor.

    Raises:
        StorageError: no room.
    """
    write_file(run.outcome(who), msgspec.json.encode(outcome))


def collect(run: RunLayout) -> dict[str, Outcome]:
    """What was left, by who left it; a file that cannot be read tells nothing."""
    found: dict[str, Outcome] = {}
    for path in sorted(run.root.glob("outcome.*.json")):
        with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found[path.name.split(".")[1]] = msgspec.json.decode(content(path, SMALL), type=Outcome)
    return found


def clear(run: RunLayout) -> None:
    """Remove what was left. A folder of such a name was not."""
    for path in run.root.glob("outcome.*.json"):
        if not path.is_dir():
            path.unlink(missing_ok=True)
