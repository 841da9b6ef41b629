"""Row 8: the disk fills. The run is paused, nothing that has a name is half there, and it goes on to the same bit."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from logbert_engine.data.store import open_store
from logbert_engine.protocol.errors import DiskFullError
from logbert_engine.protocol.events import RunEnded
from logbert_engine.rundir import registry
from logbert_engine.rundir.checksums import SUMS, read_sums, recorded, sha256_of
from logbert_engine.rundir.journal import damage, read_journal
from logbert_engine.rundir.layout import RunLayout
from tests.faults.harness import (
    Fault,
    command,
    engine,
    environment,
    eventually,
    kill_all,
    losses,
    none_left,
    same_bits,
    sentence,
    start,
    weights,
    without_gap,
)
from tests.faults.small_runs import small_words, to_its_end, told, varied_sessions

pytestmark = [pytest.mark.row(8), pytest.mark.timeout(600)]

Record = Callable[[str, object], None]
ROOMY_KB = 64 << 10


class SmallDisk:
    """A file system in memory that holds as much as it is told to."""

    def __init__(self, folder: Path, kb: int) -> None:
        self.folder = folder
        folder.mkdir()
        _mount(folder, "-t", "tmpfs", "-o", f"size={kb}k", "tmpfs")

    def resize(self, kb: int) -> None:
        _mount(self.folder, "-o", f"remount,size={kb}k")

    def fill(self) -> Path:
        """Take all the room that is left, to the last page; returns the file that takes it."""
        ballast = self.folder / "ballast"
        with ballast.open("wb", buffering=0) as file:
            for size in (1 << 16, 1 << 12):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue
        return ballast


def _mount(folder: Path, *words: str) -> None:
    done = subprocess.run(["mount", *words, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs the right to mount a small file system: {done.stderr.strip()}")


@pytest.fixture
def disk_of(tmp_path: Path) -> Iterator[Callable[[int], SmallDisk]]:
    """``disk_of(kb)``; a run on it is to be in its folder ``run``."""
    if sys.platform != "linux":
        pytest.skip("needs tmpfs")
    made: list[SmallDisk] = []

    def make(kb: int) -> SmallDisk:
        made.append(SmallDisk(tmp_path / f"disk{len(made)}", kb))
        return made[-1]

    yield make
    for disk in made:
        kill_all(RunLayout(disk.folder / "run"))
        subprocess.run(["umount", "--lazy", str(disk.folder)], check=True)


def paused_as_full(run: RunLayout, status: int) -> str:
    """Assert what is left of a run whose disk was full; returns the reason."""
    end = told(run, RunEnded)[-1]
    assert (end.state, end.exit_code, status) == ("paused", 1, 1), end.reason
    assert end.reason.startswith("disk full: no room to write ")
    assert end.resumes
    none_left(run)
    assert not run.pid.exists()
    nothing_half_there(run)
    return end.reason


def nothing_half_there(run: RunLayout) -> None:
    """Assert that every file that is listed has its digest, that every checkpoint is listed, and that all other
    files can be read to their end."""
    for sums in run.root.rglob(SUMS):
        for name, digests in read_sums(sums.parent).items():
            path = sums.parent / name
            assert not path.exists() or sha256_of(path) in digests, f"{path} is not what was written"
    for path in run.root.rglob("*"):
        if path.suffix in (".pt", ".safetensors") and ".new" not in path.parent.name:
            assert recorded(path), f"{path} is not listed"
        elif path.suffix == ".json" and path.parent.name != ".best_model.new":
            json.loads(path.read_bytes())
    assert damage(run.journal) == ""
    assert without_gap(list(read_journal(run.journal)))
    assert not list(run.root.rglob(".*.tmp")), "no unfinished file takes up room"


def goes_on_to_the_same_bit(run: RunLayout, undisturbed: RunLayout) -> None:
    """Assert that the run finishes when it is resumed, with the losses and the weights of an undisturbed one."""
    assert engine("resume", run.root).returncode == 0
    eventually(lambda: over(run), "the resumed run is over", 280)
    finished_to_the_same_bit(run, undisturbed)


def over(run: RunLayout) -> bool:
    last = None
    for event in read_journal(run.journal):
        last = event
    return isinstance(last, RunEnded) and not run.pid.exists()


def finished_to_the_same_bit(run: RunLayout, undisturbed: RunLayout) -> None:
    assert told(run, RunEnded)[-1].state == "finished", told(run, RunEnded)[-1].reason
    assert losses(run) == losses(undisturbed)
    for ours, theirs in zip(run.stages(), undisturbed.stages(), strict=True):
        assert same_bits(weights(ours.best), weights(theirs.best))
    nothing_half_there(run)


def test_a_disk_that_fills_in_a_save_pauses_the_run_which_goes_on_when_there_is_room(
    varied: Path,
    undisturbed: RunLayout,
    disk_of: Callable[[int], SmallDisk],
    record_property: Record,
) -> None:
    disk = disk_of(1000)  # for the first epoch's state and model, not for the second's
    run = RunLayout(disk.folder / "run")
    done = to_its_end(small_words(varied, run))
    assert paused_as_full(run, done.returncode).startswith(
        f"disk full: no room to write {run.stages()[0].resume}"
    )
    assert "Traceback" not in done.stderr
    (stage,) = run.stages()
    assert sha256_of(stage.resume) in recorded(stage.resume)

    disk.fill()  # now there is not even room to begin
    refused = sentence(engine("resume", run.root))
    assert "disk full" in refused
    assert damage(run.journal) == ""
    assert sha256_of(stage.resume) in recorded(stage.resume)
    assert told(run, RunEnded)[-1].state == "paused"

    disk.resize(ROOMY_KB)
    goes_on_to_the_same_bit(run, undisturbed)
    record_property("full disks", 1)


def on_file(name: str) -> str:
    return f"__import__('os').readlink(f'/proc/self/fd/{{args[0]}}').endswith('{name}')"


@pytest.mark.skipif(sys.platform != "linux", reason="tells files by their descriptors in procfs")
def test_a_disk_that_fills_in_a_line_of_the_journal_or_of_a_log_pauses_the_run(
    varied: Path, real_run: RunLayout, undisturbed: RunLayout, tmp_path: Path, record_property: Record
) -> None:
    in_journal = Fault(
        "os:write", "os_error", tmp_path / "journal", step=4, when=on_file("journal.ndjson"), error="ENOSPC"
    )
    in_log = Fault(
        "logbert_engine.training.recorder:_File.flush", "os_error", tmp_path / "log", step=7, error="ENOSPC"
    )
    done = to_its_end(small_words(varied, real_run), environment(in_journal))
    assert str(real_run.journal) in paused_as_full(real_run, done.returncode)
    done = to_its_end(small_words(varied, real_run), environment(in_log))
    assert "/logs/" in paused_as_full(real_run, done.returncode)
    assert (len(in_journal.happened()), len(in_log.happened())) == (1, 1)
    goes_on_to_the_same_bit(real_run, undisturbed)
    record_property("full disks", 2)


def test_a_store_that_finds_no_room_leaves_nothing_behind_and_is_made_when_there_is_room(
    tmp_path: Path,
    disk_of: Callable[[int], SmallDisk],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Record,
) -> None:
    files = sorted(varied_sessions(tmp_path / "data", sessions=3000).iterdir())
    disk = disk_of(100)
    monkeypatch.setenv("LOGBERT_CACHE_DIR", str(disk.folder))
    with pytest.raises(DiskFullError, match="disk full: no room to write"):
        open_store(files)
    assert not [path for path in disk.folder.rglob("*") if path.is_file()], "the room is given back"
    disk.resize(ROOMY_KB)
    assert open_store(files).n_sessions == 3000
    record_property("full disks", 1)


def test_a_full_disk_under_the_list_of_runs_is_told_in_a_sentence_and_the_list_stays(
    tmp_path: Path,
    disk_of: Callable[[int], SmallDisk],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Record,
) -> None:
    disk = disk_of(200)
    monkeypatch.setenv("LOGBERT_STATE_DIR", str(disk.folder))
    known = tmp_path / "known"
    known.mkdir()
    (known / "run.yaml").touch()
    registry.remember(known)
    disk.fill()
    with pytest.raises(DiskFullError, match="disk full: no room to write"):
        registry.remember(tmp_path)
    assert registry.known_runs() == [known]
    record_property("full disks", 1)


# Slow forms


@pytest.mark.slow
@pytest.mark.parametrize("kb", [60, 100, 200, 500, 700, 900, 1100, 1200, 1400, 1600, 1700])
def test_a_disk_of_any_size(
    kb: int,
    varied: Path,
    undisturbed: RunLayout,
    disk_of: Callable[[int], SmallDisk],
    record_property: Record,
) -> None:
    """It fills at another write each time: of the reserve, a model, its sums, a state, the export, the results."""
    disk = disk_of(kb)
    run = RunLayout(disk.folder / "run")
    done = to_its_end(small_words(varied, run))
    if done.returncode == 0:
        finished_to_the_same_bit(run, undisturbed)
        return
    print(paused_as_full(run, done.returncode))
    disk.resize(ROOMY_KB)
    goes_on_to_the_same_bit(run, undisturbed)
    record_property("full disks", 1)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", ["1", "2"])
def test_a_disk_that_is_filled_to_the_last_page_in_mid_epoch(
    ranks: str, tmp_path: Path, disk_of: Callable[[int], SmallDisk], record_property: Record
) -> None:
    """The next lines of journal and log have nowhere to go, but for what was held back to tell of the end."""
    data = varied_sessions(tmp_path / "long", sessions=3_000)
    words = ("--nproc", ranks, "--set", "stages.max_ratio=0.34", "--set", "training.batch=4")
    small = ("--set", "model.hidden=32", "--set", "model.ffn=64", "--set", "training.log_every=1")
    whole = RunLayout(tmp_path / "whole")
    assert to_its_end(small_words(data, whole, *words)).returncode == 0
    disk = disk_of(ROOMY_KB)
    run = RunLayout(disk.folder / "run")
    start(run, data, "--device", "cpu", "--epochs-per-stage", "2", *words, *small)
    ballast = disk.fill()
    eventually(lambda: over(run), "it has ended", 120)
    paused_as_full(run, 1)
    ballast.unlink()
    assert engine("resume", run.root).returncode == 0
    eventually(lambda: over(run), "the resumed run is over", 280)
    finished_to_the_same_bit(run, whole)
    record_property("full disks", 1)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The limit is inherited by what is started in the block."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
@pytest.mark.parametrize("kb", [20, 100, 120, 300])
def test_a_limit_on_the_size_of_files_is_a_full_disk(
    kb: int, varied: Path, real_run: RunLayout, undisturbed: RunLayout, record_property: Record
) -> None:
    """It stops the reserve, a model, or a state; and the journal never, which is the smallest."""
    with files_of_at_most(kb << 10):
        started = subprocess.Popen(
            [*command(*small_words(varied, real_run)), "--foreground"],
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
    said = started.communicate(timeout=280)[1]
    assert "disk full" in paused_as_full(real_run, started.returncode)
    assert "Traceback" not in said
    goes_on_to_the_same_bit(real_run, undisturbed)
    record_property("full disks", 1)


@pytest.mark.slow
def test_a_run_whose_store_finds_no_room_is_paused(
    tmp_path: Path, real_run: RunLayout, disk_of: Callable[[int], SmallDisk], record_property: Record
) -> None:
    data = varied_sessions(tmp_path / "many", sessions=3000)
    disk = disk_of(100)
    env = environment(LOGBERT_CACHE_DIR=str(disk.folder))
    done = to_its_end(small_words(data, real_run, stages__epochs=1), env)
    assert str(disk.folder) in paused_as_full(real_run, done.returncode)
    disk.resize(ROOMY_KB)
    assert to_its_end(small_words(data, real_run, stages__epochs=1), env).returncode == 0
    record_property("full disks", 1)


def test_demo_data_that_the_disk_has_no_room_for_are_not_begun(disk_of: Callable[[int], SmallDisk]) -> None:
    disk = disk_of(2 << 10)
    said = sentence(engine("demo-data", disk.folder / "demo", "--sessions", "2000"))
    assert said.startswith(f"2,000 sessions take about 5 MB, and {disk.folder / 'demo'} has room for 2 MB; ")
    assert list(disk.folder.iterdir()) == []
    assert engine("demo-data", disk.folder / "demo", "--sessions", "400").returncode == 0
    assert engine("demo-data", disk.folder / "demo", "--sessions", "500").returncode == 0, "in place of those"
