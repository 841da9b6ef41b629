"""Screens kept as text. `make snapshots` writes them anew; the difference is then for `git diff` to show."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).with_name("snapshots")
RENEW = "RENEW_SNAPSHOTS"


def assert_same(name: str, text: str) -> None:
    """A screen looks as it did, or its snapshot is written anew where that is asked for."""
    path = FOLDER / f"{name}.txt"
    text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    if os.environ.get(RENEW):
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"there is no snapshot {name}; make it with `make snapshots`."
    assert text == path.read_text(encoding="utf-8")
