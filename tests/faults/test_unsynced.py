"""Row 6: the disk loses everything that was not synced, after any operation. What was saved is there."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from logbert_engine.models.payload import newest_payload
from logbert_engine.protocol.errors import CheckpointError
from logbert_engine.rundir.checksums import remove_checked
from logbert_engine.rundir.layout import StageLayout
from tests.faults.disk import Noting, watched
from tests.faults.models import SAVES, Saved, read_state
from tests.faults.volatile import VolatileDisk, make, worth_reading

pytestmark = pytest.mark.row(6)

FOLLOWING = 7
Seen = Callable[[str, object], None]


def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """As exFAT and some network file systems answer."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)


def stage_with(tmp_path: Path, saved: Saved, generations: int) -> StageLayout:
    stage = StageLayout(tmp_path / "run" / "stage_1_10pct")
    stage.checkpoints.mkdir(parents=True)
    saved.prepare(stage)
    for number in range(1, generations + 1):
        saved.save(stage, number)
    return stage


def failures(
    stage: StageLayout, work: Callable[[], None], copy: Path
) -> Iterator[tuple[str, StageLayout, bool]]:
    """Do something, and go through what the disk holds if the power fails after any operation of it.

    Yields:
        When and what, in words; the stage as it is left; whether the work was done. States that no reader can
        tell apart come once.
    """
    run = stage.root.parent
    disk = VolatileDisk(run)
    noting = Noting()
    with watched(run, noting):
        work()
    met = set()
    for number, operation in enumerate([None, *noting.seen]):
        if operation is not None:
            disk.apply(operation)
        done = number == len(noting.seen)
        for words, state in disk.states():
            key = (worth_reading(state), done)
            if key not in met:
                met.add(key)
                make(state, copy)
                yield f"after {operation}: {words}", StageLayout(copy / stage.name), done


@pytest.mark.parametrize("generations", [2, 0])
@pytest.mark.parametrize("name", SAVES)
def test_the_old_or_the_new_file_is_there_after_any_power_failure(
    tmp_path: Path, record_property: Seen, name: str, generations: int
) -> None:
    saved, new = SAVES[name], generations + 1
    stage = stage_with(tmp_path, saved, generations)
    found = set()
    count = 0
    for words, left, done in failures(stage, lambda: saved.save(stage, new), tmp_path / "left"):
        number = saved.read(left)
        gone_between_renames = name == "best_model" and not left.exported.exists()
        assert number == new if done else number in (generations, new) or gone_between_renames, words
        saved.save(left, FOLLOWING)
        assert saved.read(left) == FOLLOWING, words
        found.add(number)
        count += 1
    assert {generations, new} <= found
    assert count > 5
    record_property("power failures", count)


def test_a_file_system_without_hard_links_keeps_one_of_the_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Seen
) -> None:
    saved = SAVES["resume.pt"]
    stage = stage_with(tmp_path, saved, 2)
    without_links(monkeypatch)
    found, count = set(), 0
    for words, left, done in failures(stage, lambda: saved.save(stage, 3), tmp_path / "left"):
        payload, path, _ = newest_payload([left.resume, left.resume_previous], "resume")
        assert payload["step"] in ((3,) if done else (2, 3)), words
        found.add((payload["step"], path.name))
        saved.save(left, FOLLOWING)
        assert saved.read(left) == FOLLOWING
        count += 1
    assert found == {(2, "resume.pt"), (2, "resume.previous.pt"), (3, "resume.pt")}
    record_property("power failures", count)


def test_a_damaged_state_that_nobody_has_noticed_does_not_cost_the_whole_one(
    tmp_path: Path, record_property: Seen
) -> None:
    """It takes the place of the one before it only when the new one is safe."""
    saved = SAVES["resume.pt"]
    stage = stage_with(tmp_path, saved, 2)
    content = bytearray(stage.resume.read_bytes())
    content[len(content) // 2] ^= 1
    stage.resume.write_bytes(content)
    found, count = set(), 0
    for words, left, done in failures(stage, lambda: saved.save(stage, 3), tmp_path / "left"):
        step, _ = read_state(left)
        assert step == 3 if done else step in (1, 3), words
        found.add(step)
        count += 1
    assert found == {1, 3}
    record_property("power failures", count)


def test_the_first_file_of_a_stage_brings_its_folders_with_it(tmp_path: Path, record_property: Seen) -> None:
    stage = StageLayout(tmp_path / "run" / "stage_1_10pct")
    stage.root.parent.mkdir()

    def work() -> None:
        stage.logs.mkdir(parents=True)  # as the log of a stage makes it, which syncs nothing
        SAVES["best_model.pt"].save(stage, 1)

    count = 0
    for words, left, done in failures(stage, work, tmp_path / "left"):
        number = SAVES["best_model.pt"].read(left)
        assert number == 1 if done else number in (0, 1), words
        count += 1
    record_property("power failures", count)


def test_a_state_that_is_removed_is_whole_or_gone(tmp_path: Path, record_property: Seen) -> None:
    saved = SAVES["resume.pt"]
    stage = stage_with(tmp_path, saved, 2)
    found, count = set(), 0
    work = partial(remove_checked, stage.resume_previous, stage.resume)
    for words, left, done in failures(stage, work, tmp_path / "left"):
        there = left.resume.exists() or left.resume_previous.exists()
        number = read_state(left)[0] if there else 0
        assert number == 0 if done else number in (0, 1, 2), words
        found.add(number)
        count += 1
    assert {0, 2} <= found
    record_property("power failures", count)


def test_a_disk_that_is_told_to_sync_nothing_loses_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fake disk is worth something only if it finds a save that does not sync."""
    saved = SAVES["resume.pt"]
    stage = stage_with(tmp_path, saved, 2)
    monkeypatch.setattr("logbert_engine.rundir.atomic.sync_file", lambda descriptor: None)

    def read_all() -> None:
        for _, left, _ in failures(stage, lambda: saved.save(stage, 3), tmp_path / "left"):
            saved.read(left)

    with pytest.raises((CheckpointError, AssertionError)):
        read_all()
