"""Follow a run from the command line: its journal as lines, and its end as an exit status."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TextIO

from logbert_engine.protocol import figures_in_words, wording
from logbert_engine.protocol.events import (
    BackedOff,
    DataReady,
    EpochEnded,
    Expected,
    Health,
    JournalEvent,
    Log,
    Metric,
    Progress,
    RunOpened,
    StageEnded,
    StageStarted,
)
from logbert_engine.protocol.runstate import RunState
from logbert_engine.rundir import control
from logbert_engine.rundir.aftermath import record_death, taken_by_another, words_or_why_not
from logbert_engine.rundir.journal import JournalReader
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.training.plan import resume_words
from logbert_engine.training.results import duration, read_results, stage_table

_LOOK_SECONDS = 0.2


class _Lines:
    """Events as lines; in a terminal the running figures renew themselves on the last one."""

    def __init__(self, out: TextIO, state: RunState) -> None:
        self._out, self._state = out, state
        self._live = out.isatty()
        self._data = ""
        self._warning = ""

    def show(self, event: JournalEvent) -> None:
        """Write what a person would want to see of an event."""
        match event:
            case RunOpened():
                self._opened(event)
            case Log(level="warning"):  # an error ends the run: its reason is said last
                self._warning = event.message
                self._line(f"warning: {event.message}")
            case BackedOff():  # why was said before it
                self._line(f"  {wording.micro_batch(self._state)}")
            case Health(finding="recovered"):
                self._line(f"  {wording.FINDINGS[event.finding]}: {event.message}")
            case Health() if event.message != self._warning:
                self._line(f"warning: {wording.FINDINGS[event.finding]}: {event.message}")
            case DataReady():
                self._data_ready(event)
            case Expected():
                self._line(f"expected: {figures_in_words.expected(event.stages)}")
            case StageStarted():
                self._stage_started(event)
            case EpochEnded():
                best = " (best)" if event.best else ""
                self._line(
                    f"  epoch {event.epoch}: train {_figure(event.train_loss)} "
                    f"valid {_figure(event.valid_loss)}{best}, {duration(event.seconds)}"
                )
            case StageEnded():
                self._line(f"  complete in {duration(event.seconds)}: {event.checkpoint}")
            case Progress() if self._live:
                self._renew(f"{event.phase} {event.done / max(1.0, event.total):.0%}")
            case Metric() if self._live:
                left = self._state.time_left()[1]
                rest = f", {duration(left)} left" if left is not None else ""
                self._renew(
                    f"  step {event.step:,}/{event.steps:,} loss {_figure(event.loss)}, "
                    f"{event.sessions_per_s or 0:,.0f} sessions/s{rest}"
                )
            case _:
                pass

    def _opened(self, event: RunOpened) -> None:
        """Nothing of a first attempt of one process: that is what was asked for."""
        together = wording.processes(event.world_size)
        ranks = f"{together} on {event.device}" if together else ""
        if event.attempt > 1:
            picks_up = f": {event.resumes}" if event.resumes else ""
            self._line(f"attempt {event.attempt}{f', {ranks}' if ranks else ''}{picks_up}")
        elif ranks:
            self._line(ranks)

    def _data_ready(self, event: DataReady) -> None:
        """Later attempts find the same data, as a rule; it is said when they do not."""
        text = (
            f"{event.files} files, {event.sessions:,} sessions ({event.unique:,} distinct), "
            f"{event.events} events; training on {event.train:,}, held out {event.valid:,}"
        )
        if text != self._data:
            self._data = text
            self._line(text)

    def _stage_started(self, event: StageStarted) -> None:
        plan = self._state.stages[event.stage - 1].plan
        at = f" after step {event.step}" if event.step else ""
        fewer = f", {wording.micro_batch(self._state)}" if self._state.back_off is not None else ""
        self._line(
            f"{plan.name}: {plan.sessions:,} sessions, {plan.steps:,} steps{at}, from {event.parent}{fewer}"
        )

    def _line(self, text: str) -> None:
        self._out.write(f"\r\x1b[K{text}\n" if self._live else f"{text}\n")
        self._out.flush()

    def _renew(self, text: str) -> None:
        self._out.write(f"\r\x1b[K{text}")
        self._out.flush()


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


class _Asked:
    """Signals that ask for the run's end, passed on to its supervisor, each once.

    Ctrl-C pauses the run. SIGTERM, which systemd, Slurm and containers send to those whom they will soon kill, goes
    to the supervisor as it is: that ends what still imports torch or waits for a download, too.
    """

    def __init__(self, run: RunLayout, process: subprocess.Popen[bytes]) -> None:
        self._run, self._process = run, process
        self._heard: list[int] = []
        self._told: set[int] = set()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear them for the length of the block, but those that whoever started us wants ignored."""
        numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._hear) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def status(self) -> int:
        """The exit status of a command that a signal has ended; 0 when none came."""
        return 128 + self._heard[-1] if self._heard else 0

    def pass_on(self) -> None:
        """Tell the supervisor, as soon as it listens: it clears requests to the one before it when it starts."""
        for number in set(self._heard) - self._told:
            if not self._supervisor_listens():
                return
            self._told.add(number)
            if number == signal.SIGINT:
                control.request(self._run, "pause")
                print("\npausing: the exact state is being saved", file=sys.stderr)
            else:
                self._process.send_signal(number)
                print("stopping: the exact state is being saved", file=sys.stderr)

    def _supervisor_listens(self) -> bool:
        try:
            return self._run.pid.read_text() == f"{self._process.pid}\n"
        except FileNotFoundError:
            return False

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self._heard.append(number)


def follow(run: RunLayout, process: subprocess.Popen[bytes], out: TextIO, after_seq: int) -> int:
    """Show a run until its supervisor has ended, over all attempts. Ctrl-C pauses it, SIGTERM stops it.

    Args:
        run: its directory.
        process: its supervisor, a child of this process.
        out: where lines go.
        after_seq: the journal's last ``seq`` when the supervisor was started.

    Returns:
        The supervisor's exit status; 1 when a signal ended it; 128 and the number of the signal to this process that
        ended the run.
    """
    reader, state = JournalReader(run.journal), RunState()
    lines = _Lines(out, state)
    asked = _Asked(run, process)

    def take_in() -> None:
        for event in reader.read():
            state.apply(event)
            if event.seq > after_seq:
                lines.show(event)

    code: int | None = None
    with asked.listening():
        while code is None:
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(_LOOK_SECONDS)
            asked.pass_on()
            take_in()
    if code and (taken := taken_by_another(run, process.pid)):
        print(f"logbert-engine: {taken}", file=sys.stderr)
        return 1
    if state.ended is None or state.ended.seq <= after_seq:
        record_death(
            run,
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            resumes=words_or_why_not(run, resume_words),
            after_seq=after_seq,
        )
        take_in()
    status = _verdict(run, state, code, out)
    return status or (asked.status() if state.phase in ("paused", "stopped") else 0)


def _verdict(run: RunLayout, state: RunState, code: int, out: TextIO) -> int:
    results = read_results(run)
    if results is not None:
        print(f"\n{stage_table(results)}\n", file=out)
    if state.phase == "failed" or code != 0:
        gone = "" if run.config.exists() else f"{run.root} has been removed while it was trained"
        reason = gone or state.reason or f"the process ended with status {code}"
        before = "paused: " if state.phase == "paused" else ""
        print(f"logbert-engine: {before}{reason}", file=sys.stderr)
    if state.phase in ("paused", "stopped", "failed"):
        where = f"  ({state.resumes})" if state.resumes else ""
        print(f"{state.phase}; go on with: logbert-engine resume {run.root}{where}", file=out)
    if state.phase == "failed" or code != 0:
        return code if code > 0 else 1
    return 0
