"""The supervisor of a run: ``python -m logbert_engine.supervision.supervisor RUN_DIR [--restart-stage]``.

A small process without torch, detached from whoever started it. It holds the run directory's lock from the
first attempt to the last, starts the processes that train, learns how they end, and starts them again after
they ran out of memory or hung. It writes to the journal only while none of them lives. When it is killed, they
end too.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

import msgspec

from logbert_engine.hardware.kills import KillCounters
from logbert_engine.presets.runfile import read_config
from logbert_engine.presets.types import RunConfig
from logbert_engine.protocol.errors import DiskFullError, LogbertError
from logbert_engine.protocol.events import BackedOff, Log, RunEnded
from logbert_engine.protocol.runstate import RunState
from logbert_engine.rundir import control, outcome, reserve
from logbert_engine.rundir.aftermath import last_words, words_or_why_not
from logbert_engine.rundir.atomic import storage_error, write_file
from logbert_engine.rundir.heartbeat import Pulse
from logbert_engine.rundir.journal import TORN, JournalWriter, read_journal
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import Hold, held
from logbert_engine.supervision.attempt import Attempt
from logbert_engine.supervision.devices import process_count
from logbert_engine.supervision.verdict import Again, End, judge
from logbert_engine.training.origin import forget_exact_state
from logbert_engine.training.plan import resume_point, resume_words

_LOOK_S = 1.0
_STARTING_S = 60.0
"""An attempt is not taken for hung before that, until its first sign of life: importing torch takes a while."""
_INSISTS_S = 2.0
"""A second signal after so long ends those who have not followed the first; one before is taken for the same."""


def main(words: list[str] | None = None) -> int:
    """Bring the run in a directory to its end; returns the exit status."""
    parser = argparse.ArgumentParser(prog="supervisor")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--restart-stage", action="store_true")
    arguments = parser.parse_args(words)
    run = RunLayout(arguments.run_dir)
    try:
        config = read_config(run)
        with held(run) as hold:
            status = Supervisor(run, config, hold).work(restart_stage=arguments.restart_stage)
            forget_empty(run.worker_errors)  # not after an error, which is still to be said there
            return status
    except LogbertError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(storage_error(Path(error.filename or run.root), error), file=sys.stderr)
        return 1


class Supervisor:
    """Brings a run to its end; the caller holds the run directory."""

    def __init__(self, run: RunLayout, config: RunConfig, hold: Hold) -> None:
        self._run, self._config, self._hold = run, config, hold
        self._signals: list[int] = []
        self._asked: tuple[float, int] | None = None
        """When and by which signal an end was asked for."""
        self._woken, self._waker = os.pipe()
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)
        self._insisted = False
        """An end was asked for a second time, and the processes were killed."""
        self._hangs = 0
        self._farthest = (0, -1)
        """Stage and step that an attempt that hung has come to."""

    def work(self, *, restart_stage: bool) -> int:
        """Attempt after attempt, until the run is over; returns the exit status.

        Raises:
            LogbertError, OSError: the end cannot be written.
        """
        run = self._run
        self._listen()
        control.clear(run)
        outcome.clear(run)
        clear_abandoned(run)
        try:
            reserve.make(run)
            write_file(run.pid, f"{os.getpid()}\n")
            if restart_stage:
                go_back(run, self._config)
            nproc = process_count(self._config)
            while True:
                code = self._attempt(nproc)
                if code is not None:
                    return code
        except OSError as error:
            return self._could_not(storage_error(Path(error.filename or run.root), error))
        except LogbertError as error:
            return self._could_not(error)
        finally:
            self._clear_up()

    def _attempt(self, nproc: int) -> int | None:
        """Start it, watch it to its end, and see to what follows; None when another one is to come."""
        run, kills = self._run, KillCounters.now()
        state = self._fold()
        after_seq = state.seq
        attempt = Attempt(run, nproc)
        hung_s = self._watch(attempt)
        status = attempt.poll()
        assert status is not None
        left = outcome.collect(run)
        outcome.clear(run)
        state = self._fold()
        if state.ended is not None and state.ended.seq > after_seq:
            return _exit_status(state.ended)
        hangs = self._count_hangs(state) if hung_s is not None else 0
        verdict = judge(
            End(
                status=status,
                state=state,
                outcomes=left,
                out_of_memory=KillCounters.now().since(kills),
                said=last_words(run),
                nproc=nproc,
                hung_s=hung_s,
                hangs=hangs,
            )
        )
        if self._asked is not None:
            verdict = _as_asked(verdict, self._asked[1], insisted=self._insisted)
        if isinstance(verdict, RunEnded):
            self._say_how_it_ended(verdict)
            return _exit_status(verdict)
        events = [
            Log(level="warning", message=verdict.message, stage=state.stage or None, source="supervisor")
        ]
        self._append([*events, *([verdict.backed_off] if verdict.backed_off is not None else [])])
        return None

    def _watch(self, attempt: Attempt) -> float | None:
        """Wait until the attempt has ended; returns the seconds of silence when it hung and was killed."""
        most = self._config.workers.hang_minutes * 60
        with suppress(OSError):
            self._run.heartbeat.unlink(missing_ok=True)
        pulse = Pulse(self._run)
        if self._asked is not None:
            attempt.pass_on(self._asked[1])
        while attempt.poll() is None:
            select.select([self._woken], [], [], _LOOK_S)
            with suppress(BlockingIOError):
                os.read(self._woken, 4096)
            self._pass_on(attempt)
            self._hold.keep()
            silent = pulse.silent_s()
            patience = most if self._run.heartbeat.exists() else max(most, _STARTING_S)
            if silent > patience and attempt.poll() is None:
                attempt.kill()
                return silent
        return None

    def _pass_on(self, attempt: Attempt) -> None:
        while self._signals:
            number = self._signals.pop(0)
            now = time.monotonic()
            if self._asked is None:
                self._asked = (now, number)
                attempt.pass_on(number)
            elif now - self._asked[0] >= _INSISTS_S:
                self._insisted = True
                attempt.kill()

    def _count_hangs(self, state: RunState) -> int:
        stage = state.current()
        done = (state.stage, stage.step if stage is not None else 0)
        self._hangs = 1 if done > self._farthest else self._hangs + 1
        self._farthest = max(done, self._farthest)
        return self._hangs

    def _listen(self) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)  # so that a child's end wakes us
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)

    def _fold(self) -> RunState:
        state = RunState()
        for event in read_journal(self._run.journal):
            state.apply(event)
        return state

    def _could_not(self, error: LogbertError) -> int:
        """Journal what kept the supervisor itself from its work; those who train say themselves what keeps them."""
        full = isinstance(error, DiskFullError)
        if full:
            reserve.free(self._run)
        end = RunEnded(state="paused" if full else "failed", reason=str(error), exit_code=1)
        self._say_how_it_ended(end)
        return 1

    def _say_how_it_ended(self, end: RunEnded) -> None:
        said = Log(level="error", message=f"run {end.state}: {end.reason}", source="supervisor")
        self._append([said, msgspec.structs.replace(end, resumes=self._resumes())])

    def _append(self, events: list[Log | RunEnded | BackedOff]) -> None:
        with JournalWriter(self._run.journal) as journal:
            if journal.torn:
                journal.append(Log(level="warning", message=TORN, source="supervisor"))
            for event in events:
                journal.append(event)
            journal.sync()

    def _resumes(self) -> str:
        return words_or_why_not(self._run, resume_words)

    def _clear_up(self) -> None:
        run = self._run
        with suppress(OSError):
            run.pid.unlink(missing_ok=True)
            run.heartbeat.unlink(missing_ok=True)
            control.clear(run)
            outcome.clear(run)
            reserve.free(run)


def _as_asked(verdict: Again | RunEnded, number: int, *, insisted: bool) -> RunEnded:
    """An attempt that was asked to stop by a signal and ended in another way than by saving its state."""
    reason = f"signal {signal.Signals(number).name}"
    if insisted:
        return RunEnded(state="stopped", reason=f"{reason}, twice: ended at once", exit_code=0)
    if isinstance(verdict, Again):
        return RunEnded(state="stopped", reason=f"{reason}; {verdict.message}", exit_code=0)
    return verdict


def _exit_status(end: RunEnded) -> int:
    if end.exit_code is not None:
        return end.exit_code
    return 1 if end.state == "failed" else 0


def forget_empty(path: Path) -> None:
    """Remove a file that nothing was written to."""
    with suppress(OSError):
        if path.stat().st_size == 0:
            path.unlink()


def clear_abandoned(run: RunLayout) -> None:
    """Remove what a worker that was killed in the middle of a save left beside the files."""
    for folder in (run.root, *(f for s in run.stages() for f in (s.root, s.checkpoints))):
        for leftover in folder.glob(".*.tmp"):
            if leftover.name.startswith(f".{run.control.name}."):
                continue  # others than the worker write it, perhaps at this moment
            with suppress(OSError):
                leftover.unlink()


def go_back(run: RunLayout, config: RunConfig) -> None:
    """Go back to the last complete stage: the next one begins anew.

    Raises:
        StorageError: the files cannot be removed.
    """
    point = resume_point(run, config.stages)
    if point.next is not None:
        forget_exact_state(run.stage(point.next.name))


if __name__ == "__main__":
    sys.exit(main())
