"""The process that trains: ``python -m logbert_engine.training.worker RUN_DIR [--restart-stage]``.

It is detached from whoever started it and holds the run directory's lock while it lives. Everything it says
goes into the journal and the logs; standard error is for what Python or the system say when it dies.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from logbert_engine.presets.runfile import read_config
from logbert_engine.presets.types import RunConfig
from logbert_engine.protocol.errors import LogbertError, StorageError
from logbert_engine.protocol.events import EndState, Level, RunEnded, RunOpened
from logbert_engine.rundir import control
from logbert_engine.rundir.atomic import storage_error, write_file
from logbert_engine.rundir.checksums import remove_checked
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import held
from logbert_engine.training.plan import plan_stages, resume_point
from logbert_engine.training.recorder import Recorder
from logbert_engine.training.wishes import Interrupted, Wishes


def main(words: list[str] | None = None) -> int:
    """Train the run in a directory; returns the exit status."""
    parser = argparse.ArgumentParser(prog="worker")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--restart-stage", action="store_true")
    arguments = parser.parse_args(words)
    run = RunLayout(arguments.run_dir)
    wishes = Wishes(run)
    wishes.listen()
    try:
        config = read_config(run)
        with held(run):
            return _work(run, config, wishes, restart_stage=arguments.restart_stage)
    except LogbertError as error:
        print(error, file=sys.stderr)
        return 1


def _work(run: RunLayout, config: RunConfig, wishes: Wishes, *, restart_stage: bool) -> int:
    control.clear(run)
    _clear_abandoned(run)
    write_file(run.pid, f"{os.getpid()}\n")
    point = resume_point(run, config.stages)
    if restart_stage and point.next is not None:
        remove_checked(run.stage(point.next.name).resume)
        point = resume_point(run, config.stages)
    attempt = 1 + sum(isinstance(event, RunOpened) for event in read_journal(run.journal))
    recorder = Recorder(run)
    try:
        state, reason, code = _train(run, config, recorder, wishes, attempt, point.in_words())
        resumes = "" if state == "finished" else resume_point(run, config.stages).in_words()
        level: Level = "error" if state == "failed" else "info"
        recorder.log(level, f"run {state}: {reason}" if reason else f"run {state}")
        recorder.record(RunEnded(state=state, reason=reason, exit_code=code, resumes=resumes))
    except StorageError as error:
        print(error, file=sys.stderr)  # the journal cannot take it: the engine finds it here
        return 1
    finally:
        with suppress(OSError):
            run.pid.unlink(missing_ok=True)
            control.clear(run)
            if run.worker_errors.stat().st_size == 0:
                run.worker_errors.unlink()
        recorder.close()
    return code


def _clear_abandoned(run: RunLayout) -> None:
    """Remove what a worker that was killed in the middle of a save left beside the files."""
    for folder in (run.root, *(f for s in run.stages() for f in (s.root, s.checkpoints))):
        for leftover in folder.glob(".*.tmp"):
            if leftover.name.startswith(f".{run.control.name}."):
                continue  # others than the worker write it, perhaps at this moment
            with suppress(OSError):
                leftover.unlink()


def _train(
    run: RunLayout, config: RunConfig, recorder: Recorder, wishes: Wishes, attempt: int, where: str
) -> tuple[EndState, str, int]:
    """Train, and say how it ended: state, reason, exit status."""
    from logbert_engine.models.device import choose

    try:
        compute = choose(config.device, config.training.precision)
        recorder.record(
            RunOpened(
                attempt=attempt,
                pid=os.getpid(),
                host=socket.gethostname(),
                preset=config.preset,
                device=compute.kind,
                device_name=compute.name,
                precision=compute.precision,
                stages=plan_stages(config.stages),
                resumes=where if attempt > 1 else "",
                memory_budget_mb=config.memory.max_mb,
                documented=config.documented,
            )
        )
        recorder.log(
            "info",
            f"attempt {attempt} on {compute.name} ({compute.kind}, {compute.precision}), "
            f"process {os.getpid()}: {where}",
        )
        from logbert_engine.training.run import run_stages

        run_stages(run, config, compute, recorder, wishes)
    except Interrupted as interruption:
        state: EndState = "paused" if interruption.wish == "pause" else "stopped"
        return state, interruption.cause, 0
    except LogbertError as error:
        return "failed", str(error), 1
    except OSError as error:
        return "failed", str(storage_error(Path(error.filename or run.root), error)), 1
    except MemoryError:
        return "failed", "out of host memory; a smaller batch (--set training.batch=…) needs less", 1
    except Exception as error:  # noqa: BLE001 - the last stand: a bug must end as a recorded failure
        traceback.print_exc()
        return "failed", f"{type(error).__name__}: {error} (details in {run.worker_errors})", 1
    return "finished", "", 0


if __name__ == "__main__":
    sys.exit(main())
