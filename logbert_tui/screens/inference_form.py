"""The inference form as pure functions: what was typed becomes an ``InferSpec`` or a sentence."""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Collection
from pathlib import PurePosixPath

from logbert_engine.protocol.errors import LogbertError
from logbert_engine.protocol.messages import CheckpointInfo, InferSpec

DEFAULT_ALARM = "0.1%"
RESULTS_FOLDER = "results"
_ENDINGS = re.compile(r"(\.jsonl?|\.ndjson)?(\.gz)?$")


def parse_alarm(text: str) -> tuple[float | None, float | None]:
    """When a session is an anomaly: (threshold, None) for ``2.0``, (None, share) for ``0.5%``.

    Raises:
        LogbertError: neither a score nor a share.
    """
    typed = text.strip()
    number = typed.removesuffix("%").strip()
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if typed.endswith("%"):
        if 0 < value < 100:
            return None, value / 100
        raise LogbertError(
            f"“{typed}” is not a share of sessions: write a percentage between 0% and 100%, such as 0.5%."
        )
    if math.isfinite(value):
        return value, None
    raise LogbertError(
        f"“{typed}” is neither a score nor a share: write a score such as 2.0 or a share such as 0.5%."
    )


def parse_inputs(text: str, home: str = "") -> list[str]:
    """The input paths, separated by spaces, quoted where they have spaces themselves.

    Raises:
        LogbertError: no path, or a quote that is not closed.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise LogbertError(
            f"The input paths cannot be read ({error}): quote each path that has spaces, or none."
        ) from error
    if not words:
        raise LogbertError("There is no input: name a file or a directory of session files to score.")
    return [absolute(word, home) for word in words]


def absolute(path: str, home: str = "") -> str:
    """A path that means the same to the engine: ``~`` is its home, other relative ones start from here."""
    if home and (path == "~" or path.startswith("~/")):
        return home + path[1:]
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - no link is to be resolved


def default_output(
    run_dir: str, inputs: str, checkpoint: CheckpointInfo | None, taken: Collection[str]
) -> str:
    """A results file in the run directory that is named after its input and its stage, and is new."""
    try:
        words = shlex.split(inputs)
    except ValueError:
        words = []
    stem = _ENDINGS.sub("", PurePosixPath(words[0]).name) if words else ""
    if len(words) > 1:
        stem += f"_and_{len(words) - 1}_more"
    if checkpoint is not None and checkpoint.stage:
        stem = f"{stem or 'sessions'}_stage_{checkpoint.stage}"
    base = f"{run_dir}/{RESULTS_FOLDER}/{stem or 'sessions'}"
    number = 1
    while (path := f"{base}.json" if number == 1 else f"{base}_{number}.json") in taken:
        number += 1
    return path


def make_spec(
    checkpoint: str, inputs: str, output: str, alarm: str, home: str = "", *, adapt: bool = False
) -> InferSpec:
    """The inference that the form describes.

    Raises:
        LogbertError: a field that cannot be understood; the message says which and how to mend it.
    """
    if not checkpoint:
        raise LogbertError(
            "There is no checkpoint yet: the first one is written when the run's first epoch ends."
        )
    if not output.strip():
        raise LogbertError("There is no output: name the file that the results go to.")
    threshold, budget = parse_alarm(alarm)
    if adapt and threshold is not None:
        raise LogbertError(
            f"Adapting calibrates anew, so the score {alarm.strip()} means nothing then: write a share such as 0.1%, "
            "or switch adapt off."
        )
    return InferSpec(
        checkpoint=checkpoint,
        inputs=parse_inputs(inputs, home),
        output=absolute(output.strip(), home),
        threshold=threshold,
        alert_budget=budget,
        adapt=adapt,
    )
