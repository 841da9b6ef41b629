"""Row 1: a run that is killed again and again comes to the same bits as one that nothing happens to."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import psutil
import pytest

from logbert_engine.protocol.events import JournalEvent
from logbert_engine.rundir.aftermath import settled
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.training.plan import resume_words
from tests.faults.exact import (
    LONG,
    SMALL,
    Came,
    Size,
    Started,
    Watch,
    all_gone,
    assert_same,
    assert_whole,
    begin,
    came_to,
    complete,
    end_of,
    last_end,
    new_run,
    reference,
    team_of,
)

pytestmark = pytest.mark.row(1)
Record = Callable[[str, object], None]
When = Literal["at a step", "in a save", "at the end of an epoch", "while starting"]
WHEN: tuple[When, ...] = ("at a step", "in a save", "at the end of an epoch", "while starting")
OFTEN = (30, 35, 25, 10)
UP_TO_S = {"at a step": 0.02, "in a save": 0.005, "at the end of an epoch": 0.4, "while starting": 4.0}
"""What is added at random to the moment that is waited for."""
Whom = Literal["worker", "supervisor", "torchrun"]


@dataclass(frozen=True)
class Instant:
    """When a kill is to come, and whom it is to hit."""

    when: When
    step: int
    """Optimizer steps since stage 1 that are done by then."""
    delay_s: float
    whom: Whom


def instants(came: Came, kills: int, draw: random.Random, size: Size) -> list[Instant]:
    """Instants all over a run, more of them where there is something to be torn."""
    last = max(came.steps)
    ends = sorted({int(str(figures[-1])) for figures in came.epochs.values()})
    whom: tuple[Whom, ...] = (
        ("worker", "supervisor") if size.nproc == 1 else ("worker", "supervisor", "torchrun")
    )
    found = []
    for _ in range(kills):
        when = draw.choices(WHEN, OFTEN)[0]
        step = draw.randint(1, last - 1)
        if when == "at the end of an epoch":
            step = min(end for end in ends if end >= step)
        delay_s = draw.uniform(0, UP_TO_S[when]) * size.nproc
        victim = draw.choices(whom, (6, 2, 2)[: len(whom)])[0]
        found.append(Instant(when=when, step=step, delay_s=delay_s, whom=victim))
    return sorted(found, key=lambda instant: instant.step)


def wait_for(run: RunLayout, watch: Watch, instant: Instant, supervisor: Started) -> None:
    """Until the instant has come, or the attempt has ended."""

    def there(event: JournalEvent) -> bool:
        return bool(getattr(event, "total_step", 0) >= instant.step)

    if instant.when != "while starting":
        watch.until(there, supervisor)
    if instant.when == "in a save":
        folders = [stage.checkpoints for stage in run.stages()]
        while supervisor.poll() is None and not any(list(folder.glob(".*.tmp")) for folder in folders):
            time.sleep(0.0002)
    time.sleep(instant.delay_s)


def strike(
    supervisor: Started, size: Size, whom: Whom, draw: random.Random
) -> tuple[str, list[psutil.Process]]:
    """Kill somebody; returns whom, and all who were there. The supervisor stands in for who has not come yet."""
    team = team_of(supervisor, size)
    if team is None or whom == "supervisor":
        supervisor.kill()
        return "supervisor", team.all() if team else []
    victim = draw.choice(list(team.ranks.values())) if whom == "worker" else team.agent
    assert victim is not None
    try:
        victim.kill()
    except psutil.NoSuchProcess:  # it has just ended by itself
        return "nobody", team.all()
    return whom, team.all()


def killed_over_and_over(run: RunLayout, came: Came, kills: int, seed: int, size: Size) -> Counter[str]:
    """Bring a run to its end through so many kills; returns whom they hit, and when."""
    draw = random.Random(seed)
    tally: Counter[str] = Counter()
    planned = instants(came, kills, draw, size)
    while tally["kills"] < kills:
        instant = planned[tally["kills"]]
        watch = Watch(run)
        supervisor = begin(run)
        wait_for(run, watch, instant, supervisor)
        over = supervisor.poll() is not None
        whom, team = ("nobody", []) if over else strike(supervisor, size, instant.whom, draw)
        if whom == "supervisor" and draw.random() < 0.5:
            settled(run, resume_words)  # somebody looks at once, and writes how it ended
        end_of(supervisor)
        all_gone(team)
        assert_whole(run)
        if whom == "nobody":  # all was done before the instant came: the rest falls into the start
            assert last_end(run).state == "finished"
            planned = [Instant("while starting", 0, draw.uniform(0, 1), i.whom) for i in planned]
            continue
        if whom != "supervisor" and run.journal.exists():
            assert last_end(run).state in ("failed", "finished")
        tally.update(["kills", f"of the {whom}", instant.when])
    complete(run)
    return tally


@pytest.mark.parametrize(
    ("size", "kills"),
    [(SMALL, 5), pytest.param(LONG, 200, marks=[pytest.mark.slow, pytest.mark.timeout(4 * 3600)])],
)
def test_a_run_killed_at_random_instants_comes_to_the_same_bits(
    real_run: RunLayout,
    tmp_path_factory: pytest.TempPathFactory,
    size: Size,
    kills: int,
    record_property: Record,
) -> None:
    undisturbed = reference(tmp_path_factory, size, within_s=1800)
    new_run(tmp_path_factory, real_run, size)
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    tally = killed_over_and_over(real_run, undisturbed, kills, seed, size)
    print(dict(tally))
    found = came_to(real_run)
    assert_same(found, undisturbed)
    record_property("kills", tally["kills"])
    record_property("steps compared", len(found.steps))


@pytest.mark.slow
@pytest.mark.timeout(2 * 3600)
def test_two_ranks_killed_at_random_instants_come_to_the_same_bits(
    real_run: RunLayout, tmp_path_factory: pytest.TempPathFactory, record_property: Record
) -> None:
    size = SMALL._replace(nproc=2)
    undisturbed = reference(tmp_path_factory, size, within_s=1800)
    new_run(tmp_path_factory, real_run, size)
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    tally = killed_over_and_over(real_run, undisturbed, 20, seed, size)
    print(dict(tally))
    assert_same(came_to(real_run), undisturbed)
    record_property("kills of two ranks", tally["kills"])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_three_ranks_come_to_the_same_bits_after_a_kill(
    real_run: RunLayout, tmp_path_factory: pytest.TempPathFactory, record_property: Record
) -> None:
    size = SMALL._replace(nproc=3)
    undisturbed = reference(tmp_path_factory, size, within_s=1800)
    new_run(tmp_path_factory, real_run, size)
    watch = Watch(real_run)
    supervisor = begin(real_run)
    assert watch.until_step(20, supervisor)
    team = team_of(supervisor, size)
    assert team is not None
    team.ranks[2].send_signal(signal.SIGKILL)
    end_of(supervisor)
    assert "rank 2 was killed" in last_end(real_run).reason
    complete(real_run)
    assert_same(came_to(real_run), undisturbed)
    record_property("kills of three ranks", 1)
