"""The verdicts of the run that a file belongs to."""

from __future__ import annotations

from pathlib import Path

from logbert_engine.protocol.errors import TriageError
from logbert_engine.rundir.layout import run_above
from logbert_engine.triage.database import Triage
from logbert_engine.triage.verdicts import Verdicts


def triage_of(path: Path) -> Triage:
    """The verdicts of the run directory that a path lies in.

    Raises:
        TriageError: it lies in none.
    """
    run = run_above(path)
    if run is None:
        raise TriageError(
            f"{path} lies in no run directory, where verdicts are kept; infer with an --output inside the run's."
        )
    return Triage(run.triage)


def verdicts_for(path: Path) -> Verdicts:
    """The verdicts that hold now for a path in a run directory; none for one elsewhere.

    Raises:
        TriageError: the file of the verdicts is damaged, foreign or in use.
        StorageError: the disk refuses.
    """
    run = run_above(path)
    return Triage(run.triage).current() if run is not None else Verdicts({}, {})
