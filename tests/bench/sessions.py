"""Session files read and written whole, as the benchmarks that mix or sample them need."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from logbert_engine.data.reading import session_files

Record = dict[str, Any]


def read(folder: Path, max_files: int = 0) -> list[list[Record]]:
    """The records of each session file of a folder, in the order of the engine."""
    return [json.loads(gzip.decompress(path.read_bytes())) for path in session_files(folder, max_files)]


def without_label(record: Record) -> Record:
    """What training sees of a session: its id and its events, and nothing that could tell its source."""
    return {"session_id": record["session_id"], "event_sequence": record["event_sequence"]}


def write(folder: Path, files: Iterable[list[Record]]) -> Path:
    """Write a folder of session files, a day each; returns the folder."""
    folder.mkdir(parents=True)
    for day, records in enumerate(files, start=1):
        (folder / f"preprocessed_logs_2024-01-{day:02d}.json").write_text(json.dumps(records))
    return folder
