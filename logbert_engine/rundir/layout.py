"""Where everything in a run directory lies.

RUN/
├── logs/progressive_training_YYYYMMDD_HHMMSS.log   the whole run
├── progressive_training_results.json               a summary of every stage
├── progressive_training_summary.txt                the same for people
├── progressive_training.pid                        the worker, while it runs
├── run.yaml          the resolved preset: enough to repeat the run
├── journal.ndjson    every event of the run, in order
├── control           a request to the worker (pause, stop), while one is pending
├── lock              held by the supervisor
├── heartbeat         touched by the worker, while it runs
├── outcome.WHO.json  why a process of the run could not go on, until the supervisor has read it
├── .reserve          room for the last records of a run whose disk is full, while it runs
├── rejected.ndjson   session records that could not be used, with file, position and reason
└── stage_1_10pct/
    ├── checkpoints/{best_model.pt,epoch_1.pt,…,SHA256SUMS,best_model/}
    │                resume.pt and the one before it, resume.previous.pt, while the stage is unfinished
    ├── logs/stage_1_10pct_YYYYMMDD_HHMMSS.log
    └── training_metrics.json
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

_STAGE = re.compile(r"^stage_(\d+)_(\d+)pct$")


def stage_name(index: int, ratio: float) -> str:
    """The folder of a stage: ``stage_1_10pct`` for the first stage at ratio 0.1."""
    return f"stage_{index}_{round(ratio * 100)}pct"


def timestamp(t: float | None = None) -> str:
    """Local time as the log files' names carry it, ``YYYYMMDD_HHMMSS``."""
    return time.strftime("%Y%m%d_%H%M%S", time.localtime(t))


@dataclass(frozen=True)
class StageLayout:
    """Paths of one stage."""

    root: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.root.name

    @property
    def index(self) -> int:
        """The number in the folder's name."""
        match = _STAGE.match(self.root.name)
        return int(match[1]) if match else 0

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.root / "checkpoints"

    @property
    def best(self) -> Path:
        """The best model of the stage, by validation loss."""
        return self.checkpoints / "best_model.pt"

    @property
    def exported(self) -> Path:
        """The same as a Hugging Face folder."""
        return self.checkpoints / "best_model"

    @property
    def resume(self) -> Path:
        """The exact state in mid-stage."""
        return self.checkpoints / "resume.pt"

    @property
    def resume_previous(self) -> Path:
        """The one saved before it, for when that one is damaged."""
        return self.checkpoints / "resume.previous.pt"

    @property
    def origin(self) -> Path:
        """What the exact states belong to."""
        return self.checkpoints / "resume.origin.json"

    @property
    def metrics(self) -> Path:
        """The stage's figures; written last, so that it marks a complete stage."""
        return self.root / "training_metrics.json"

    @property
    def logs(self) -> Path:
        """The folder of the stage's logs."""
        return self.root / "logs"

    def epoch(self, number: int) -> Path:
        """The model after an epoch, counting from 1."""
        return self.checkpoints / f"epoch_{number}.pt"

    def new_log(self, t: float | None = None) -> Path:
        """The log file of an attempt that starts now."""
        return self.logs / f"{self.name}_{timestamp(t)}.log"


@dataclass(frozen=True)
class RunLayout:
    """Paths of a run directory."""

    root: Path

    @property
    def config(self) -> Path:
        """``run.yaml``."""
        return self.root / "run.yaml"

    @property
    def sources(self) -> Path:
        """``sources.json``: the session files that the run trains on."""
        return self.root / "sources.json"

    @property
    def journal(self) -> Path:
        """``journal.ndjson``."""
        return self.root / "journal.ndjson"

    @property
    def control(self) -> Path:
        """``control``."""
        return self.root / "control"

    @property
    def lock(self) -> Path:
        """``lock``."""
        return self.root / "lock"

    @property
    def heartbeat(self) -> Path:
        """``heartbeat``: touched by the worker while it lives."""
        return self.root / "heartbeat"

    def outcome(self, who: str) -> Path:
        """``outcome.WHO.json``: why a process of the run ended, for the supervisor."""
        return self.root / f"outcome.{who}.json"

    @property
    def pid(self) -> Path:
        """``progressive_training.pid``: the supervisor, while it runs."""
        return self.root / "progressive_training.pid"

    @property
    def results(self) -> Path:
        """``progressive_training_results.json``."""
        return self.root / "progressive_training_results.json"

    @property
    def summary(self) -> Path:
        """``progressive_training_summary.txt``."""
        return self.root / "progressive_training_summary.txt"

    @property
    def reserve(self) -> Path:
        """``.reserve``: space that is set free when the disk is full."""
        return self.root / ".reserve"

    @property
    def triage(self) -> Path:
        """``triage.sqlite``: the verdicts of people."""
        return self.root / "triage.sqlite"

    @property
    def rejected(self) -> Path:
        """``rejected.ndjson``."""
        return self.root / "rejected.ndjson"

    @property
    def logs(self) -> Path:
        """The folder of the logs of the whole run."""
        return self.root / "logs"

    @property
    def worker_errors(self) -> Path:
        """What the worker's process wrote to its standard error; removed when it is empty."""
        return self.logs / "worker.err"

    def new_log(self, t: float | None = None) -> Path:
        """The log file of an attempt that starts now."""
        return self.logs / f"progressive_training_{timestamp(t)}.log"

    def stage(self, name: str) -> StageLayout:
        """A stage by its folder's name."""
        return StageLayout(self.root / name)

    def stages(self) -> list[StageLayout]:
        """The stage folders that exist, in order of their numbers.

        Two of one number, where a run that ended between two steps was extended, are in order of their shares.
        """
        if not self.root.is_dir():
            return []
        found = [(match, path) for path in self.root.iterdir() if (match := _STAGE.match(path.name))]
        found.sort(key=lambda pair: (int(pair[0][1]), int(pair[0][2])))
        return [StageLayout(path) for _, path in found]

    def log_files(self) -> list[Path]:
        """Every log of the run, the run's own first (latest first), then the stages' in order."""
        found = sorted(self.logs.glob("progressive_training_*.log"), reverse=True)
        if self.worker_errors.exists() and self.worker_errors.stat().st_size:
            found.append(self.worker_errors)
        for stage in self.stages():
            found.extend(sorted(stage.logs.glob("*.log"), reverse=True))
        return found


def run_above(path: Path) -> RunLayout | None:
    """The run directory that a path lies in, or is; None where there is none."""
    folders = (path, *path.parents)
    return next((RunLayout(folder) for folder in folders if RunLayout(folder).config.is_file()), None)
