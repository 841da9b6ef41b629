"""Files that are damaged, foreign, newer, held or somebody else's."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from logbert_engine.protocol.errors import DiskFullError, StorageError, TriageError
from logbert_engine.triage import opening
from logbert_engine.triage.database import Triage
from logbert_engine.triage.verdicts import Judgement, Target

ONE = Target("session", 1)


@pytest.fixture
def triage(tmp_path: Path) -> Triage:
    made = Triage(tmp_path / "triage.sqlite")
    many = [Judgement(target=Target("session", i), verdict="normal", note="n" * 50) for i in range(500)]
    made.record_many(many, who="ana")
    return Triage(made.path)


def refused(triage: Triage, words: str) -> None:
    """Every use is refused in one sentence, and the file is left as it was."""
    before = triage.path.read_bytes()
    uses: list[Callable[[], object]] = [
        triage.history,
        triage.current,
        lambda: triage.undo(who="ana"),
        lambda: triage.record(ONE, "normal", who="ana"),
    ]
    for use in uses:
        with pytest.raises(TriageError, match=words) as caught:
            use()
        assert str(triage.path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert triage.path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path):
    path = tmp_path / "triage.sqlite"
    path.write_bytes(b"session,verdict\n" * 400)
    refused(Triage(path), "damaged .file is not a database. and was left as it is")


def test_an_empty_file_is_refused(tmp_path: Path):
    path = tmp_path / "triage.sqlite"
    path.touch()
    refused(Triage(path), "left as it is")


def test_another_programs_database_is_refused(tmp_path: Path):
    path = tmp_path / "triage.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE changes (seq)")
        connection.commit()
    refused(Triage(path), "something other than verdicts")


def test_a_newer_schema_is_refused(triage: Triage):
    with closing(sqlite3.connect(triage.path)) as connection:
        connection.execute(f"PRAGMA user_version = {opening.VERSION + 1}")
    refused(triage, "newer logbert-engine .schema 2, this one knows 1.")


def test_a_table_that_is_missing_is_damage(triage: Triage):
    with closing(sqlite3.connect(triage.path)) as connection:
        connection.execute("DROP TABLE changes")
    refused(triage, "damaged")


@pytest.mark.parametrize("at", [4096, 8192 + 100, -4096])
def test_a_page_that_is_overwritten_is_damage(triage: Triage, at: int):
    content = bytearray(triage.path.read_bytes())
    at %= len(content)
    content[at : at + 2000] = os.urandom(2000)
    triage.path.write_bytes(content)
    refused(triage, "damaged")


def test_a_file_cut_short_is_damage(triage: Triage):
    with triage.path.open("rb+") as file:
        file.truncate(triage.path.stat().st_size // 2)
    refused(triage, "damaged")


@pytest.mark.parametrize(
    "column", ["target = '{'", "target = 'true'", "at = 'noon'", "who = x'ff'", "who = cast(x'ff' AS TEXT)"]
)
def test_a_row_that_says_nothing_is_damage(triage: Triage, column: str):
    with closing(sqlite3.connect(triage.path)) as connection:
        connection.execute("DROP TRIGGER changes_stay")
        connection.execute(f"UPDATE changes SET {column} WHERE seq = 7")
        connection.commit()
    with pytest.raises(TriageError, match="damaged"):
        triage.history()


def test_a_folder_in_its_place_is_told(tmp_path: Path):
    path = tmp_path / "triage.sqlite"
    path.mkdir()
    with pytest.raises(TriageError, match="cannot open"):
        Triage(path).record(ONE, "normal", who="ana")


def test_a_file_above_in_place_of_a_folder_is_told(tmp_path: Path):
    (tmp_path / "run").touch()
    with pytest.raises(StorageError):
        Triage(tmp_path / "run" / "triage.sqlite").record(ONE, "normal", who="ana")


def test_one_who_holds_it_for_too_long_is_told_of(triage: Triage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_S", 0.1)
    with closing(sqlite3.connect(triage.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TriageError, match="held by another program"):
            triage.record(ONE, "anomaly", who="ana")
        assert len(triage.history()) == 500  # readers do not wait
    triage.record(ONE, "anomaly", who="ana")
    assert len(triage.history()) == 501


def test_a_full_disk_leaves_what_was_there(triage: Triage, monkeypatch: pytest.MonkeyPatch):
    connect = opening._connect

    def small(path: Path, how: str) -> sqlite3.Connection:
        connection = connect(path, how)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    monkeypatch.setattr(opening, "_connect", small)
    many = [Judgement(target=Target("session", i), verdict="normal", note="n" * 500) for i in range(500)]
    with pytest.raises(DiskFullError, match="no room to write"):
        triage.record_many(many, who="bo")
    monkeypatch.undo()
    assert len(triage.history()) == 500
    assert triage.record(ONE, "anomaly", who="bo").seq == 501


def test_without_hard_links_the_file_is_made_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def none(self: Path, target: Path) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "hardlink_to", none)
    triage = Triage(tmp_path / "triage.sqlite")
    triage.record(ONE, "normal", who="ana")
    assert len(triage.history()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["triage.sqlite"]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that everybody may look into; pytest's own are private."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


READ = """
import os, sys
from pathlib import Path
from logbert_engine.protocol.errors import LogbertError
from logbert_engine.triage.database import Triage
from logbert_engine.triage.verdicts import Target
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
triage = Triage(Path(sys.argv[1]))
print(len(triage.history()))
try:
    triage.record(Target("session", 2), "normal", who="bo")
except LogbertError as error:
    print(error)
"""


def test_verdicts_in_a_folder_that_may_not_be_written_to_are_read(open_folder: Path):
    path = open_folder / "triage.sqlite"
    Triage(path).record(ONE, "normal", who="ana")
    path.chmod(0o444)
    open_folder.chmod(0o555)
    done = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True, check=True)
    count, sentence = done.stdout.splitlines()
    assert count == "1"
    assert sentence.startswith(f"cannot open {path}")
    assert [p.name for p in open_folder.iterdir()] == ["triage.sqlite"]
