"""What an attempt's end means: the run is over, or it is worth another attempt, and under which terms."""

from __future__ import annotations

import signal as signals
from dataclasses import dataclass, field

from logbert_engine.protocol.events import BackedOff, RunEnded
from logbert_engine.protocol.runstate import RunState
from logbert_engine.rundir.aftermath import death_in_words
from logbert_engine.rundir.outcome import AGENT, LEFT_WORD, Outcome

MOST_HANGS = 3
"""Hung attempts in a row without a step between them, after which it is no use."""


@dataclass(frozen=True)
class End:
    """How the processes of an attempt ended."""

    status: int
    """Exit status of the worker or of torchrun; negative for a signal."""
    state: RunState
    """The run as its journal tells it now."""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """What the processes left behind, by who left it."""
    out_of_memory: str | None = None
    """Where the kernel killed a process for memory while the attempt ran: ``cgroup`` or ``machine``."""
    said: str = ""
    """The last line on standard error."""
    hung_s: float | None = None
    """Seconds without a sign of life after which it was killed."""
    hangs: int = 0
    """Attempts in a row, this one included, that hung without a step between them."""
    nproc: int = 1
    """How many processes were to train together."""


@dataclass(frozen=True)
class Again:
    """Another attempt is worth it."""

    message: str
    backed_off: BackedOff | None = None


def judge(end: End) -> Again | RunEnded:
    """Decide what comes after an attempt that did not say itself how it ended."""
    if end.hung_s is not None:
        return _hung(end)
    ran_out = next((o for o in end.outcomes.values() if o.kind == "out_of_memory"), None)
    if ran_out is not None:
        if not ran_out.in_step:
            return _failed(end, f"{ran_out.message}; a smaller micro-batch would not help there")
        return _back_off(end, "out_of_memory", ran_out.message, ran_out.step)
    if -end.status in (signals.SIGTERM, signals.SIGINT):  # before it listened: it had nothing to save yet
        return RunEnded(state="stopped", reason=f"signal {signals.Signals(-end.status).name}", exit_code=0)
    killed = _killed(end)
    if killed is not None and end.out_of_memory is not None:
        whose = "of its control group" if end.out_of_memory == "cgroup" else "of the machine"
        return _back_off(
            end, "killed", f"out of host memory: the kernel killed {killed}, as the memory {whose} ran out"
        )
    failed = next((o for o in end.outcomes.values() if o.kind == "failed"), None)
    if failed is not None:
        return _failed(end, failed.message)
    first = _first_of_ranks(end)
    if first is not None:
        return _failed(end, _death(f"rank {first[0]}", first[1], end.said))
    if killed is not None and end.nproc > 1:
        return _failed(end, _death(killed, -signals.SIGKILL))
    return _failed(end, death_in_words(max(0, end.status), -end.status if end.status < 0 else None, end.said))


def _hung(end: End) -> Again | RunEnded:
    found = f"no sign of life for {end.hung_s:,.0f} s"
    if end.hangs >= MOST_HANGS:
        return _failed(
            end,
            f"{found}, {end.hangs} times in a row without a step between; the worker was killed each time",
        )
    return Again(f"{found}: the worker hangs and is started again")


def _back_off(end: End, cause: str, message: str, step: int | None = None) -> Again | RunEnded:
    state, stage = end.state, end.state.current()
    if state.phase != "training" or stage is None or not state.micro_batch:
        fewer_of = (
            "fewer processes (--nproc), files (--max-files)" if end.nproc > 1 else "fewer files (--max-files)"
        )
        return _failed(end, f"{message}, before training began; {fewer_of} or sessions need less")
    if state.micro_batch == 1:
        return _failed(
            end,
            f"{message}, with a single session on the device at once; take a smaller model, shorter inputs "
            "(--set model.max_length=…) or a machine with more memory",
        )
    fewer = -(-state.micro_batch // 2)
    sessions = "session" if fewer == 1 else "sessions"
    return Again(
        f"{message}; going on with {fewer} {sessions} at once instead of {state.micro_batch}",
        BackedOff(
            stage=state.stage,
            step=stage.step if step is None else step,
            micro_batch=fewer,
            before=state.micro_batch,
            cause="killed" if cause == "killed" else "out_of_memory",
            message=message,
            device=state.device,
            world_size=state.world_size,
        ),
    )


def _killed(end: End) -> str | None:
    """Who was ended by SIGKILL, in words; None when nobody was."""
    if AGENT in end.outcomes:
        first = _first_of_ranks(end)
        return f"rank {first[0]}" if first is not None and first[1] == -signals.SIGKILL else None
    if end.status != -signals.SIGKILL:
        return None
    return "the worker" if end.nproc == 1 else "torchrun"


def _first_of_ranks(end: End) -> tuple[int, int] | None:
    """The rank that ended first without leaving a word, and its exit status; None where there is none.

    torchrun kills those who do not leave by themselves after it.
    """
    agent = end.outcomes.get(AGENT)
    ended = agent.statuses.items() if agent is not None else ()
    return next(((rank, status) for rank, status in ended if status != LEFT_WORD), None)


def _death(who: str, status: int, said: str = "") -> str:
    if status == -signals.SIGKILL:
        return f"{who} was killed ({_name(status)})"  # what was said last comes from others
    words = f"{who} was killed ({_name(status)})" if status < 0 else f"{who} ended with exit status {status}"
    return f"{words}: {said}" if said else words


def _failed(end: End, reason: str) -> RunEnded:
    code = end.status if end.status > 0 else None
    return RunEnded(
        state="failed",
        reason=reason,
        exit_code=1 if code == LEFT_WORD else code,  # which is a word between our processes
        signal=-end.status if end.status < 0 else None,
    )


def _name(status: int) -> str:
    try:
        return f"signal {-status}, {signals.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"
