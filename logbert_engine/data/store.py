"""Sessions compiled once into memory-mapped arrays: distinct sequences with counts, and a row a session."""

from __future__ import annotations

import errno
import mmap
import shutil
import tempfile
import time as clock
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.compiling import (
    COLUMNS,
    META,
    NAMES,
    REJECTED,
    Progress,
    StoreMeta,
    compile_into,
)
from logbert_engine.data.contract import EventId, Rejected
from logbert_engine.data.identity import SourceFile, content_of, described, fingerprint_of
from logbert_engine.protocol.errors import DataError, StorageError
from logbert_engine.protocol.locations import cache_dir
from logbert_engine.rundir.atomic import storage_error, sync_folder
from logbert_engine.rundir.checksums import read_sums, sha256_of, sums_are_whole

_FILES = (META, NAMES, REJECTED, *(f"{name}.npy" for name in COLUMNS))
_MOST_TRIES = 8
_ABANDONED_AFTER = 86_400.0
"""Seconds after which an unfinished folder is taken for one whose builder was killed."""


@dataclass(frozen=True, eq=False)
class Store:
    """Sessions of some files. U distinct sequences, S sessions in the order of time.

    A session without a time keeps its place behind the one before it in its file. Arrays are mapped from disk
    and read-only.
    """

    path: Path
    fingerprint: str
    """Tells the source files (path, size, time of change) and the store's format."""
    content: str
    """Tells what training reads of the sessions, whatever files they came from."""
    events: list[EventId]
    """Source id of each event that the tokens index, in the order of first appearance."""
    tokens: NDArray[np.uint16] | NDArray[np.uint32]
    """The distinct sequences one after another, as indices into ``events``."""
    offsets: NDArray[np.int64]
    """[U+1] Sequence u is ``tokens[offsets[u]:offsets[u + 1]]``."""
    counts: NDArray[np.int64]
    """[U] Sessions with that sequence."""
    sequence_of: NDArray[np.int32]
    """[S] The session's sequence."""
    time: NDArray[np.float64]
    """[S] Unix seconds, nan where unknown."""
    service_of: NDArray[np.uint16] | NDArray[np.uint32]
    """[S] Index into ``services``."""
    has_error: NDArray[np.int8]
    """[S] 0, 1, or -1 where unknown."""
    has_warn: NDArray[np.int8]
    """[S] 0, 1, or -1 where unknown."""
    label: NDArray[np.int8]
    """[S] 0 normal, 1 anomalous, -1 unknown."""
    file_of: NDArray[np.uint32]
    """[S] Index into ``files``."""
    position_of: NDArray[np.int32]
    """[S] Place in its file, from 0."""
    name_at: NDArray[np.int64]
    """[S] Where in ``names`` the session's id and timestamp begin."""
    names: mmap.mmap
    """Lines of JSON: ``[session_id, timestamp]``."""
    services: list[str]
    """Names; an empty one stands for unknown."""
    files: list[str]
    sources: list[SourceFile]
    """The same files, as they were when they were looked at."""
    rejected: int
    """Entries in the list of what could not be used: records, and rests of files."""
    broken: int
    """Files that could not be used, from some place on or at all."""
    first_day: str
    """``YYYY-MM-DD`` (UTC), or an empty string when no session tells its time."""
    last_day: str

    @property
    def n_sessions(self) -> int:
        """S."""
        return len(self.sequence_of)

    @property
    def n_unique(self) -> int:
        """U."""
        return len(self.counts)

    @property
    def rejected_path(self) -> Path:
        """A line of JSON for each record that could not be used: file, position, reason."""
        return self.path / REJECTED

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """[U] Events of each distinct sequence."""
        return np.diff(self.offsets)

    def sequence(self, u: int) -> NDArray[np.uint16] | NDArray[np.uint32]:
        """A distinct sequence, as indices into ``events``."""
        return self.tokens[self.offsets[u] : self.offsets[u + 1]]

    def session_id(self, i: int) -> int | str:
        """The session's id as its record has it, a number or a text."""
        return self._name(i)[0]

    def timestamp(self, i: int) -> str | None:
        """The session's timestamp as its record has it."""
        return self._name(i)[1]

    def _name(self, i: int) -> tuple[int | str, str | None]:
        start = int(self.name_at[i])
        return _decode_name(self.names[start : self.names.find(b"\n", start)])


_decode_name = msgspec.json.Decoder(tuple[int | str, str | None]).decode
_decode_meta = msgspec.json.Decoder(StoreMeta).decode


def open_store(
    files: Sequence[Path], *, progress: Progress | None = None, max_rejected: float = 0.01
) -> Store:
    """Open the store of some session files; compile it when there is none yet, or a damaged one.

    Args:
        files: session files, earliest first.
        progress: called now and then while compiling, with bytes read and all bytes.
        max_rejected: the largest share of records that may be unusable.

    Raises:
        DataError: a file cannot be read, too many records cannot be used, or none can.
        StorageError: the store cannot be written.
    """
    return open_described(described(files), progress=progress, max_rejected=max_rejected)


def open_described(
    sources: Sequence[SourceFile], *, progress: Progress | None = None, max_rejected: float = 0.01
) -> Store:
    """As ``open_store``, of files that have been looked at."""
    folder = Path("stores")
    try:
        folder = _folder(sources)
        store = _load(folder, sources) or _build(folder, sources, progress)
    except OSError as error:
        raise storage_error(Path(error.filename or folder), error) from error
    _refuse_rejected(store, max_rejected)
    return store


def kept_store(sources: Sequence[SourceFile], max_rejected: float = 0.01) -> Store | None:
    """The store that was compiled from files when they were as described; None where it is gone or damaged.

    Raises:
        DataError: too many records cannot be used.
    """
    store = _load(_folder(sources), sources)
    if store is not None:
        _refuse_rejected(store, max_rejected)
    return store


def _folder(sources: Sequence[SourceFile]) -> Path:
    return cache_dir() / "stores" / fingerprint_of(sources)


def _load(folder: Path, sources: Sequence[SourceFile]) -> Store | None:
    """The store in a folder; None where a file is missing or has not the digest recorded for it, or where it is
    the store of other files."""
    try:
        sums = read_sums(folder)
        if not sums_are_whole(folder) or any({sha256_of(folder / name)} != sums.get(name) for name in _FILES):
            return None
        meta = _decode_meta((folder / META).read_bytes())
        if meta.fingerprint != folder.name:
            return None
        with (folder / NAMES).open("rb") as file:
            names = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        columns = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in COLUMNS}
    except (
        OSError,
        ValueError,
        RecursionError,
    ):  # the last two: made by somebody else, with digests to match
        return None
    return Store(
        path=folder,
        fingerprint=folder.name,
        content=content_of(meta, sums),
        events=meta.events,
        services=meta.services,
        files=meta.files,
        sources=list(sources),
        names=names,
        rejected=meta.rejected,
        broken=meta.broken,
        first_day=meta.first_day,
        last_day=meta.last_day,
        **columns,
    )


def _build(folder: Path, sources: Sequence[SourceFile], progress: Progress | None) -> Store:
    stores = folder.parent
    stores.mkdir(parents=True, exist_ok=True)
    _clear_abandoned(stores)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=stores))
    try:
        compile_into(work, folder.name, [Path(source.path) for source in sources], progress)
        return _put_in_place(work, folder, sources)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _put_in_place(work: Path, folder: Path, sources: Sequence[SourceFile]) -> Store:
    """Rename a finished store to its place. Another builder's whole store there is as good; else it goes."""
    for _ in range(_MOST_TRIES):
        try:
            work.rename(folder)
            sync_folder(folder.parent)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        store = _load(folder, sources)
        if store is not None:
            return store
        aside = Path(tempfile.mkdtemp(prefix=".damaged.", dir=folder.parent))
        with suppress(FileNotFoundError):
            folder.rename(aside / folder.name)
        shutil.rmtree(aside, ignore_errors=True)
    raise StorageError(f"cannot put a store in place at {folder}: remove that folder, then try again.")


def _clear_abandoned(stores: Path) -> None:
    oldest = clock.time() - _ABANDONED_AFTER
    for left in stores.glob(".*"):
        with suppress(FileNotFoundError):
            if left.stat().st_mtime < oldest:
                shutil.rmtree(left, ignore_errors=True)


def unused_in_words(store: Store) -> str:
    """How much could not be used, where and why, for people; empty where everything was."""
    if not store.rejected:
        return ""
    first = _place(_first_rejected(store, rest=store.broken > 0))
    if store.broken:
        files = "1 file is" if store.broken == 1 else f"{store.broken:,} files are"
        told = f"{files} not read to the end, so sessions are missing"
    else:
        told = "1 record" if store.rejected == 1 else f"{store.rejected:,} records"
        told += " could not be used"
    return f"{told}; the first: {first}. All are listed in {store.rejected_path}"


def _refuse_rejected(store: Store, max_rejected: float) -> None:
    records, files = store.n_sessions + store.rejected, len(store.files)
    too_many_files = store.broken > max_rejected * files
    if store.n_sessions and not too_many_files and store.rejected <= max_rejected * records:
        return
    if not store.rejected:
        where = store.files[0] if len(store.files) == 1 else f"any of {len(store.files)} files"
        raise DataError(f"there are no sessions in {where}: give files that hold some.")
    first = _place(_first_rejected(store, rest=too_many_files))
    seen = f"The first is {first}. All are listed in {store.rejected_path}"
    if not store.n_sessions:
        raise DataError(f"none of {records} records can be used. {seen}.")
    if too_many_files:
        raise DataError(
            f"{store.broken} of {files} files ({store.broken / files:.1%}) cannot be used whole; the limit is "
            f"{max_rejected:.1%}. {seen}; mend the files, take them out, or raise the limit (max_rejected)."
        )
    raise DataError(
        f"{store.rejected} of {records} records ({store.rejected / records:.1%}) cannot be used; the limit "
        f"is {max_rejected:.1%}. {seen}; mend the files or raise the limit (max_rejected)."
    )


def _first_rejected(store: Store, *, rest: bool = False) -> Rejected:
    """The first entry of the list; with ``rest`` the first that tells of a file instead of a record."""
    with store.rejected_path.open("rb") as file:
        for line in file:
            found = msgspec.json.decode(line, type=Rejected)
            if found.rest or not rest:
                return found
    raise StorageError(
        f"{store.rejected_path} is not what {store.path} says it is: remove that folder, try again."
    )


def _place(rejected: Rejected) -> str:
    where = f"record {rejected.position} of {rejected.file}"
    if rejected.rest:
        where = f"{rejected.file}, from record {rejected.position} on" if rejected.position else rejected.file
    return f"{where}: {rejected.reason.removesuffix('.')}"
