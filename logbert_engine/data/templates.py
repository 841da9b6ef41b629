"""Texts of events: ``vocabulary.csv`` with the columns event_id and template."""

from __future__ import annotations

import csv
from pathlib import Path

from logbert_engine.data.source import naming
from logbert_engine.protocol.errors import DataError
from logbert_engine.protocol.locations import given_path

_FILE = "vocabulary.csv"
_ID_NAMES = ("eventid", "id")
_TEXT_NAMES = ("template", "eventtemplate")


def find_templates(data: Path, given: str | None) -> dict[str, str]:
    """The template of each event.

    Args:
        data: a session file, or the directory that holds them.
        given: a CSV file; None: ``vocabulary.csv`` beside the session files or in the directory above.

    Returns:
        Templates by event id as text; empty when no file was given and none is there.

    Raises:
        DataError: the given file is not there, or a file does not have the columns.
    """
    if given is not None:
        path = given_path(given, "data.templates")
        if not path.is_file():
            raise DataError(f"there is no file of templates {path}: give a CSV with event_id and template.")
        return _read(path)
    folder = (data if data.is_dir() else data.parent).resolve()
    for place in (folder, folder.parent):
        if (place / _FILE).is_file():
            return _read(place / _FILE)
    return {}


def _column(names: list[str], wanted: tuple[str, ...]) -> int | None:
    plain = [name.strip().lower().replace("_", "") for name in names]
    return next((plain.index(name) for name in wanted if name in plain), None)


def _read(path: Path) -> dict[str, str]:
    templates: dict[str, str] = {}
    with naming(path), path.open(encoding="utf-8-sig", newline="") as file:
        try:
            rows = csv.reader(file)
            names = next(rows, [])
            event, text = _column(names, _ID_NAMES), _column(names, _TEXT_NAMES)
            if event is None or text is None:
                raise DataError(f"{path} needs the columns event_id and template in its first line.")
            for row in rows:
                if not row:
                    continue
                if len(row) <= max(event, text):
                    raise DataError(
                        f"{path}:{rows.line_num}: {len(row)} columns where {len(names)} are named."
                    )
                templates[_key(row[event].strip())] = row[text]
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path} is not a CSV file in UTF-8: {error}.") from error
    return templates


def _key(event: str) -> str:
    """As sessions have it: a text of digits is a number, so leading zeros go."""
    return (event.lstrip("0") or "0") if event.isascii() and event.isdecimal() else event
