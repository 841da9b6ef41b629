"""How a run stands: what its journal tells, and who works on it now. Needs no engine."""

from __future__ import annotations

from dataclasses import dataclass

from logbert_engine.protocol.errors import RunError
from logbert_engine.protocol.runstate import RunState
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import holder
from logbert_engine.rundir.processes import ProcessIdentity


@dataclass(frozen=True)
class Condition:
    """A run at one instant."""

    state: RunState
    holder: ProcessIdentity | None
    """The process that holds the run directory; None when nobody works on the run."""

    @property
    def abandoned(self) -> bool:
        """Whether the journal tells of a worker at work that is not there any more."""
        return self.state.active and self.holder is None


def require_run(run: RunLayout) -> None:
    """Check that a directory holds a run.

    Raises:
        RunError: it does not.
    """
    if not run.config.is_file():
        raise RunError(
            f"{run.root} is not a run directory (it has no run.yaml); give the --run-dir of a run, "
            "or start one there with logbert-engine train."
        )


def lost_history(run: RunLayout, state: RunState) -> str:
    """What is there of a run that has come farther than its journal tells, in a sentence; else empty."""
    stages = run.stages()
    if state.seq or not stages:
        return ""
    found = [f"{stage.name}{' with its figures' if stage.metrics.is_file() else ''}" for stage in stages]
    return (
        f"{run.journal} is gone or empty, and with it what it told of the run; there are still "
        f"{', '.join(found)}, and a resume goes on from there."
    )


def condition(run: RunLayout) -> Condition:
    """How a run stands now.

    Raises:
        RunError: the directory holds no run, or its journal cannot be read.
        StorageError: the lock file cannot be opened.
    """
    require_run(run)
    # The holder first: a worker that ends in between is then reported as at work, never as lost.
    at_work = holder(run)
    state = RunState()
    for event in read_journal(run.journal):
        state.apply(event)
    state.reason = state.reason or lost_history(run, state)
    return Condition(state=state, holder=at_work)
