"""Row 3: torchrun, a rank or the supervisor is killed. No process is left, the run says who it was, and goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from logbert_engine.rundir.aftermath import settled
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.lock import holder
from logbert_engine.training.plan import resume_words
from tests.faults.exact import (
    SMALL,
    Started,
    Team,
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
    slow_import,
    until_imports,
    until_trains,
    whole_team,
)
from tests.faults.harness import environment, none_left

pytestmark = [pytest.mark.row(3), pytest.mark.timeout(1200)]
Record = Callable[[str, object], None]
TWO = SMALL._replace(nproc=2)


def is_killed(run: RunLayout, team: Team, victim: psutil.Process, supervisor: Started) -> float:
    """Kill one of the processes; returns the seconds until none of them was left."""
    victim.kill()
    took = all_gone([p for p in team.all() if p != team.supervisor])
    end_of(supervisor)
    none_left(run, team.all())
    assert_whole(run)
    if victim == team.supervisor:  # nobody of the run is left to say it: whoever looks next does
        assert holder(run) is None
        settled(run, resume_words)
    return took


SAID = {
    "rank 0": "rank 0 was killed (signal 9, SIGKILL)",
    "rank 1": "rank 1 was killed (signal 9, SIGKILL)",
    "torchrun": "torchrun was killed (signal 9, SIGKILL)",
    "the supervisor": "the worker ended without a word: killed",
}


@pytest.mark.row(1)
@pytest.mark.parametrize(
    "victims",
    [
        ["rank 1", "torchrun"],
        pytest.param([*SAID] * 3, marks=[pytest.mark.slow, pytest.mark.timeout(2 * 3600)]),
    ],
    ids=len,
)
def test_no_process_outlives_one_of_a_team_that_is_killed_and_the_run_goes_on_to_the_same_bits(
    real_run: RunLayout,
    tmp_path_factory: pytest.TempPathFactory,
    victims: list[str],
    record_property: Record,
) -> None:
    undisturbed = reference(tmp_path_factory, TWO)
    new_run(tmp_path_factory, real_run, TWO)
    slowest = 0.0
    for name in victims:
        supervisor = begin(real_run)
        until_trains(real_run, supervisor, steps=2)
        team = whole_team(supervisor, TWO)
        assert team.agent is not None
        others = {"torchrun": team.agent, "the supervisor": team.supervisor}
        victim = others[name] if name in others else team.ranks[int(name.removeprefix("rank "))]
        slowest = max(slowest, is_killed(real_run, team, victim, supervisor))
        end = last_end(real_run)
        assert end.state == "failed"
        assert end.reason.startswith(SAID[name])
        assert end.resumes
    complete(real_run)
    assert_same(came_to(real_run), undisturbed)
    record_property("kills in teams", len(victims))
    record_property("none left after", f"{slowest:.1f} s")


@pytest.mark.parametrize("who", ["torchrun", "the supervisor"])
def test_ranks_that_still_import_torch_end_with_those_above_them(
    real_run: RunLayout, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, who: str
) -> None:
    new_run(tmp_path_factory, real_run, TWO)
    importing = slow_import(tmp_path, TWO)
    supervisor = begin(real_run, environment(importing))
    until_imports(importing, TWO)
    team = whole_team(supervisor, TWO)
    assert team.agent is not None
    assert is_killed(real_run, team, team.agent if who == "torchrun" else team.supervisor, supervisor) < 5
    if who == "torchrun":
        assert last_end(real_run).reason.startswith("torchrun was killed")


def test_a_lone_worker_that_still_imports_torch_ends_with_its_supervisor(
    real_run: RunLayout, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    new_run(tmp_path_factory, real_run, SMALL)
    importing = slow_import(tmp_path, SMALL)
    supervisor = begin(real_run, environment(importing))
    until_imports(importing, SMALL)
    team = whole_team(supervisor, SMALL)
    assert is_killed(real_run, team, team.supervisor, supervisor) < 5
