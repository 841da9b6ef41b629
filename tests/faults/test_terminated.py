"""Row 14: SIGTERM, to whomever it is sent and however often: the exact state is saved within 10 s, exit status 0."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

from logbert_engine.protocol.events import RunOpened
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from tests.faults.exact import (
    SMALL,
    Size,
    Started,
    Team,
    all_gone,
    assert_same,
    assert_whole,
    begin,
    came_to,
    complete,
    end_of,
    goes_on_exactly,
    is_exact,
    last_end,
    new_run,
    reference,
    send,
    slow_import,
    until_imports,
    until_trains,
    whole_team,
)
from tests.faults.harness import Fault, command, environment, eventually, none_left, train_words, trains

pytestmark = [pytest.mark.row(14), pytest.mark.timeout(1200)]
Record = Callable[[str, object], None]
Send = Callable[[RunLayout, Team], None]
TWO = SMALL._replace(nproc=2)
WITHIN_S = 10.0


def is_stopped(run: RunLayout, team: Team, supervisor: Started, begun: float) -> float:
    """Assert that a run has ended as one that was asked to by SIGTERM; returns the seconds that it took."""
    status = end_of(supervisor)
    took = time.monotonic() - begun
    all_gone(team.all())
    end = last_end(run)
    assert (status, end.state, end.reason, end.exit_code) == (0, "stopped", "signal SIGTERM", 0)
    assert_whole(run)
    return took


def to_the_pid_file(run: RunLayout, team: Team) -> None:
    """As ``kill $(cat progressive_training.pid)`` does."""
    os.kill(int(run.pid.read_text()), signal.SIGTERM)


def to_the_worker(run: RunLayout, team: Team) -> None:
    """To one process alone."""
    team.ranks[0].send_signal(signal.SIGTERM)


def to_all(run: RunLayout, team: Team) -> None:
    """As SLURM does."""
    send(signal.SIGTERM, team.all())


def to_the_group_twice(run: RunLayout, team: Team) -> None:
    """As a shell and a job control that both do their duty."""
    os.killpg(os.getpgid(team.supervisor.pid), signal.SIGTERM)
    send(signal.SIGTERM, [team.supervisor, *team.ranks.values()])


def stopped(run: RunLayout, size: Size, ways: Sequence[Send], record_property: Record) -> None:
    """Start a run and stop it, in one way after the other."""
    slowest = 0.0
    for way in ways:
        supervisor = begin(run)
        until_trains(run, supervisor)
        team = whole_team(supervisor, size)
        begun = time.monotonic()
        way(run, team)
        slowest = max(slowest, is_stopped(run, team, supervisor, begun))
        assert is_exact(run)
    print(f"stopped within {slowest:.1f} s")
    record_property("stopped within", f"{slowest:.1f} s")
    assert slowest < WITHIN_S


WAYS = [to_the_pid_file, to_the_worker, to_all, to_the_group_twice]


@pytest.mark.parametrize(
    "ways", [[to_the_worker, to_the_group_twice], pytest.param(WAYS * 2, marks=pytest.mark.slow)], ids=len
)
def test_a_lone_worker_saves_its_exact_state_whoever_is_told(
    real_run: RunLayout, tmp_path_factory: pytest.TempPathFactory, ways: list[Send], record_property: Record
) -> None:
    undisturbed = reference(tmp_path_factory, SMALL)
    new_run(tmp_path_factory, real_run, SMALL)
    stopped(real_run, SMALL, ways, record_property)
    complete(real_run)
    assert goes_on_exactly(real_run)
    assert_same(came_to(real_run), undisturbed)


def test_two_ranks_save_their_exact_state_when_every_process_is_told_at_once(
    real_run: RunLayout, tmp_path_factory: pytest.TempPathFactory, record_property: Record
) -> None:
    new_run(tmp_path_factory, real_run, TWO)
    stopped(real_run, TWO, [to_all], record_property)


@pytest.mark.slow
def test_two_ranks_save_their_exact_state_whoever_is_told(
    real_run: RunLayout, tmp_path_factory: pytest.TempPathFactory, record_property: Record
) -> None:
    undisturbed = reference(tmp_path_factory, TWO)
    new_run(tmp_path_factory, real_run, TWO)
    stopped(real_run, TWO, [to_all, to_the_pid_file, to_the_group_twice, to_all], record_property)
    complete(real_run)
    assert goes_on_exactly(real_run)
    assert_same(came_to(real_run), undisturbed)


def test_a_second_signal_that_is_noticed_late_does_not_cut_off_the_save(
    real_run: RunLayout, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The worker is told by two ways at once, and the system keeps it from noticing the second one for a while."""
    new_run(tmp_path_factory, real_run, SMALL)
    # The state is being written when the worker has noticed the first signal.
    asked = "args[0]._context.wishes._signal is not None"
    at = "logbert_engine.training.stage:StageTrainer._save_exact"
    slow_save = Fault(at, "sleep", tmp_path / "marks", when=asked, amount=0.5)
    supervisor = begin(real_run, environment(slow_save))
    until_trains(real_run, supervisor)
    team = whole_team(supervisor, SMALL)
    begun = time.monotonic()
    to_the_worker(real_run, team)
    eventually(slow_save.happened, "the worker saves its state")
    worker = team.ranks[0]
    worker.suspend()
    eventually(lambda: worker.status() == psutil.STATUS_STOPPED, "it stands still")
    to_the_pid_file(real_run, team)
    eventually(lambda: time.monotonic() > begun + 2.5, "it is later than a second request would be taken for")
    worker.resume()
    is_stopped(real_run, team, supervisor, begun)
    assert is_exact(real_run)


def test_a_worker_that_does_not_react_ends_when_one_insists(
    real_run: RunLayout, tmp_path_factory: pytest.TempPathFactory
) -> None:
    new_run(tmp_path_factory, real_run, SMALL)
    supervisor = begin(real_run)
    until_trains(real_run, supervisor)
    team = whole_team(supervisor, SMALL)
    team.ranks[0].suspend()
    begun = time.monotonic()
    to_the_pid_file(real_run, team)
    eventually(lambda: time.monotonic() > begun + 2.5, "the second signal is another request")
    to_the_pid_file(real_run, team)
    assert end_of(supervisor) == 0
    all_gone(team.all())
    end = last_end(real_run)
    assert (end.state, end.reason) == ("stopped", "signal SIGTERM, twice: ended at once")
    assert_whole(real_run)


@pytest.mark.parametrize(("number", "state"), [(signal.SIGTERM, "stopped"), (signal.SIGINT, "paused")])
def test_the_command_in_the_foreground_ends_when_the_exact_state_is_saved(
    real_run: RunLayout, sessions: Path, number: int, state: str
) -> None:
    """As systemd, Slurm and containers end the one process that they know, and kill the others after it."""
    words = train_words(sessions, real_run.root, "--epochs-per-stage", "2000", "--foreground")
    with subprocess.Popen(
        command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as foreground:
        eventually(lambda: trains(real_run), "it trains")
        begun = time.monotonic()
        foreground.send_signal(number)
        assert foreground.wait(WITHIN_S) == 128 + number
    print(f"{state} within {time.monotonic() - begun:.1f} s")
    none_left(real_run, within_s=0.0)
    assert last_end(real_run).state == state
    assert is_exact(real_run)


@pytest.mark.parametrize("way", [to_the_pid_file, to_the_worker])
def test_a_worker_that_still_imports_torch_ends_the_run_as_stopped_too(
    real_run: RunLayout, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, way: Send
) -> None:
    new_run(tmp_path_factory, real_run, SMALL)
    importing = slow_import(tmp_path, SMALL)
    supervisor = begin(real_run, environment(importing))
    until_imports(importing, SMALL)
    team = whole_team(supervisor, SMALL)
    begun = time.monotonic()
    way(real_run, team)
    assert is_stopped(real_run, team, supervisor, begun) < WITHIN_S
    assert not [event for event in read_journal(real_run.journal) if isinstance(event, RunOpened)]


@pytest.mark.slow
def test_ranks_that_still_import_torch_end_the_run_as_stopped_too(
    real_run: RunLayout, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    new_run(tmp_path_factory, real_run, TWO)
    importing = slow_import(tmp_path, TWO, seconds=2.0)
    supervisor = begin(real_run, environment(importing))
    until_imports(importing, TWO)
    team = whole_team(supervisor, TWO)
    to_all(real_run, team)
    assert end_of(supervisor) == 0
    all_gone(team.all())
    assert last_end(real_run).state == "stopped"
