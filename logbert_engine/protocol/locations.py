"""Folders of the user: sockets, state, caches. Environment variables move them (tests do)."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import platformdirs

APP = "logbert-tui"
DEFAULT_RUN_DIR = "checkpoints_transfer"
_LONGEST_SOCKET_PATH = 100
"""Bytes. The kernels' limits are 108 (Linux) and 104 (macOS), with the closing zero."""


def runtime_dir() -> Path:
    """Where the engine's socket lies; made with mode 0700. ``LOGBERT_RUNTIME_DIR`` moves it."""
    chosen = os.environ.get("LOGBERT_RUNTIME_DIR")
    path = Path(chosen) if chosen else Path(platformdirs.user_runtime_dir(APP))
    if len(os.fsencode(path / "engine.sock")) > _LONGEST_SOCKET_PATH:
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
        path = Path("/tmp") / f"logbert-{os.getuid()}-{digest}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def socket_path() -> Path:
    """The engine's socket."""
    return runtime_dir() / "engine.sock"


def state_dir() -> Path:
    """What outlives a restart: the list of known runs, the engine's log. ``LOGBERT_STATE_DIR`` moves it."""
    chosen = os.environ.get("LOGBERT_STATE_DIR")
    path = Path(chosen) if chosen else Path(platformdirs.user_state_dir(APP))
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def cache_dir() -> Path:
    """What can be made again: compiled stores. ``LOGBERT_CACHE_DIR`` moves it."""
    chosen = os.environ.get("LOGBERT_CACHE_DIR")
    path = Path(chosen) if chosen else Path(platformdirs.user_cache_dir(APP))
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path
