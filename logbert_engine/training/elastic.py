"""Several ranks on one machine, by torchrun's agent: ``python -m logbert_engine.training.elastic RUN_DIR NPROC``.

The agent starts the ranks, each a ``logbert_engine.training.worker``, and ends them all when one ends badly. It
is started by the supervisor, whose end is its end, as its own is that of the ranks.

Source: torch.distributed.launcher.api, what ``torchrun --standalone`` calls.
"""

from __future__ import annotations

import os
import signal
import sys
import uuid
from pathlib import Path

from logbert_engine.rundir import outcome
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lifeline import PARENT, TO_RANKS, leave_at_once, tie_to_parent
from logbert_engine.rundir.outcome import AGENT, Outcome

_GRACE_S = 2
"""How long the others may take to leave after one rank has ended badly: they cannot go on without it."""


def main(words: list[str] | None = None) -> int:
    """Run the ranks to their end; returns the exit status."""
    folder, count = sys.argv[1:] if words is None else words
    run = RunLayout(Path(folder))
    for number in (signal.SIGHUP, signal.SIGTERM, TO_RANKS):  # ranks that are just starting inherit this
        signal.signal(number, signal.SIG_IGN)
    tie_to_parent()
    os.environ[PARENT] = str(os.getpid())
    # Without these, gloo looks the machine's name up, which fails on many a laptop.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")

    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=int(count),
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        shutdown_timeout=_GRACE_S,
        signals_to_handle="SIGINT",
    )
    rank = [sys.executable, "-P", "-m", "logbert_engine.training.worker", str(run.root)]
    try:
        elastic_launch(config, rank[0])(*rank[1:])
    except ChildFailedError as error:
        statuses = {number: failure.exitcode for number, failure in error.failures.items()}
        outcome.leave(run, AGENT, Outcome(kind="ranks_ended", statuses=statuses))
        return 1
    return 0


if __name__ == "__main__":
    leave_at_once(main())
