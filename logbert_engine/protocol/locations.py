"""Folders of the user: sockets, state, caches. Environment variables move them (tests do)."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

import platformdirs

from logbert_engine.protocol.errors import LogbertError

APP = "logbert-tui"
DEFAULT_RUN_DIR = "checkpoints_transfer"
_LONGEST_SOCKET_PATH = 100
"""Bytes. The kernels' limits are 108 (Linux) and 104 (macOS), with the closing zero."""


def given_path(text: str | Path, name: str) -> Path:
    """A path as a person gave it, with ``~`` put in.

    Args:
        text: as it was given.
        name: of the flag or argument, for the sentence.

    Raises:
        LogbertError: it is empty, or of the home of nobody.
    """
    if not str(text):
        raise LogbertError(f"{name} is empty; give a path.")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise LogbertError(f"{name} {text}: there is no such user; give an absolute path.") from error


def resolved_path(text: str | Path, name: str) -> Path:
    """The same, absolute and with its links followed.

    Raises:
        LogbertError: as ``given_path``, or its links lead in a circle, or the working directory is gone.
    """
    path = given_path(text, name)
    try:
        return path.resolve()
    except RuntimeError as error:
        raise LogbertError(f"{name} {text}: its links lead in a circle; give another path.") from error
    except OSError as error:
        raise LogbertError(f"{name} {text}: {error.strerror or error}; give an absolute path.") from error


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
