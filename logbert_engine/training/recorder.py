"""Where a worker says what happens: the journal for programs, the log files for people, in one call."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from logbert_engine.protocol.errors import StorageError
from logbert_engine.protocol.events import JournalEvent, Level, Log, Metric
from logbert_engine.rundir.atomic import storage_error
from logbert_engine.rundir.journal import TORN, JournalWriter
from logbert_engine.rundir.layout import RunLayout, StageLayout

LOG_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _File(logging.FileHandler):
    """A log file whose write errors stop the run with a sentence instead of a traceback on stderr."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            super().__init__(path, encoding="utf-8")
        except OSError as error:
            raise storage_error(path, error) from error
        formatter = logging.Formatter(LOG_FORMAT, datefmt="%Y-%m-%d %H:%M:%S")
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Write and flush one line."""
        try:
            assert self.stream is not None
            self.stream.write(self.format(record) + self.terminator)
            self.flush()
        except OSError as error:
            raise storage_error(Path(self.baseFilename), error) from error

    def close(self) -> None:
        """Close the file; what could not be flushed was reported when it was written."""
        try:
            super().close()
        except OSError:
            self.stream = None


class Voice(Protocol):
    """What is said in the course of a run."""

    def record(self, event: JournalEvent) -> None:
        """An event for the journal."""

    def metric(self, metric: Metric) -> None:
        """A metric."""

    def log(self, level: Level, message: str) -> None:
        """A line of record."""

    def open_stage(self, index: int, stage: StageLayout) -> None:
        """What follows is about a stage."""

    def close_stage(self) -> None:
        """The stage is over, or interrupted."""

    def sync(self) -> None:
        """What was said is safe on disk when this returns."""


class Mute:
    """The voice of the ranks beside rank 0: it says nothing."""

    def record(self, event: JournalEvent) -> None:
        """Nothing."""

    def metric(self, metric: Metric) -> None:
        """Nothing."""

    def log(self, level: Level, message: str) -> None:
        """Nothing."""

    def open_stage(self, index: int, stage: StageLayout) -> None:
        """Nothing."""

    def close_stage(self) -> None:
        """Nothing."""

    def sync(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Recorder:
    """The voice of rank 0: appends to the journal and writes the log lines of the run and of the stage at work."""

    def __init__(self, run: RunLayout) -> None:
        self._journal = JournalWriter(run.journal)
        self._log = logging.Logger("run")
        self._stage_handler: _File | None = None
        self._stage: int | None = None
        self._run_handler = _File(run.new_log())
        self._log.addHandler(self._run_handler)
        if self._journal.torn:
            self.log("warning", TORN)

    def record(self, event: JournalEvent) -> None:
        """Append an event to the journal."""
        self._journal.append(event)

    def metric(self, metric: Metric) -> None:
        """Append a metric, and a line for it to the stage's log."""
        self._journal.append(metric)
        if self._stage_handler is not None:
            rate = f"{metric.sessions_per_s:,.0f} sessions/s" if metric.sessions_per_s else ""
            loss = "not finite" if metric.loss is None else f"{metric.loss:.4f}"
            line = (
                f"epoch {metric.epoch} step {metric.step}/{metric.steps} loss {loss} "
                f"lr {metric.lr:.2e} {rate} rss {metric.rss_mb or 0:,.0f} MB"
            )
            self._stage_handler.emit(self._log.makeRecord("run", logging.INFO, "", 0, line, (), None))

    def log(self, level: Level, message: str) -> None:
        """A line of record: to the journal, to the run's log and to the log of the stage at work."""
        self._log.log(_LEVELS[level], message)
        self._journal.append(Log(level=level, message=message, stage=self._stage))

    def open_stage(self, index: int, stage: StageLayout) -> None:
        """From now on lines also go to the stage's own log."""
        self.close_stage()
        self._stage_handler = _File(stage.new_log(time.time()))
        self._log.addHandler(self._stage_handler)
        self._stage = index

    def close_stage(self) -> None:
        """The stage at work is over, or interrupted."""
        if self._stage_handler is not None:
            self._log.removeHandler(self._stage_handler)
            self._stage_handler.close()
        self._stage_handler, self._stage = None, None

    def sync(self) -> None:
        """Put the journal on the disk."""
        self._journal.sync()

    def close(self) -> None:
        """Close all files. Never raises: what matters was written, or failed and was reported, before."""
        with suppress(StorageError):
            self._journal.sync()
        self._journal.close()
        self.close_stage()
        self._run_handler.close()
