"""Starts supervisors, which outlive whoever starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from logbert_engine.protocol.errors import RunError
from logbert_engine.rundir import registry
from logbert_engine.rundir.atomic import storage_error
from logbert_engine.rundir.layout import RunLayout


def supervisor_command(run: RunLayout, *, restart_stage: bool = False) -> list[str]:
    """The command line of a run's supervisor.

    ``-P`` keeps the working directory out of the import path: a file there must not stand in for a library.
    """
    command = [sys.executable, "-P", "-m", "logbert_engine.supervision.supervisor", str(run.root.resolve())]
    return [*command, "--restart-stage"] if restart_stage else command


def launch(
    run: RunLayout, *, restart_stage: bool = False, command: Sequence[str] | None = None
) -> subprocess.Popen[bytes]:
    """Start the supervisor of a run, detached, and return without waiting for it.

    It has a session of its own, so that neither a closed terminal nor the end of its starter reaches it.
    What it writes to its standard error is appended to ``logs/worker.err``.

    Args:
        run: a prepared run directory.
        restart_stage: go back to the last completed stage.
        command: another process's command line; None for ``supervisor_command``.

    Returns:
        The process. Its starter may wait for it to learn how it ended; nobody has to.

    Raises:
        RunError: the process cannot be started.
        StorageError: the run directory cannot be written.
    """
    words = list(command) if command is not None else supervisor_command(run, restart_stage=restart_stage)
    try:
        run.logs.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        errors = os.open(run.worker_errors, flags, 0o644)
    except OSError as error:
        raise storage_error(run.worker_errors, error) from error
    try:
        registry.remember(run.root)
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
            close_fds=True,
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"the supervisor of {run.root} cannot be started: {reason}.") from error
    finally:
        os.close(errors)
