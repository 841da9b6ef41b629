"""A process that trains: ``python -m logbert_engine.training.worker RUN_DIR``, alone or as a rank of a team.

The supervisor starts it (through torchrun where there are several), holds the run directory and learns how it
ends. Rank 0 says everything in the journal and the logs; standard error is for what Python or the system say
when it dies.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Literal

from logbert_engine.presets.runfile import read_config
from logbert_engine.presets.stages import plan_stages
from logbert_engine.presets.types import RunConfig
from logbert_engine.protocol.errors import DiskFullError, LogbertError, RunError, StorageError
from logbert_engine.protocol.events import BackedOff, EndState, Level, RunEnded, RunOpened
from logbert_engine.rundir import outcome, reserve
from logbert_engine.rundir.atomic import storage_error
from logbert_engine.rundir.condition import require_run
from logbert_engine.rundir.journal import damage, read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lifeline import PARENT, leave_at_once, tie_to_parent
from logbert_engine.rundir.lock import holder
from logbert_engine.rundir.outcome import LEFT_WORD, Outcome
from logbert_engine.training.place import Place
from logbert_engine.training.plan import complete, resume_words
from logbert_engine.training.recorder import Mute, Recorder
from logbert_engine.training.wishes import Interrupted, Wishes


def main(words: list[str] | None = None) -> int:
    """Train the run in a directory; returns the exit status."""
    parser = argparse.ArgumentParser(prog="worker")
    parser.add_argument("run_dir", type=Path)
    arguments = parser.parse_args(words)
    run = RunLayout(arguments.run_dir)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if PARENT not in os.environ or holder(run) is None:
        print("a worker is started by a supervisor; use logbert-engine train or resume.", file=sys.stderr)
        return 2
    tie_to_parent()  # before torch is imported: that takes seconds, in which nobody else would end us
    import torch  # noqa: F401 - as long as it takes, SIGTERM ends us at once, as there is nothing to save

    place = Place.from_environment()
    wishes = Wishes(run, leads=place.leads)
    wishes.listen(alone=place.alone)
    try:
        return Worker(run, read_config(run), place, wishes).work()
    except LogbertError as error:
        print(error, file=sys.stderr)
        return 1


class Worker:
    """Trains a run until it is over, interrupted, or cannot go on."""

    def __init__(self, run: RunLayout, config: RunConfig, place: Place, wishes: Wishes) -> None:
        self._run, self._config, self._place, self._wishes = run, config, place, wishes
        self._recorder = Recorder(run) if place.leads else Mute()

    def work(self) -> int:
        """Train; returns the exit status.

        Raises:
            StorageError: the journal cannot be written.
        """
        try:
            end = self._train()
            if end is None:
                return LEFT_WORD
            if self._place.leads:
                self._say_how_it_ended(end)
            return end.exit_code or 0
        finally:
            self._recorder.close()

    def _say_how_it_ended(self, end: RunEnded) -> None:
        level: Level = "error" if end.state == "failed" or end.exit_code else "info"
        self._recorder.log(level, f"run {end.state}: {end.reason}" if end.reason else f"run {end.state}")
        self._recorder.record(end)
        self._recorder.sync()

    def _train(self) -> RunEnded | None:
        """How it ended; None where another process knows better, or the supervisor decides."""
        from logbert_engine.models.device import is_out_of_memory
        from logbert_engine.training.shortage import OutOfMemory
        from logbert_engine.training.team import PeerLostError

        try:
            self._run_stages()
        except Interrupted as interruption:
            return self._ended("paused" if interruption.wish == "pause" else "stopped", interruption.cause, 0)
        except PeerLostError:
            return None
        except OutOfMemory as error:
            self._leave("out_of_memory", str(error), error.stage, error.step, in_step=error.in_step)
            return None
        except DiskFullError as error:
            reserve.free(self._run)  # so that the journal can still take how it ended
            return self._ended("paused", str(error), 1)
        except LogbertError as error:
            return self._failed(str(error))
        except OSError as error:
            return self._failed(str(storage_error(Path(error.filename or self._run.root), error)))
        except Exception as error:  # noqa: BLE001 - the last stand: a bug must end as a recorded failure
            if is_out_of_memory(error):
                words = (str(error) or type(error).__name__).splitlines()[0]
                self._leave("out_of_memory", f"out of memory ({words[:200]})")
                return None
            traceback.print_exc()
            where = f"details in {self._run.worker_errors}"
            return self._failed(f"{type(error).__name__}: {error} ({where})")
        return self._ended("finished", "", 0)

    def _run_stages(self) -> None:
        from logbert_engine.models.device import choose
        from logbert_engine.training.run import run_stages
        from logbert_engine.training.team import Team

        config, place, recorder = self._config, self._place, self._recorder
        compute = choose(
            config.device,
            config.training.precision,
            number=place.local_rank,
            together=place.world_size,
        )
        team = Team(place, compute.device)
        attempt, cap = self._learned(compute.kind) if place.leads else (0, 0)
        cap = int(team.told(str(cap).encode()))
        stages = plan_stages(config.stages)
        where = resume_words(self._run)
        supervisor = holder(self._run)
        recorder.record(
            RunOpened(
                attempt=attempt,
                pid=supervisor.pid if supervisor is not None else 0,
                host=socket.gethostname(),
                preset=config.preset,
                device=compute.kind,
                device_name=compute.name,
                precision=compute.precision,
                world_size=place.world_size,
                stages=stages,
                resumes=where if attempt > 1 else "",
                memory_budget_mb=config.memory.max_mb,
                documented=config.documented,
            )
        )
        if place.leads and (found := damage(self._run.journal)):
            recorder.log("warning", found)
        together = f", {place.world_size} processes" if not place.alone else ""
        recorder.log(
            "info",
            f"attempt {attempt} on {compute.name} ({compute.kind}, {compute.precision}{together}), "
            f"process {os.getpid()}: {where}",
        )
        run_stages(self._run, config, compute, recorder, self._wishes, team, cap)
        team.leave()
        if place.leads:
            self._check_that_all_is_there()

    def _check_that_all_is_there(self) -> None:
        """What was removed by hand while later stages were trained must not pass for finished.

        Raises:
            RunError: ``run.yaml`` or a stage is gone.
        """
        require_run(self._run)
        gone = [
            plan.name for plan in plan_stages(self._config.stages) if not complete(self._run.stage(plan.name))
        ]
        if gone:
            raise RunError(
                f"{', '.join(gone)} in {self._run.root} was complete and has been removed since, or parts of it; "
                "a resume trains what is missing again."
            )

    def _learned(self, device: str) -> tuple[int, int]:
        """From the journal: the number of this attempt, and the micro-batch that memory taught earlier ones."""
        attempt, cap = 1, 0
        for event in read_journal(self._run.journal):
            if isinstance(event, RunOpened):
                attempt += 1
            elif isinstance(event, BackedOff) and event.device == device:
                cap = event.micro_batch if event.world_size == self._place.world_size else cap
        return attempt, cap

    def _ended(self, state: EndState, reason: str, code: int) -> RunEnded:
        resumes = ""
        if state != "finished":
            resumes = resume_words(self._run)
        return RunEnded(state=state, reason=reason, exit_code=code, resumes=resumes)

    def _failed(self, reason: str) -> RunEnded | None:
        if self._place.leads:
            return self._ended("failed", reason, 1)
        self._leave("failed", f"rank {self._place.rank}: {reason}")
        return None

    def _leave(
        self,
        kind: Literal["out_of_memory", "failed"],
        message: str,
        stage: int = 0,
        step: int = 0,
        *,
        in_step: bool = False,
    ) -> None:
        word = Outcome(kind=kind, message=message, stage=stage, step=step, in_step=in_step)
        self._recorder.log("error", message)
        try:
            outcome.leave(self._run, f"rank{self._place.rank}", word)
        except StorageError as error:
            print(message, error, sep="\n", file=sys.stderr)


if __name__ == "__main__":
    leave_at_once(main())
