"""Waiting for a worker, from the command line: until it has ended, or until it has opened its run."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from logbert_engine.commands.patience import Patience
from logbert_engine.protocol.errors import RunError
from logbert_engine.protocol.events import RunEnded, RunOpened
from logbert_engine.protocol.runstate import RunState
from logbert_engine.rundir import control
from logbert_engine.rundir.aftermath import record_death, settled, taken_by_another, words_or_why_not
from logbert_engine.rundir.condition import Condition
from logbert_engine.rundir.control import Wish
from logbert_engine.rundir.journal import JournalReader
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import holder
from logbert_engine.rundir.processes import UNKNOWN, identify
from logbert_engine.supervision.launch import launch
from logbert_engine.training.plan import resume_words

_LOOK_S = 0.1


def layout_of(run_dir: Path) -> RunLayout:
    """The run directory that a command line names."""
    return RunLayout(run_dir.expanduser().resolve())


def look(run: RunLayout) -> Condition:
    """How a run stands; the end of a worker that is gone is journaled first.

    Raises:
        RunError: the directory holds no run.
    """
    return settled(run, resume_words)


def look_again(run: RunLayout) -> Condition:
    """As ``look``, after a worker that has journaled its end has left: that may take it a moment.

    Raises:
        RunError: the directory holds no run, or that process does not leave.
    """
    found = look(run)
    patience = Patience(run, found.holder or UNKNOWN)
    while found.holder is not None and found.state.ended is not None and found.holder.pid == found.state.pid:
        time.sleep(_LOOK_S)
        patience.check()
        found = look(run)
    return found


def end_worker(run: RunLayout, wish: Wish) -> RunState:
    """Ask the worker to pause or stop, and wait until it is gone.

    Returns:
        The state of the run after it.

    Raises:
        RunError: no run, nobody is at work on it, it does not answer, or another request started it again.
    """
    before = look(run)
    if before.holder is None:
        raise RunError(f"no worker is at work on {run.root}: the run is {before.state.phase}.")
    now = holder(run)  # to read the journal has taken a while: a worker started meanwhile is not to be ended
    if now is not None and now.pid == before.holder.pid:
        control.request(run, wish)
    patience = Patience(run, before.holder)
    while now is not None:
        if now.pid != before.holder.pid and _is_at_work(run, now.pid):
            raise RunError(
                f"the worker of {run.root} has ended, and {now} is at work on it already: "
                "another request came in between."
            )
        time.sleep(_LOOK_S)
        patience.check()
        now = holder(run)
    control.clear(run)  # a worker that died before it could has left it
    return look(run).state


def _is_at_work(run: RunLayout, pid: int) -> bool:
    """Whether a process trains the run. The lock alone does not tell: who journals an end takes it for a moment."""
    state = look(run).state
    return state.active and state.pid == pid


def start_worker(run: RunLayout, *, restart_stage: bool = False) -> RunOpened:
    """Start the worker and wait until it has opened the run; it goes on after this process.

    Raises:
        RunError: the worker ended before that, or does not answer; the message says why.
    """
    reader = JournalReader(run.journal)
    while reader.read():
        pass
    after_seq = reader.seq
    process = launch(run, restart_stage=restart_stage)
    patience = Patience(run, identify(process.pid))
    while True:
        ended = process.poll()
        events = reader.read()
        # That of another one, started at the same moment, is not ours to tell of.
        opened = next((e for e in events if isinstance(e, RunOpened) and e.pid == process.pid), None)
        if opened is not None:
            _let_go(process)
            return opened
        if ended is not None:
            raise RunError(_why(run, process, after_seq, [e for e in events if isinstance(e, RunEnded)]))
        time.sleep(_LOOK_S)
        try:
            patience.check()
        except RunError:
            _let_go(process)
            raise


def _why(run: RunLayout, process: subprocess.Popen[bytes], after_seq: int, ends: list[RunEnded]) -> str:
    if taken := taken_by_another(run, process.pid):
        return taken
    status = process.returncode
    if not ends:
        record_death(
            run,
            exit_code=status if status >= 0 else None,
            signal=-status if status < 0 else None,
            resumes=words_or_why_not(run, resume_words),
            after_seq=after_seq,
        )
    return look(run).state.reason or f"the worker of {run.root} ended before it opened the run."


def _let_go(process: subprocess.Popen[bytes]) -> None:
    """The worker outlives this process on purpose: nobody waits for it."""
    process.returncode = 0
