"""A worker without a model: takes the lock, journals, listens to requests, and can be killed, as the real one.

It journals as many steps as it is told, at a pace, and goes on where an earlier attempt was left.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
from pathlib import Path
from threading import Event

from logbert_engine.presets.runfile import read_config
from logbert_engine.presets.stages import plan_stages
from logbert_engine.protocol.events import (
    EndState,
    EpochEnded,
    Log,
    Metric,
    RunEnded,
    RunOpened,
    StageEnded,
    StagePlan,
    StageStarted,
)
from logbert_engine.rundir import control
from logbert_engine.rundir.journal import JournalWriter, read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import held


class Worker:
    def __init__(
        self, run: RunLayout, journal: JournalWriter, steps: int, pace: float, words: int, stopped: Event
    ) -> None:
        self.run = run
        self.journal = journal
        self.steps = steps
        self.pace = pace
        self.words = words
        self.stopped = stopped
        config = read_config(run)
        self.preset = config.preset
        self.stages = plan_stages(config.stages)

    def work(self, done: int, attempt: int) -> EndState:
        plans = [
            StagePlan(
                index=p.index, name=p.name, ratio=p.ratio, epochs=1, sessions=8, unique=8, steps=self.steps
            )
            for p in self.stages
        ]
        self.journal.append(
            RunOpened(
                attempt=attempt,
                pid=os.getpid(),
                host=socket.gethostname(),
                preset=self.preset,
                device="cpu",
                stages=plans,
                resumes=f"step {done}" if attempt > 1 else "",
            )
        )
        for plan in plans:
            first = (plan.index - 1) * self.steps
            if done >= first + self.steps:
                continue
            step = max(0, done - first)
            self.journal.append(StageStarted(stage=plan.index, step=step, total_step=first + step))
            while step < self.steps:
                wish = control.pending(self.run)
                if wish is not None:
                    return "paused" if wish == "pause" else "stopped"
                if self.stopped.is_set():
                    return "stopped"
                step += 1
                self.metric(plan.index, step, first + step)
                if self.words:
                    self.journal.append(Log(level="info", message="x" * self.words))
                time.sleep(self.pace)
            self.end_stage(plan, first + step)
        return "finished"

    def metric(self, stage: int, step: int, total: int) -> None:
        self.journal.append(
            Metric(
                stage=stage,
                epoch=1,
                step=step,
                steps=self.steps,
                total_step=total,
                loss=5.0 / total,
                lr=1e-3,
                sessions_per_s=100.0,
                stage_s=step * 0.01,
            )
        )

    def end_stage(self, plan: StagePlan, total: int) -> None:
        self.journal.append(
            EpochEnded(
                stage=plan.index,
                epoch=1,
                total_step=total,
                train_loss=1.0,
                valid_loss=1.0 / plan.index,
                seconds=1.0,
                checkpoint="",
                best=True,
            )
        )
        self.journal.append(
            StageEnded(
                stage=plan.index,
                sessions=8,
                steps=self.steps,
                best_epoch=1,
                train_loss=1.0,
                best_valid_loss=1.0 / plan.index,
                seconds=1.0,
                checkpoint="",
                sha256="",
            )
        )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--pace", type=float, default=0.005)
    parser.add_argument("--words", type=int, default=0, help="characters that it logs each step")
    parser.add_argument("--restart-stage", action="store_true")
    parser.add_argument("--leaves-slowly", type=float, default=0.0, help="seconds that it takes to leave")
    parser.add_argument("--fail-before-opening", action="store_true")
    arguments = parser.parse_args()
    if arguments.fail_before_opening:
        print("the model does not fit on the device", file=sys.stderr)
        return 3
    run, stopped = RunLayout(arguments.run_dir), Event()
    signal.signal(
        signal.SIGTERM, lambda _number, _frame: stopped.set()
    )  # before anybody can know of this process
    with held(run):
        control.clear(run)
        run.pid.write_text(f"{os.getpid()}\n")
        done = attempt = 0
        for event in read_journal(run.journal):
            if isinstance(event, RunOpened):
                attempt += 1
            elif isinstance(event, Metric):
                done = event.total_step
        if arguments.restart_stage:
            done = done // arguments.steps * arguments.steps
        with JournalWriter(run.journal) as journal:
            worker = Worker(run, journal, arguments.steps, arguments.pace, arguments.words, stopped)
            state = worker.work(done, attempt + 1)
            journal.append(Log(level="info", message=f"run {state}"))
            journal.append(RunEnded(state=state, exit_code=0, resumes="where it was left"))
        time.sleep(arguments.leaves_slowly)
        run.pid.unlink()
        control.clear(run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
