"""Row 7: the n-th operation on the disk fails, for all n. A clean error, and what was saved before is intact."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from logbert_engine.presets.merging import resolve
from logbert_engine.presets.runfile import read_config, write_config
from logbert_engine.protocol.errors import CheckpointError, DiskFullError, LogbertError, StorageError
from logbert_engine.protocol.events import Log
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.rundir import reserve
from logbert_engine.rundir.checksums import remove_checked
from logbert_engine.rundir.journal import JournalWriter, read_journal
from logbert_engine.rundir.layout import RunLayout, StageLayout
from logbert_engine.training.mending import mend
from logbert_engine.training.plan import complete
from tests.faults.disk import Disk, Operation, watched
from tests.faults.models import SAVES, complete_stage, read_state, seed_of_stage

pytestmark = pytest.mark.row(7)

ERRORS = [errno.ENOSPC, errno.EIO]
FOLLOWING = 7
Seen = Callable[[str, object], None]


class Failing(Disk):
    """One operation is refused, or a write after half of it; of many writes to a file a few are chosen."""

    def __init__(self, number: int, error: int) -> None:
        self._left, self._error = number, error
        self.refused = ""
        self._writes: dict[str, int] = {}

    def before(self, operation: Operation) -> None:
        if operation.kind == "write":
            self._writes[operation.path] = self._writes.get(operation.path, 0) + 1
            if self._writes[operation.path] not in (1, 2, 3, 50):
                return
        else:
            self._count(operation)

    def middle(self, operation: Operation) -> None:
        if self._writes[operation.path] in (1, 2, 3, 50):
            self._count(operation)

    def _count(self, operation: Operation) -> None:
        self._left -= 1
        if self._left == 0:
            self.refused = str(operation)
            raise OSError(self._error, os.strerror(self._error))


def refusals(root: Path, work: Callable[[], object], error: int) -> Iterator[str]:
    """Do something with one operation refused after the other, until it goes through without a refusal.

    What each leaves behind is checked by who asks; then the folder is put back as it was. An error is one that
    people can act on. Yields what was refused.
    """
    before = root.with_name("before")
    shutil.copytree(root, before)
    for number in range(1, 1000):
        disk = Failing(number, error)
        with watched(root, disk):
            refusal = _error_of(work)
        if refusal is not None:
            assert disk.refused, refusal
            assert isinstance(refusal, StorageError) or disk.refused.startswith("read "), refusal
            assert isinstance(refusal, DiskFullError) == (error == errno.ENOSPC) or (
                isinstance(refusal, CheckpointError)
            )
            assert str(root) in str(refusal)
            assert "\n" not in str(refusal)
        # Without an error the operation was one that may fail, such as removing a temporary file.
        if not disk.refused:
            assert number > 3, "nothing was refused"
            return
        yield disk.refused
        shutil.rmtree(root)
        shutil.copytree(before, root)
    pytest.fail("it never goes through")


def _error_of(work: Callable[[], object]) -> LogbertError | None:
    try:
        work()
    except LogbertError as error:
        return error
    return None


@pytest.fixture
def stage(tmp_path: Path) -> StageLayout:
    made = StageLayout(tmp_path / "run" / "stage_1_10pct")
    made.checkpoints.mkdir(parents=True)
    return made


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("name", SAVES)
def test_a_refused_save_leaves_the_old_or_the_new_file(
    stage: StageLayout, record_property: Seen, name: str, error: int
) -> None:
    saved = SAVES[name]
    saved.prepare(stage)
    for number in (1, 2):
        saved.save(stage, number)
    refused = []
    for operation in refusals(stage.root, lambda: saved.save(stage, 3), error):
        found = saved.read(stage)
        between_renames = name == "best_model" and found == 0
        assert found in (2, 3) or between_renames, operation
        if "rename" in operation and f" to checkpoints/{name}" in operation:
            assert found != 3, operation
        saved.save(stage, FOLLOWING)
        assert saved.read(stage) == FOLLOWING, operation
        refused.append(operation)
    kinds = {operation.split()[0] for operation in refused}
    assert {"open", "write", "sync", "rename"} <= kinds
    record_property("refused operations", len(refused))


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_refused_removal_leaves_whole_states(stage: StageLayout, record_property: Seen, error: int) -> None:
    for number in (1, 2):
        SAVES["resume.pt"].save(stage, number)
    refused = []
    for operation in refusals(stage.root, lambda: remove_checked(stage.resume_previous, stage.resume), error):
        if stage.resume.exists():
            assert read_state(stage) == (2, [])
        remove_checked(stage.resume_previous, stage.resume)
        assert not stage.resume.exists()
        refused.append(operation)
    assert any(operation.startswith("remove") for operation in refused)
    record_property("refused operations", len(refused))


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_refused_mending_can_be_done_again(stage: StageLayout, record_property: Seen, error: int) -> None:
    complete_stage(stage, 2)
    run = RunLayout(stage.root.parent)
    stage.best.write_bytes(b"damaged")
    (stage.exported / "model.safetensors").write_bytes(b"damaged")
    refused = 0
    for operation in refusals(run.root, lambda: mend(run, []), error):
        mend(run, [])
        if complete(stage):
            assert seed_of_stage(stage) == 2, operation
        else:  # the figures, or the only other copy of the model, lay on a part of the disk that cannot be read
            assert operation.startswith("read "), operation
            assert list(stage.root.rglob("*.damaged"))
        assert mend(run, []) == [], operation
        refused += 1
    record_property("refused operations", refused)


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_refused_configuration_is_the_old_or_the_new_one(
    tmp_path: Path, record_property: Seen, error: int
) -> None:
    run = RunLayout(tmp_path / "run")
    old, new = (
        resolve(RunSpec(data="/data", run_dir=str(run.root), preset=name)) for name in ("test", "full")
    )
    write_config(run, old)
    refused = 0
    for operation in refusals(run.root, lambda: write_config(run, new), error):
        assert read_config(run) in (old, new), operation
        refused += 1
    record_property("refused operations", refused)


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_refused_reserve_is_not_taken_for_one(tmp_path: Path, record_property: Seen, error: int) -> None:
    run = RunLayout(tmp_path / "run")
    run.root.mkdir()
    refused = 0
    for operation in refusals(run.root, lambda: reserve.make(run), error):
        assert not run.reserve.exists() or run.reserve.stat().st_size == reserve.SIZE, operation
        reserve.make(run)
        assert run.reserve.stat().st_size == reserve.SIZE
        refused += 1
    record_property("refused operations", refused)


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_refused_journal_line_leaves_whole_lines(tmp_path: Path, record_property: Seen, error: int) -> None:
    run = RunLayout(tmp_path / "run")
    run.root.mkdir()

    def log(*messages: str) -> None:
        with JournalWriter(run.journal) as journal:
            for message in messages:
                journal.append(Log(level="info", message=message))
                journal.sync()

    log("1", "2")
    refused = 0
    for operation in refusals(run.root, lambda: log("3", "4"), error):
        there = len(list(read_journal(run.journal)))
        assert there in (2, 3, 4), operation
        assert run.journal.read_bytes().endswith(b"}\n")
        log("next")
        assert [event.seq for event in read_journal(run.journal)] == list(range(1, there + 2))
        refused += 1
    record_property("refused operations", refused)
