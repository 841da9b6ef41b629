"""Which files of a directory hold sessions."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import cast

from logbert_engine.data.elements import first_keys
from logbert_engine.data.source import naming, opened
from logbert_engine.data.times import day_of
from logbert_engine.protocol.errors import DataError

_SUFFIXES = (".json", ".json.gz", ".jsonl", ".jsonl.gz")
_USUAL_NAME = re.compile(r"preprocessed_logs_\d{4}-\d{2}-\d{2}\.jsonl?(\.gz)?")
_HEAD = 64 << 10
"""Bytes of text that are looked at where the name tells nothing."""


def is_lines(path: Path) -> bool:
    """Whether a file's name says that each line is a record."""
    return path.name.endswith((".jsonl", ".jsonl.gz"))


def session_files(path: Path, max_files: int = 0) -> list[Path]:
    """The session files at a path, earliest first (by the date in the name, then by name).

    Args:
        path: a file, or a directory whose own files are looked at, not its subdirectories'.
        max_files: how many of the earliest to return; 0 for all.

    Raises:
        DataError: there is no such path, or no session file in it.
    """
    with naming(path):
        if not path.exists():
            raise DataError(f"there is no file or directory {path}.")
        if not path.is_dir():
            if not path.is_file():
                raise DataError(f"{path} is neither a file nor a directory; give session files.")
            return [path]
        found = _in_directory(path)
        if not found:
            raise _none_in(path)
    _refuse_twins(found)
    return found[:max_files] if max_files else found


def _in_directory(folder: Path) -> list[Path]:
    found = [path for path in folder.iterdir() if _is_session_file(path)]
    return sorted(found, key=lambda path: (day_of(path.name) or "9999", path.name))


def _none_in(folder: Path) -> DataError:
    below = sorted(child for child in folder.iterdir() if child.is_dir() and _in_directory(child))
    if below:
        names = ", ".join(str(child) for child in below[:3])
        more = f" and {len(below) - 3} more" if len(below) > 3 else ""
        return DataError(
            f"{folder} holds no session files itself, but its subdirectories do: give one of {names}{more}."
        )
    return DataError(
        f"{folder} holds no session files (*.json, *.json.gz, *.jsonl, *.jsonl.gz with sessions in them, "
        "such as preprocessed_logs_2025-02-24.json): give the directory they are in."
    )


def _refuse_twins(files: list[Path]) -> None:
    names = {file.name for file in files}
    for file in files:
        if f"{file.name}.gz" in names:
            raise DataError(
                f"{file} is there twice, plain and as {file.name}.gz, and its sessions would count double: "
                "take one of the two out of the directory."
            )


def _is_session_file(path: Path) -> bool:
    name = path.name
    if name.startswith(".") or not name.endswith(_SUFFIXES) or not path.is_file():
        return False
    return _USUAL_NAME.fullmatch(name) is not None or _begins_with_session(path)


def _begins_with_session(path: Path) -> bool:
    """Whether the first record has a sequence and no score, which would make it a result."""
    with opened(path) as source, naming(path):
        # What one read gives is enough, and does not fail where the file is cut short further on.
        head = cast("io.BufferedIOBase", source.content).read1(_HEAD)
    keys, broken_off = first_keys(io.BytesIO(head), is_lines(path))
    if "anomaly_score" in keys:
        return False
    return bool(keys & {"event_sequence", "token_ids"}) or (broken_off and "session_id" in keys)
