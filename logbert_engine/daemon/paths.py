"""Paths that clients name: absolute ones, as a client's working directory is not the engine's."""

from __future__ import annotations

import os
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


def resolved(path: str, what: str) -> Path:
    """The same with its links followed.

    Raises:
        EngineError: as ``absolute``, or its links lead in a circle.
    """
    try:
        return absolute(path, what).resolve()
    except RuntimeError as error:
        raise EngineError(f"{what} {path!r}: its links lead in a circle; give another path.") from error


def check_paths(spec: RunSpec) -> None:
    """Refuse a request with relative paths, wherever one can stand.

    Raises:
        EngineError: one of them is relative.
    """
    if spec.data:  # that it is missing is said by the preset's resolution, which names the flag
        absolute(spec.data, "the data path")
    absolute(spec.run_dir, "the run directory")
    if spec.preset.endswith((".yaml", ".yml")):
        absolute(spec.preset, "the preset's file")
    if spec.pretrained:
        _check_pretrained(spec.pretrained)
    for text in spec.overrides:
        key, _, value = text.partition("=")
        given = value.strip().strip("'\"")
        if key.strip() == "data.templates" and given not in ("", "~", "null"):
            absolute(given, "the templates' file")
        elif key.strip() == "model.pretrained" and given not in ("", "~", "null"):
            _check_pretrained(given)


def _check_pretrained(name: str) -> None:
    """A pre-trained model is named by an id of the hub, which looks like a relative path, or by a path."""
    if name.startswith(("/", "~", ".")) or "\0" in name:
        absolute(name, "the pre-trained model")
    elif os.path.exists(name):  # noqa: PTH110 (never raises)
        raise EngineError(
            f"the pre-trained model {name!r} is an id of the hub and also a folder where the engine was started; "
            "give the folder's whole path, or start the engine elsewhere."
        )
