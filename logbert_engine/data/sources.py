"""The session files of a run: it trains to its end on what they held when it began."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from logbert_engine.data.compiling import Progress
from logbert_engine.data.files import session_files
from logbert_engine.data.identity import SourceFile, described
from logbert_engine.data.store import Store, kept_store, open_described
from logbert_engine.presets.types import Data
from logbert_engine.protocol.errors import DataError
from logbert_engine.protocol.events import Level
from logbert_engine.rundir.atomic import storage_error, write_file
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.reading import NotAFileError
from logbert_engine.rundir.reading import content as content_of


class Remark(NamedTuple):
    """Something about the files that is not as it was."""

    level: Level
    message: str


class Sources(msgspec.Struct, kw_only=True, frozen=True):
    """``sources.json`` of a run directory."""

    path: str
    """As the run's configuration names it."""
    max_files: int
    files: list[SourceFile]
    content: str
    """Of the store that was compiled from them."""


def open_sources(
    run: RunLayout, data: Data, *, progress: Progress | None = None, max_rejected: float | None = None
) -> tuple[Store, list[Remark]]:
    """The store that a run trains on.

    At first it is that of the session files that are there, and these are recorded with ``record_sources``. From
    then on it is the store of those, as they were then: files that come later, change or go do not touch a run that
    has begun. Only where that store is gone from the cache is it compiled again from the same files.

    Args:
        run: the run directory.
        data: of its configuration.
        progress: as ``open_store``.
        max_rejected: as ``open_store``; None for the configuration's.

    Returns:
        The store, and what is not as it was about the files.

    Raises:
        DataError: there are no session files, one of the run's is gone and so is its store, or too many records
            cannot be used.
        StorageError: the store cannot be read or written.
    """
    limit = data.max_rejected if max_rejected is None else max_rejected
    begun = read_sources(run)
    if begun is None or (begun.path, begun.max_files) != (data.path, data.max_files):
        now = described(session_files(Path(data.path), data.max_files))
        return open_described(now, progress=progress, max_rejected=limit), []
    remarks = _later(begun, data)
    before = {file.path: file for file in begun.files}
    gone = [path for path in before if not Path(path).is_file()]
    changed = [
        file.path
        for file in described([Path(p) for p in before if p not in gone])
        if file != before[file.path]
    ]
    store = kept_store(begun.files, limit)
    if store is not None:
        for paths, what in ((gone, "gone"), (changed, "changed")):
            if paths:
                kept = f"{_some(paths)} {what} since the run began; it goes on with what was compiled then"
                remarks.append(Remark("info", kept))
        return store, remarks
    if gone:
        raise DataError(
            f"{gone[0]}, which the run {run.root} trains on, is gone, and so is what was compiled from it; put the "
            "file back, or train on the others in another run directory."
        )
    store = open_described(described([Path(path) for path in before]), progress=progress, max_rejected=limit)
    if store.content != begun.content:
        other = (
            f"{_some(changed)} changed since the run began, and what was compiled then is gone: it goes on with "
            "the sessions that are there now"
        )
        remarks.append(Remark("warning", other))
    return store, remarks


def record_sources(run: RunLayout, data: Data, store: Store) -> None:
    """Write down what the run trains on, where that is not there yet.

    Raises:
        StorageError: no room, no permission.
    """
    found = Sources(path=data.path, max_files=data.max_files, files=store.sources, content=store.content)
    if read_sources(run) != found:
        write_file(run.sources, msgspec.json.format(msgspec.json.encode(found)))


def read_sources(run: RunLayout) -> Sources | None:
    """What the run trains on; None where it has not begun, or the file is damaged: then it is found anew.

    Raises:
        StorageError: the file cannot be read.
    """
    try:
        return msgspec.json.decode(content_of(run.sources), type=Sources)
    except (
        FileNotFoundError,
        NotADirectoryError,
        NotAFileError,
        msgspec.DecodeError,
        RecursionError,
        UnicodeDecodeError,
    ):
        return None
    except OSError as error:
        raise storage_error(run.sources, error) from error


def _later(begun: Sources, data: Data) -> list[Remark]:
    try:
        there = {str(file.resolve()) for file in session_files(Path(data.path), data.max_files)}
    except DataError:  # then they are gone, which is said elsewhere
        return []
    later = sorted(there - {file.path for file in begun.files})
    if not later:
        return []
    left_out = (
        f"{_some(later)} not part of this run, which began without; a run in another directory trains on all"
    )
    return [Remark("info", left_out)]


def _some(paths: list[str]) -> str:
    if len(paths) == 1:
        return f"the session file {paths[0]} is"
    return f"{len(paths)} session files ({paths[0]}, …) are"
