"""Requests to a worker, left in the run directory: they reach it whoever started it, over any restart."""

from __future__ import annotations

from typing import Literal

import msgspec

from logbert_engine.rundir.atomic import write_file
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.rundir.reading import SMALL, NotAFileError, content

Wish = Literal["pause", "stop"]


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the control file."""

    wish: Wish


def request(run: RunLayout, wish: Wish) -> None:
    """Ask the worker to pause or stop at the next step. Asking twice is asking once."""
    write_file(run.control, msgspec.json.encode(Control(wish=wish)))


def pending(run: RunLayout) -> Wish | None:
    """What is asked of the worker, if anything. Cheap when nothing is (one failed open).

    What holds no request (left by hand) is passed over: it must not end a training of days.
    """
    try:
        asked = content(run.control, SMALL)
    except (FileNotFoundError, NotAFileError):
        return None
    try:
        return msgspec.json.decode(asked, type=Control).wish
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def clear(run: RunLayout) -> None:
    """The request was carried out, or is void because a new attempt begins. A folder of that name is no request."""
    if not run.control.is_dir():
        run.control.unlink(missing_ok=True)
