"""Paths that clients name: absolute ones, as a client's working directory is not the engine's."""

from __future__ import annotations

from pathlib import Path

from logbert_engine.protocol.errors import EngineError
from logbert_engine.protocol.messages import RunSpec


def absolute(path: str, what: str) -> Path:
    """A path that a client named; ``~`` is the home of the engine's user.

    Raises:
        EngineError: it is relative, or no path at all.
    """
    if "\0" in path:
        raise EngineError(f"{what} has a zero byte in it; give the path of a file or directory.")
    try:
        given = Path(path).expanduser() if path.startswith("~") else Path(path)
    except RuntimeError as error:  # ~name of nobody
        raise EngineError(f"{what} {path!r}: there is no such user; give an absolute path.") from error
    if not given.is_absolute():
        raise EngineError(
            f"{what} {path!r} is not absolute, and the engine cannot know what it counts from; "
            "give the whole path."
        )
    return given


def check_paths(spec: RunSpec) -> None:
    """Refuse a request with relative paths.

    Raises:
        EngineError: the data or the run directory is relative.
    """
    if spec.data:  # that it is missing is said by the preset's resolution, which names the flag
        absolute(spec.data, "the data path")
    absolute(spec.run_dir, "the run directory")
