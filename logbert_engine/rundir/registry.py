"""The runs that this user has started or opened, so that a console finds them: one small file a run."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from logbert_engine.protocol.locations import state_dir
from logbert_engine.rundir.atomic import write_file
from logbert_engine.rundir.reading import SMALL, content


class KnownRun(msgspec.Struct, frozen=True, kw_only=True):
    """An entry."""

    run_dir: str


def _folder() -> Path:
    folder = state_dir() / "runs"
    folder.mkdir(exist_ok=True)
    return folder


def remember(run_dir: Path) -> None:
    """Add a run, or move it to the front."""
    resolved = run_dir.resolve()
    name = hashlib.sha256(os.fsencode(resolved)).hexdigest()[:16]
    write_file(_folder() / f"{name}.json", msgspec.json.encode(KnownRun(run_dir=str(resolved))))


def known_runs() -> list[Path]:
    """The run directories that still exist, latest first."""
    found: list[tuple[float, Path]] = []
    for entry in _folder().glob("*.json"):
        try:
            run_dir = Path(msgspec.json.decode(content(entry, SMALL), type=KnownRun).run_dir)
            if run_dir.is_absolute() and (run_dir / "run.yaml").exists():
                found.append((entry.stat().st_mtime, run_dir))
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue  # an entry being replaced, or not ours: the run itself is untouched
    return [run_dir for _, run_dir in sorted(found, reverse=True)]
