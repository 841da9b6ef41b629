"""How long a pause takes until all memory is free, and a resume until the next step, on preset ``test``."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from logbert_engine.protocol.events import Metric, StageStarted
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.rundir import control
from logbert_engine.rundir.journal import JournalReader
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.supervision.launch import launch
from logbert_engine.training.prepare import prepare
from tests.bench import classic

ROUNDS = 5
PAUSED_WITHIN_S, RESUMED_WITHIN_S = 3.0, 10.0
_LOOK_S = 0.005
_DEADLINE_S = 120.0


def _until(condition: Callable[[], bool], what: str) -> float:
    """Wait for another process; returns the seconds that it took."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > _DEADLINE_S:
            raise TimeoutError(f"not within {_DEADLINE_S:.0f} s: {what}")
        time.sleep(_LOOK_S)
    return time.monotonic() - begin


def _next_step(reader: JournalReader, started: list[int]) -> bool:
    """Whether a step of this attempt is in the journal."""
    for event in reader.read():
        if isinstance(event, StageStarted):
            started.append(event.step)
        elif isinstance(event, Metric) and started and event.step > started[-1]:
            return True
    return False


def _round(run: RunLayout) -> tuple[float, float]:
    """Seconds from the start of the processes to the next step, and from the request to their end."""
    reader, started = JournalReader(run.journal), []
    while reader.read():
        pass
    process = launch(run)
    resumed = _until(lambda: _next_step(reader, started), "a step after the resume")
    control.request(run, "pause")
    paused = _until(lambda: process.poll() is not None, "the end of all processes")
    return resumed, paused


def run() -> bool:
    """Print the table; whether both are within their promise."""
    os.environ.setdefault("LOGBERT_CACHE_DIR", tempfile.mkdtemp(prefix="bench-"))
    os.environ.setdefault("LOGBERT_STATE_DIR", tempfile.mkdtemp(prefix="bench-"))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        layout = prepare(
            RunSpec(
                data=str(classic.sessions_folder()),
                run_dir=str(Path(folder) / "run"),
                preset="test",
                sample_ratio=1.0,
                progressive=False,
                device="cpu",
                overrides=["training.log_every=1", "stages.epochs=50"],
            )
        )
        _round(layout)  # compiles the store
        found = [_round(layout) for _ in range(ROUNDS)]
    resumed, paused = (statistics.median(seconds) for seconds in zip(*found, strict=True))
    print(f"pausing and resuming, preset test: median of {ROUNDS} rounds, s")
    print(f"{'pause, until no process of the run is left':<48}{paused:>8.2f}  (at most {PAUSED_WITHIN_S:g})")
    print(f"{'resume, until the next step is journaled':<48}{resumed:>8.2f}  (at most {RESUMED_WITHIN_S:g})")
    return paused <= PAUSED_WITHIN_S and resumed <= RESUMED_WITHIN_S
