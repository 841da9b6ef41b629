"""What the screens show, fed by the engine's answers and notifications. Pure: no Textual, no sockets."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from logbert_engine.protocol.estimates import Measuring
from logbert_engine.protocol.events import JournalEvent, Metric
from logbert_engine.protocol.messages import (
    Hardware,
    InferenceProgress,
    PresetInfo,
    Resources,
    RunInfo,
    Subscribed,
    Welcome,
)
from logbert_engine.protocol.runstate import RunState

Connection = Literal["connecting", "connected", "lost"]
Part = Literal["connection", "run", "metric", "resources", "catalogue", "inference", "measuring", "notices"]
"""What can change: ``run`` is everything of a run but its ``metric`` figures and its curve."""
Severity = Literal["info", "warning", "error"]

PARTS: tuple[Part, ...] = (
    "connection",
    "run",
    "metric",
    "resources",
    "catalogue",
    "inference",
    "measuring",
    "notices",
)
SHOWN_S = 8.0
"""How long a sentence that is neither a warning nor an error stays."""
UNSEEN = "unseen"
"""The message of an inference that ended while the engine was not connected."""


@dataclass(frozen=True)
class Notice:
    """One sentence for the user."""

    text: str
    severity: Severity = "info"
    t: float = 0.0


def sentence(text: str) -> str:
    """A message with a capital letter in front, as it stands alone on the screen."""
    return text[:1].upper() + text[1:]


@dataclass
class ConsoleState:
    """Everything that is shown. Changed by its methods only; each marks the part that it changed.

    A screen asks ``changed_since`` with the versions that it painted last, so any number of events between
    two paints costs one comparison.
    """

    connection: Connection = "connecting"
    connection_problem: str = ""
    """Why there is no connection, one sentence."""
    engine: Welcome | None = None
    read_only: bool = False
    run_dir: str = ""
    """The run that is followed; empty before one is opened."""
    run: RunState | None = None
    resources: Resources | None = None
    hardware: Hardware | None = None
    presets: list[PresetInfo] = field(default_factory=list)
    runs: list[RunInfo] = field(default_factory=list)
    inference: dict[int, InferenceProgress] = field(default_factory=dict)
    measuring: dict[int, Measuring] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    versions: Counter[Part] = field(default_factory=Counter)

    def touch(self, *parts: Part) -> None:
        """Mark parts as changed."""
        for part in parts:
            self.versions[part] += 1

    def changed_since(self, seen: Counter[Part]) -> set[Part]:
        """The parts that changed since ``seen``, which is brought up to date."""
        changed = {part for part in PARTS if self.versions[part] != seen[part]}
        if changed:
            seen.update({part: self.versions[part] - seen[part] for part in changed})
        return changed

    # Connection

    def connected(self, welcome: Welcome) -> None:
        """The engine answered."""
        if self.connection == "lost":  # what was said about the loss is over
            problem = sentence(self.connection_problem)
            self._keep([notice for notice in self.notices if notice.text != problem])
        self.connection, self.connection_problem, self.engine = "connected", "", welcome
        self.touch("connection")

    def disconnected(self, problem: str) -> None:
        """The engine is gone, or could not be reached."""
        if (self.connection, self.connection_problem) != ("lost", problem):
            self.connection, self.connection_problem = "lost", problem
            self.touch("connection")
            self.notice(problem, "warning")

    # The run that is followed

    @property
    def seq(self) -> int:
        """The last event known of the run that is followed; 0 when nothing is known."""
        return self.run.seq if self.run is not None else 0

    def follow(self, run_dir: str) -> None:
        """Turn to a run. What is known of the same run stays."""
        if run_dir != self.run_dir:
            self.run_dir, self.run = run_dir, None
            self.touch("run", "metric")

    def subscribed(self, answer: Subscribed) -> None:
        """Take in the answer to ``subscribe``: a snapshot, or nothing where the missed events follow."""
        self.run_dir = answer.run_dir
        before = self._phase
        if answer.snapshot is not None:
            self.run = answer.snapshot
        elif self.run is None:
            self.run = RunState()
        self._take_inferences(answer)
        self.touch("run", "metric", "inference")
        self._drop_outdated(before)

    def _take_inferences(self, answer: Subscribed) -> None:
        """What is being scored now. What was, and is not among it, came to an end that nobody saw here."""
        for known in self.inference.values():
            if known.state == "running" and known.run_dir == answer.run_dir:
                self.inference[known.id] = msgspec.structs.replace(known, state="failed", message=UNSEEN)
        self.inference.update({progress.id: progress for progress in answer.inferences})

    def apply(self, run_dir: str, events: Sequence[JournalEvent]) -> bool:
        """Take in events of a run, in order.

        Returns:
            False when events are missing between what is known and these; they are not taken in then.
        """
        run = self.run
        if run is None or run_dir != self.run_dir:
            return True
        before = self._phase
        for event in events:
            if event.seq > run.seq + 1:
                self._drop_outdated(before)
                return False
            if event.seq <= run.seq:
                continue
            run.apply(event)
            self.touch("metric" if isinstance(event, Metric) else "run")
        self._drop_outdated(before)
        return True

    @property
    def _phase(self) -> str:
        return self.run.phase if self.run is not None else ""

    def _drop_outdated(self, before: str) -> None:
        """A warning or an error was about the phase that is over; what was said by the way goes by itself."""
        if before and self._phase != before:
            self._keep([notice for notice in self.notices if notice.severity == "info"])

    # The machine and the catalogue

    def set_resources(self, resources: Resources) -> None:
        """The machine's figures of this second."""
        self.resources = resources
        self.touch("resources")

    def set_hardware(self, hardware: Hardware) -> None:
        """The machine that the engine runs on."""
        self.hardware = hardware
        self.touch("catalogue")

    def set_presets(self, presets: list[PresetInfo]) -> None:
        """The presets to choose from."""
        self.presets = presets
        self.touch("catalogue")

    def set_runs(self, runs: list[RunInfo]) -> None:
        """The runs that the engine knows, latest first."""
        self.runs = runs
        self.touch("catalogue")

    def set_inference(self, progress: InferenceProgress) -> None:
        """How far an inference is."""
        self.inference[progress.id] = progress
        self.touch("inference")

    def set_measuring(self, progress: Measuring) -> None:
        """How far a measurement is."""
        self.measuring[progress.id] = progress
        self.touch("measuring")

    @property
    def is_training(self) -> bool:
        """Whether a run that is known trains at present, so that its machine has other work to do."""
        return any(
            phase in ("preparing", "training") for phase in (self._phase, *(r.phase for r in self.runs))
        )

    @property
    def scoring(self) -> InferenceProgress | None:
        """What is being scored with a checkpoint of the run that is followed; of several the latest."""
        running = (p for p in self.inference.values() if p.state == "running")
        return max((p for p in running if p.run_dir == self.run_dir), key=lambda p: p.id, default=None)

    # Notices

    def notice(self, text: str, severity: Severity = "info") -> None:
        """Say a sentence to the user, until a key dismisses it or another comes; it takes the older one's place."""
        self.notices = [Notice(sentence(text), severity, time.time())]
        self.touch("notices")

    def expire(self, now: float) -> None:
        """Drop what was said by the way some seconds ago; warnings and errors stay until they are dismissed."""
        self._keep([n for n in self.notices if n.severity != "info" or now - n.t < SHOWN_S])

    def _keep(self, kept: list[Notice]) -> None:
        if len(kept) < len(self.notices):
            self.notices = kept
            self.touch("notices")

    def dismiss(self) -> bool:
        """Drop the notices; False when there was none."""
        if not self.notices:
            return False
        self.notices.clear()
        self.touch("notices")
        return True
