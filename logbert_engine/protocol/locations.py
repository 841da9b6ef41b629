"""Folders of the user: sockets, state, caches. Environment variables move them (tests do)."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

import platformdirs

APP = "logbert-tui"
DEFAULT_RUN_DIR = "checkpoints_transfer"
_LONGEST_SOCKET_PATH = 100
"""Bytes. The kernels' limits are 108 (Linux) and 104 (macOS), with the closing zero."""


def program(name: str) -> str:
    """A program of ours as it can be typed: by its name where the shell finds it, else by its path."""
    found = shutil.which(name)
    beside = Path(sys.executable).with_name(name)
    if found is None and beside.is_file():
        here = Path.cwd()
        return str(beside.relative_to(here) if beside.is_relative_to(here) else beside)
    return name


def runtime_folder() -> Path:
    """Where the engine's socket lies, which may not be there yet. ``LOGBERT_RUNTIME_DIR`` moves it."""
    chosen = os.environ.get("LOGBERT_RUNTIME_DIR")
    path = Path(chosen) if chosen else Path(platformdirs.user_runtime_dir(APP))
    if len(os.fsencode(path / "engine.sock")) > _LONGEST_SOCKET_PATH:
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
        path = Path("/tmp") / f"logbert-{os.getuid()}-{digest}"
    return path


def runtime_dir() -> Path:
    """The same folder, made with mode 0700."""
    path = runtime_folder()
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
