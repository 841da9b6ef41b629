"""Fixtures that every test can use."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Sockets, state and caches of their own for each test; short, because socket paths are limited."""
    base = Path(tempfile.mkdtemp(prefix="lb-", dir="/tmp"))
    for name in ("RUNTIME", "STATE", "CACHE"):
        folder = base / name.lower()
        folder.mkdir(mode=0o700)
        monkeypatch.setenv(f"LOGBERT_{name}_DIR", str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield base
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The labelled sessions and raw logs that tests read in place."""
    path = Path(os.environ.get("LOGBERT_SHARED", ROOT.parent / "shared")) / "data"
    if not path.is_dir():
        message = f"needs the labelled sessions in {path} (set LOGBERT_SHARED)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path
