from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from logbert_engine.data.sources import open_sources, read_sources, record_sources
from logbert_engine.data.store import open_store
from logbert_engine.presets.types import Data
from logbert_engine.protocol.errors import DataError
from logbert_engine.protocol.locations import cache_dir
from logbert_engine.rundir.layout import RunLayout

Write = Callable[..., Path]
NAME = "daily/preprocessed_logs_2025-03-01.json"


def sessions(*events: list[int]) -> list[dict[str, object]]:
    return [{"session_id": i, "event_sequence": each} for i, each in enumerate(events)]


@pytest.fixture
def file(write: Write) -> Path:
    return write(NAME, sessions([1, 2], [1, 3], [1, 2]))


@pytest.fixture
def data(file: Path) -> Data:
    return Data(path=str(file.parent))


@pytest.fixture
def run(tmp_path: Path, data: Data) -> RunLayout:
    """A run that has begun on the sessions."""
    layout = RunLayout(tmp_path / "run")
    layout.root.mkdir()
    record_sources(layout, data, open_sources(layout, data)[0])
    return layout


def clear_cache() -> None:
    shutil.rmtree(cache_dir() / "stores")


def test_the_same_sessions_in_another_file_have_the_same_content(write: Write, file: Path) -> None:
    first = open_store([file])
    os.utime(file, (1, 1))
    touched = open_store([file])
    other = open_store([write("elsewhere.jsonl", sessions([1, 2], [1, 3], [1, 2]))])
    assert first.fingerprint != touched.fingerprint != other.fingerprint
    assert first.content == touched.content == other.content


@pytest.mark.parametrize(
    "changed",
    [([1, 2], [1, 3], [1, 3]), ([1, 3], [1, 2], [1, 2]), ([1, 2], [1, 3]), ([1, 4], [1, 3], [1, 4])],
)
def test_other_sessions_or_another_order_have_another_content(
    write: Write, file: Path, changed: tuple[list[int], ...]
) -> None:
    assert open_store([file]).content != open_store([write("other.json", sessions(*changed))]).content


def test_a_run_that_has_begun_keeps_its_sessions_whatever_becomes_of_the_files(
    run: RunLayout, data: Data, file: Path, write: Write
) -> None:
    begun, remarks = open_sources(run, data)
    assert remarks == []
    write(NAME, sessions([7]))
    write("daily/preprocessed_logs_2025-02-28.json", sessions([8]))
    now, remarks = open_sources(run, data)
    assert now.content == begun.content
    assert [
        (remark.level, "2025-02-28.json is not part of this run" in remark.message) for remark in remarks
    ] == [
        ("info", True),
        ("info", False),
    ]
    assert remarks[1].message.startswith(
        f"the session file {file} is changed since the run began; it goes on"
    )
    file.unlink()
    assert open_sources(run, data)[0].content == begun.content


def test_a_store_that_is_gone_is_compiled_again_from_the_same_files(
    run: RunLayout, data: Data, file: Path, write: Write
) -> None:
    before, _ = open_sources(run, data)
    write("daily/preprocessed_logs_2025-03-02.json", sessions([8]))
    os.utime(file, (1, 1))
    clear_cache()
    after, remarks = open_sources(run, data)
    assert (after.content, after.files) == (before.content, before.files)
    assert [remark.level for remark in remarks] == ["info"]
    record_sources(run, data, after)
    assert open_sources(run, data)[1] == remarks


def test_other_sessions_are_trained_on_only_with_a_warning(
    run: RunLayout, data: Data, file: Path, write: Write
) -> None:
    write(NAME, sessions([7], [7]))
    clear_cache()
    store, (remark,) = open_sources(run, data)
    assert store.n_sessions == 2
    assert remark.level == "warning"
    assert remark.message == (
        f"the session file {file} is changed since the run began, and what was compiled then is gone: it goes on "
        "with the sessions that are there now"
    )


def test_a_file_that_is_gone_with_its_store_is_one_sentence(
    run: RunLayout, data: Data, file: Path, write: Write
) -> None:
    write("daily/preprocessed_logs_2025-03-02.json", sessions([8]))
    file.unlink()
    clear_cache()
    with pytest.raises(
        DataError, match=r"2025-03-01\.json, which the run .* trains on, is gone, and so is what"
    ):
        open_sources(run, data)


def test_another_path_is_another_beginning(run: RunLayout, write: Write) -> None:
    other = Data(path=str(write("other/preprocessed_logs_2025-03-01.json", sessions([5])).parent))
    store, remarks = open_sources(run, other)
    assert (store.n_sessions, remarks) == (1, [])


def test_a_damaged_record_is_written_anew(run: RunLayout, data: Data) -> None:
    before = read_sources(run)
    run.sources.write_bytes(run.sources.read_bytes()[:-20])
    assert read_sources(run) is None
    record_sources(run, data, open_sources(run, data)[0])
    assert read_sources(run) == before
