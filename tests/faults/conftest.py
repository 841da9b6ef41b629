"""Tests of faults: each belongs to a row of the table in ``report.py``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from logbert_engine.rundir.layout import RunLayout
from tests.daemon.conftest import engine, engine_process, follow, loop_until, run, wait_until, workers
from tests.faults.exact import end_all
from tests.faults.harness import kill_all, write_sessions
from tests.faults.report import ONLY
from tests.faults.small_runs import small_words, to_its_end, varied_sessions

__all__ = ["engine", "engine_process", "follow", "loop_until", "run", "wait_until", "workers"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The report finds a test's row among its properties, and may ask for some rows only."""
    only = {int(number) for number in os.environ.get(ONLY, "").split(",") if number}
    left_out: list[pytest.Item] = []
    for item in items:
        rows = [number for mark in item.iter_markers("row") for number in mark.args]
        item.user_properties.extend(("row", number) for number in rows)
        if only and only.isdisjoint(rows):
            left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    """A directory of session files that train in a moment."""
    return write_sessions(tmp_path / "sessions")


@pytest.fixture
def real_run(tmp_path: Path) -> Iterator[RunLayout]:
    """A directory for a run of the real worker; nothing of it outlives the test."""
    layout = RunLayout(tmp_path / "real")
    yield layout
    end_all()
    kill_all(layout)


@pytest.fixture(scope="session")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The session files of the small runs."""
    return varied_sessions(tmp_path_factory.mktemp("varied"))


@pytest.fixture(scope="session")
def undisturbed(varied: Path, tmp_path_factory: pytest.TempPathFactory) -> RunLayout:
    """A small run that nothing disturbed, in one process."""
    return _brought_to_its_end(varied, RunLayout(tmp_path_factory.mktemp("undisturbed") / "run"))


@pytest.fixture(scope="session")
def undisturbed_pair(varied: Path, tmp_path_factory: pytest.TempPathFactory) -> RunLayout:
    """The same in two ranks."""
    return _brought_to_its_end(varied, RunLayout(tmp_path_factory.mktemp("pair") / "run"), "--nproc", "2")


def _brought_to_its_end(data: Path, run: RunLayout, *more: str) -> RunLayout:
    done = to_its_end(small_words(data, run, *more))
    assert done.returncode == 0, done.stderr
    return run
