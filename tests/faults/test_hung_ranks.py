"""Row 26: a process that hangs is found by the watchdog; the run goes on by itself, to the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from logbert_engine.protocol.events import Log, RunOpened
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from tests.faults.exact import (
    SMALL,
    Size,
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
    until_trains,
    whole_team,
)
from tests.faults.harness import Fault, environment, without_gap

pytestmark = [pytest.mark.row(26), pytest.mark.timeout(1200)]
Record = Callable[[str, object], None]
LIMIT_S = 6.0
LIMIT = f"workers.hang_minutes={LIMIT_S / 60}"
AGREE = "logbert_engine.training.team:Team.agree"
IN_STEP = "len(args) == 4"
"""The call of ``agree`` that each step makes, right after a sign of life."""


def hangs(run: RunLayout) -> list[str]:
    """What the supervisor said of hangs after which it started the run again."""
    return [
        event.message
        for event in read_journal(run.journal)
        if isinstance(event, Log) and event.message.startswith("no sign of life for ")
    ]


def attempts(run: RunLayout) -> int:
    return sum(isinstance(event, RunOpened) for event in read_journal(run.journal))


@pytest.mark.parametrize(
    ("size", "rank", "times"),
    [
        (SMALL._replace(nproc=2), 1, 1),
        pytest.param(SMALL, 0, 1, marks=pytest.mark.slow),
        pytest.param(SMALL, 0, 4, marks=pytest.mark.slow),
        pytest.param(SMALL._replace(nproc=2), 0, 2, marks=pytest.mark.slow),
        pytest.param(SMALL._replace(nproc=2), 1, 6, marks=pytest.mark.slow),
    ],
    ids=lambda value: None,
)
def test_a_process_that_stands_still_is_found_a_slow_one_is_not_and_the_run_goes_on_to_the_same_bits(
    real_run: RunLayout,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    size: Size,
    rank: int,
    times: int,
    record_property: Record,
) -> None:
    undisturbed = reference(tmp_path_factory, size)
    new_run(tmp_path_factory, real_run, size, LIMIT)
    # A step that is merely slow is not taken for a hang.
    slow = Fault(AGREE, "sleep", tmp_path / "marks", when=IN_STEP, step=2, times=2, amount=LIMIT_S / 2)
    supervisor = begin(real_run, environment(slow))
    watch = Watch(real_run)
    assert watch.until_step(5, supervisor)
    assert (len(slow.happened()), attempts(real_run), hangs(real_run)) == (2, 1, [])
    for _ in range(times):
        until_trains(real_run, supervisor)
        team = whole_team(supervisor, size)
        team.ranks[rank].suspend()
        all_gone([*filter(None, [team.agent]), *team.ranks.values()], within_s=LIMIT_S + 20)
    assert end_of(supervisor) == 0
    found = hangs(real_run)
    assert len(found) >= times
    assert found[0].endswith("the worker hangs and is started again")
    assert attempts(real_run) == len(found) + 1
    assert last_end(real_run).state == "finished"
    assert_same(came_to(real_run), undisturbed)
    record_property("hangs", times)


@pytest.mark.slow
def test_a_run_that_hangs_again_and_again_without_a_step_between_fails_clearly(
    real_run: RunLayout, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    undisturbed = reference(tmp_path_factory, SMALL)
    new_run(tmp_path_factory, real_run, SMALL, LIMIT)
    hang = Fault(AGREE, "sleep", tmp_path / "marks", when=IN_STEP, times=3)
    supervisor = begin(real_run, environment(hang))
    assert end_of(supervisor) == 1
    assert len(hang.happened()) == 3
    end = last_end(real_run)
    assert end.state == "failed"
    assert end.reason.startswith("no sign of life for ")
    assert "3 times in a row without a step between" in end.reason
    assert without_gap(list(read_journal(real_run.journal)))
    assert_whole(real_run)
    complete(real_run)
    assert_same(came_to(real_run), undisturbed)


@pytest.mark.slow
def test_a_rank_that_stands_still_while_the_others_save_is_found_too(
    real_run: RunLayout, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Rank 0 waits for the random states of all, and must not be taken for one who is at work on a file."""
    size = SMALL._replace(nproc=2)
    undisturbed = reference(tmp_path_factory, size)
    new_run(tmp_path_factory, real_run, size, LIMIT)
    at = "logbert_engine.training.random_states:capture"
    hang = Fault(at, "sleep", tmp_path / "marks", rank=1, step=5)
    supervisor = begin(real_run, environment(hang))
    assert end_of(supervisor) == 0
    assert len(hang.happened()) == 1
    assert len(hangs(real_run)) == 1
    assert_same(came_to(real_run), undisturbed)
