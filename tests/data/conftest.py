"""Session files for the tests of this folder."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``write(name, records)``: a session file in the form that its name and ``wrapped`` ask for."""

    def write_file(name: str, records: list[Any], *, wrapped: bool = False) -> Path:
        if ".jsonl" in name:
            text = "".join(json.dumps(record) + "\n" for record in records)
        else:
            text = json.dumps({"made": {"by": ["a test"]}, "sessions": records} if wrapped else records)
        content = text.encode()
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return write_file
