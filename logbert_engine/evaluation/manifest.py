"""What an evaluation was made from, so that it can be repeated and two can be compared."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from logbert_engine import __version__
from logbert_engine.protocol.errors import DataError
from logbert_engine.rundir.checksums import sha256_of

PACKAGES = ("torch", "numpy", "scikit-learn")


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the figures of an evaluation follow from."""

    inputs: dict[str, str]
    """Path below the folder that all inputs share to sha256."""
    checkpoint: str
    """sha256 of the file, or of the list of those in the folder."""
    split: str
    """How training and evaluation were told apart, in words."""
    seed: int
    budget: float | None = None
    """Share of ordinary sessions that may alarm."""
    threshold: float | None = None
    adapting: bool = False
    """Whether the model adapted to the inputs first."""
    operator: int = 0
    """Answers of a simulated operator."""
    versions: dict[str, str] = {}


def manifest_of(
    inputs: Sequence[Path],
    checkpoint: Path,
    *,
    split: str,
    seed: int,
    budget: float | None = None,
    threshold: float | None = None,
    adapting: bool = False,
    operator: int = 0,
) -> Manifest:
    """Hash what an evaluation is made from.

    Args:
        inputs: session files.
        checkpoint: model file, or a folder of them.
        split: how training and evaluation were told apart, in words.
        seed: of the bootstrap and of whatever else was drawn.
        budget: share of ordinary sessions that may alarm.
        threshold: of the score.
        adapting: whether the model adapted to the inputs first.
        operator: answers of a simulated operator.

    Raises:
        DataError: a file cannot be read.
    """
    files = sorted({path.resolve() for path in inputs})
    shared = Path(os.path.commonpath([path.parent for path in files])) if files else Path()
    return Manifest(
        inputs={path.relative_to(shared).as_posix(): _sha256(path) for path in files},
        checkpoint=_sha256_of_folder(checkpoint) if checkpoint.is_dir() else _sha256(checkpoint),
        split=split,
        seed=seed,
        budget=budget,
        threshold=threshold,
        adapting=adapting,
        operator=operator,
        versions={"logbert-engine": __version__, **{name: _version(name) for name in PACKAGES}},
    )


def check(manifest_a: Manifest, manifest_b: Manifest) -> list[str]:
    """Name what differs between two evaluations, a line each; nothing when the second repeats the first."""
    differs = []
    a, b = manifest_a.inputs, manifest_b.inputs
    for name in sorted({*a, *b}):
        if name not in b:
            differs.append(f"input {name} is in the first alone")
        elif name not in a:
            differs.append(f"input {name} is in the second alone")
        elif a[name] != b[name]:
            differs.append(f"input {name} has other content: {a[name][:12]}… against {b[name][:12]}…")
    if manifest_a.checkpoint != manifest_b.checkpoint:
        differs.append(f"checkpoint: {manifest_a.checkpoint[:12]}… against {manifest_b.checkpoint[:12]}…")
    for field in ("split", "seed", "budget", "threshold", "adapting", "operator"):
        one, other = getattr(manifest_a, field), getattr(manifest_b, field)
        if one != other:
            differs.append(f"{field}: {_told(one)} against {_told(other)}")
    for name in sorted({*manifest_a.versions, *manifest_b.versions}):
        one, other = manifest_a.versions.get(name), manifest_b.versions.get(name)
        if one != other:
            differs.append(f"version of {name}: {_told(one)} against {_told(other)}")
    return differs


def _told(value: object) -> str:
    return "none" if value is None else str(value)


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}.") from error


def _sha256_of_folder(folder: Path) -> str:
    lines = [
        f"{_sha256(path)}  {path.relative_to(folder).as_posix()}\n"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
