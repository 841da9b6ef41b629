"""What inference finds: the records of ``results.json``, and the calls that read them."""

from __future__ import annotations

from typing import Literal

import msgspec


class EventScore(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A position of a session, with what the model expected there."""

    position: int
    """Counts from 0."""
    event: int | str
    surprisal: float
    """Nats, natural logarithm."""
    expected: list[tuple[int | str, float]] = []
    """Likeliest events with their probabilities, likeliest first."""


class DifferenceStep(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A run of events that a session and an ordinary one have in common, or differ in."""

    kind: Literal["keep", "insert", "delete", "substitute"]
    """``insert``: the session has them and the ordinary one does not; ``delete``: the other way round."""
    at: int
    """Where in the session, from 0."""
    seen: list[int | str] = []
    """The session's events."""
    ordinary: list[int | str] = []
    """The ordinary one's, where they are others."""


class Nearest(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The ordinary session that training saw and that is most like a session."""

    distance: int
    """Events to insert, delete or substitute."""
    sessions: int
    """Training sessions of these very events."""
    steps: list[DifferenceStep]
    """From the first event to the last; empty where the two are too long to be laid side by side."""
    approximate: bool = False
    """Whether it was found by the bag of events alone; the distance is then at least this."""


class CountDifference(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How often an event occurs in a session, and in the ordinary sessions most like it."""

    event: int | str
    here: int
    median: int
    lowest: int
    highest: int


class SessionResult(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A record of ``results.json``."""

    session_id: int | str
    anomaly_score: float
    """Robust z of the session's log surprisal among the calibration sessions."""
    is_anomaly: bool
    surprisal: float
    """Mean over the session's events, nats."""
    length: int
    reason: str
    """One sentence: which event surprised most and what was expected."""
    threshold: float | None = None
    """Of ``anomaly_score``, where one was given."""
    budget: float | None = None
    """Share of ordinary sessions that may alarm, where there is no threshold."""
    p_value: float = 1.0
    """Share of ordinary sessions with evidence as strong, by the held-out ones."""
    evidence: float = 0.0
    """-log10 of the product of the two lowest p-values among the statistics and rules: what sessions are ranked by,
    those that alarm before the others."""
    component: str = ""
    """The kind of evidence that it comes from."""
    identical: int = 1
    """Sessions of this input with the same sequence."""
    unseen_events: int = 0
    """Events of the session that training never saw."""
    service_name: str | None = None
    timestamp: str | None = None
    file: str = ""
    label: int | None = None
    highest: list[EventScore] = []
    """The positions of highest surprisal, highest first."""
    event_sequence: list[int | str] | None = None
    """Only with details (alarms and the top of the list)."""
    surprisals: list[float] | None = None
    """One a position, nats, in the view that the evidence comes from; only with details."""
    nearest: Nearest | None = None
    """Only for the top of the list."""
    signature: str = ""
    """What sessions of the same events have in common; only with details."""
    verdict: str = ""
    """What people had judged when it was scored: normal, anomaly, ignore or suppress."""
    silenced: bool = False
    """Whether it would alarm but for the verdict."""
    by_verdict: bool = False
    """Whether it is an anomaly by the verdict alone."""
    counts: list[CountDifference] = []
    """Events that occur more or less often than in ordinary sessions like it, largest difference first; only with
    details."""


class ReadResults(msgspec.Struct, kw_only=True, omit_defaults=True):
    """``read_results``: a page of a results file, ranked by score, highest first."""

    output: str
    offset: int = 0
    most: int = 200


class ResultRow(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A row of the ranked list: a ``SessionResult`` without its positions."""

    rank: int
    session_id: int | str
    anomaly_score: float
    is_anomaly: bool
    length: int
    reason: str
    p_value: float = 1.0
    evidence: float = 0.0
    """What the list is ranked by within a budget, -log10."""
    component: str = ""
    identical: int = 1
    unseen_events: int = 0
    service_name: str | None = None
    timestamp: str | None = None
    label: int | None = None
    verdict: str = ""
    """What people have judged by now."""


class ResultsPage(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Answer to ``read_results``."""

    output: str
    total: int
    anomalies: int
    mean: float
    deviation: float
    lowest: float
    highest: float
    offset: int
    rows: list[ResultRow]
    threshold: float | None = None
    budget: float | None = None
    drift: str = ""
    """Why the calibration does not hold for these sessions; empty where it does."""
    false_alarm_rate: float | None = None
    """Share of ordinary sessions that alarm, by the held-out ones; None where not known."""
    false_alarm_span: tuple[float, float] | None = None
    """Where that share lies with a probability of 95%; None where not known, as with a threshold."""
    tails: str = ""
    """Which tails do not fit, and after a colon what that means; empty where all do."""
    unused: str = ""
    """How much of the input could not be used, and after a semicolon where and why; empty where all was."""
    written_at: float = 0.0


class ReadResult(msgspec.Struct, kw_only=True, omit_defaults=True):
    """``read_result``: one session by its rank (from 0), whole."""

    output: str
    rank: int


class ResultDetail(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Answer to ``read_result``."""

    rank: int
    session: SessionResult
    templates: dict[str, str] = {}
    """Texts of the events that occur in it or were expected, where known; keys are event ids as text."""
    verdict: str = ""
    """What people have judged by now."""


class GiveVerdict(msgspec.Struct, kw_only=True, omit_defaults=True):
    """``give_verdict``: judge a session of a results file that lies in a run directory, by its rank (from 0).

    Where its events are kept the verdict holds for all sessions of the same events, but for ``ignore``.
    """

    output: str
    rank: int
    verdict: Literal["normal", "anomaly", "ignore", "suppress"]
    days: float = 7.0
    """How long ``suppress`` holds."""
    note: str = ""


class UndoVerdict(msgspec.Struct, kw_only=True, omit_defaults=True):
    """``undo_verdict``: take back the last verdict of this user that stands."""

    output: str
