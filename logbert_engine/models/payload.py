"""Files of tensors and plain data: written whole with their sha256, read without executing anything in them."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from logbert_engine.protocol.errors import CheckpointError
from logbert_engine.rundir.checksums import HashedFile, recorded, replacing_checked, sha256_of, verify
from logbert_engine.rundir.reading import opened

FORMAT = 3
UNUSABLE = (
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OSError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    StrictDataclassError,
    SafetensorError,
)
"""What damaged or foreign content raises on its way through torch, transformers and msgspec."""


class _Sink:
    """A file for ``torch.save``, which turns a failed write into an error of its own: this keeps the reason."""

    def __init__(self, file: HashedFile) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes | memoryview) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def write_payload(path: Path, payload: dict[str, Any], previous: Path | None = None) -> None:
    """Write a file of tensors and plain data in place of the old one, with its checksum.

    Args:
        path: the file.
        payload: what ``torch.load`` gives back with ``weights_only=True``.
        previous: where the old one is kept, in place of the one before it.

    Raises:
        StorageError: no room, no permission. The old file is then as it was.
    """
    with replacing_checked(path, previous=previous) as file:
        sink = _Sink(file)
        try:
            torch.save(payload, cast("IO[bytes]", sink))
        except RuntimeError:
            if sink.error is not None:
                raise sink.error from None
            raise


def read_payload(path: Path, kind: str) -> dict[str, Any]:
    """Load a file of ours after checking its sha256. Nothing in it is executed.

    Raises:
        CheckpointError: missing, damaged, not a checkpoint, or of another kind or version.
    """
    try:
        return _read_payload(path, kind)
    except _DamagedError as error:
        raise CheckpointError(
            f"{error} Resume its run, which mends what it can, or use another checkpoint, such as the previous "
            "stage's best_model.pt."
        ) from error


class _DamagedError(CheckpointError):
    """The content is not what was written; says so, and no more."""


def _read_payload(path: Path, kind: str) -> dict[str, Any]:
    if not path.exists():
        raise CheckpointError(f"no checkpoint at {path}.")
    with reading(path):
        if recorded(path):
            _verify(path)
        else:  # copied elsewhere, away from its digest, or the digests are lost
            _check_archive(path)
        if not zipfile.is_zipfile(path):  # ours are; torch would try the older formats
            raise zipfile.BadZipFile(str(path))
        with warnings.catch_warnings(
            action="ignore"
        ):  # about foreign content, which is refused in a sentence
            payload = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(payload, dict) or payload.get("kind") != kind:
        raise CheckpointError(f"{path} is not a {kind} file of logbert-engine.")
    if payload.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is of another version of logbert-engine (format {payload.get('format')}, this one reads "
            f"{FORMAT}); use it with that version, or train again in another run directory."
        )
    return payload


def _verify(path: Path) -> None:
    try:
        verify(path)
    except CheckpointError as error:
        raise _DamagedError(str(error)) from error


def newest_payload(paths: Sequence[Path], kind: str) -> tuple[dict[str, Any], Path, list[str]]:
    """Load the first of some files that is whole.

    Args:
        paths: the newest first, such as ``resume.pt`` and the one before it.
        kind: as ``read_payload``.

    Returns:
        Its content, its path, and a sentence for each file before it that is damaged or gone, with what it is
        replaced by.

    Raises:
        CheckpointError: none is usable; the message says of each what is wrong with it.
    """
    problems: list[str] = []
    for path in paths:
        try:
            payload = _read_payload(path, kind)
        except CheckpointError as error:
            problems.append(str(error).removesuffix("."))
        else:
            return payload, path, [f"{problem}; {path.name} is used in its place" for problem in problems]
    raise CheckpointError("; ".join(problems) + ".")


def is_whole(path: Path) -> bool:
    """Whether a model file is there and undamaged, by its sha256, or where none is recorded by its CRC-32."""
    try:
        with reading(path):
            known = recorded(path)
            return sha256_of(path) in known if known else crc_holds(path)
    except CheckpointError:
        return False


def crc_holds(path: Path) -> bool:
    """Whether a model file is undamaged by the CRC-32 of each of its records."""
    try:
        with reading(path):
            _check_archive(path)
    except CheckpointError:
        return False
    return True


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What goes wrong in the block as one sentence about the file that is read there.

    Raises:
        CheckpointError: it cannot be read, or is not what it should be.
    """
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"cannot read {error.filename or path}: {error.strerror or error}.") from error
    except UNUSABLE as error:
        raise CheckpointError(
            f"{path} is not a checkpoint that can be loaded (truncated, damaged, or not written by logbert-engine)."
        ) from error


def _check_archive(path: Path) -> None:
    """Check the CRC-32 that each record of a model file has; ``torch.load`` does not."""
    with opened(path) as file, zipfile.ZipFile(file) as archive:
        if archive.testzip() is not None:
            raise zipfile.BadZipFile(f"bad CRC-32 in {path}")
