"""Fixtures that every test can use."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]
os.environ["HF_HUB_OFFLINE"] = "1"  # huggingface_hub reads it once, when it is imported
settings.register_profile("logbert", deadline=None)  # a busy machine is no failure
settings.load_profile("logbert")
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as a background job has it, and each of its children would
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _folders(patch: pytest.MonkeyPatch) -> Path:
    base = Path(tempfile.mkdtemp(prefix="lb-", dir="/tmp"))  # short: socket paths are limited
    for name in ("RUNTIME", "STATE", "CACHE"):
        folder = base / name.lower()
        folder.mkdir(mode=0o700)
        patch.setenv(f"LOGBERT_{name}_DIR", str(folder))
    patch.setenv("HF_HUB_OFFLINE", "1")
    return base


@pytest.fixture(autouse=True, scope="session")
def own_session_folders() -> Iterator[None]:
    """Fixtures that live longer than a test must not meet the user's own engine either."""
    with pytest.MonkeyPatch.context() as patch:
        base = _folders(patch)
        yield
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Sockets, state and caches of their own for each test."""
    base = _folders(monkeypatch)
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
