"""The model beside the floor, on every slice: what ``evaluate`` says, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np

from logbert_engine.evaluation.bootstrap import LEVEL, RESAMPLES, Interval, intervals
from logbert_engine.evaluation.detections import Detector, Kind, Sample
from logbert_engine.evaluation.manifest import Manifest
from logbert_engine.evaluation.metrics import Figures, evaluate_on
from logbert_engine.evaluation.slices import slices_of
from logbert_engine.evaluation.wording import figure
from logbert_engine.protocol.errors import EvaluationError


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A detector on a slice."""

    detector: str
    kind: Kind
    figures: Figures
    intervals: dict[str, Interval | None]
    """Of the measures that have one, by their names in ``figures``."""


class SliceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All detectors on a part of the sessions."""

    name: str
    """``all``, ``unique``, ``unseen`` or ``seen``."""
    title: str
    sessions: int
    anomalies: int
    excluded: dict[str, int]
    """Sessions of the evaluation that are not in this slice, by the reason in words."""
    rows: list[Row]
    """Models first, then the floor, as they were given."""


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """The sessions of an evaluation."""

    name: str
    sessions: int
    anomalies: int
    distinct: int
    """Sequences."""
    with_unseen: int
    """Sessions that hold an event which training never saw."""
    copies: int = 0
    """Anomalies that hold the very events of an ordinary session of training, in the same order."""
    weights: dict[str, list[float]]
    """Lowest and highest weight of the ``normal`` and of the ``anomalous`` sessions."""
    first: str | None
    """Time of the first session (ISO 8601, UTC), None where no time is known."""
    last: str | None
    excluded: dict[str, int]
    """Sessions left out of every slice, by the reason in words."""
    unused: str = ""
    """What of the input could not be used, and why; empty where everything was."""


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """How many ordinary sessions should alarm, by those that were held out from training."""

    share: float
    low: float
    """Lowest and highest that so few held-out sessions leave open, with a probability of 95%."""
    high: float
    held_out: int
    """Sessions."""
    adapted: bool = False
    """Whether these are of the input, which the model adapted to, instead of training."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of an evaluation."""

    data: Data
    model: str
    """The detector that the floor is compared with."""
    best_floor: str | None
    """The rule of highest F1 on all sessions. It is chosen by the labels, which flatters the floor."""
    floor_beaten: bool
    """Whether the model's F1 on all sessions is above that of the best rule."""
    sentence: str
    """The same in words, and whether the intervals tell them apart."""
    expected: Expected | None = None
    """False alarms of the model; None where it was not calibrated."""
    not_adapted: str = ""
    """Why the model did not adapt to the sessions; empty where it did, and where it was not to."""
    slices: list[SliceFigures]
    resamples: int
    level: float
    seed: int
    manifest: Manifest | None = None

    def row(self, detector: str, part: str = "all") -> Row:
        """A detector's row on a slice.

        Raises:
            KeyError: there is no such row.
        """
        for found in self.slices:
            for row in found.rows:
                if found.name == part and row.detector == detector:
                    return row
        raise KeyError((detector, part))


def compare(
    sample: Sample,
    detectors: Sequence[Detector],
    *,
    data: str,
    copies: int = 0,
    expected: Expected | None = None,
    excluded: Mapping[str, int] | None = None,
    unused: str = "",
    not_adapted: str = "",
    resamples: int = RESAMPLES,
    seed: int = 0,
    manifest: Manifest | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Evaluate models and floor on all slices of a sample.

    Args:
        sample: S labelled sessions.
        detectors: the first model among them is compared with the floor.
        data: name of the data, for readers.
        copies: anomalies with the very events of an ordinary session of training.
        expected: false alarms of the first model.
        excluded: sessions that are not in the sample (without a label, unreadable), by the reason in words.
        unused: what of the input could not be used, and why, in words.
        not_adapted: why the model did not adapt to the sessions though it was to, in words.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        manifest: what the evaluation was made from.
        report: called with (done, all).

    Raises:
        EvaluationError: there is no session or no model, two detectors share a name, or one speaks of other
            sessions.
    """
    if not len(sample):
        raise EvaluationError(f"{data} has no labelled session to evaluate on.")
    models = [detector for detector in detectors if detector.kind == "model"]
    floors = [detector for detector in detectors if detector.kind == "floor"]
    if not models:
        raise EvaluationError("no model to evaluate, only floors.")
    if len({detector.name for detector in detectors}) < len(detectors):
        raise EvaluationError("two detectors of the evaluation have the same name; name them apart.")
    found: list[SliceFigures] = []
    done = 0
    for part in slices_of(sample):
        rows: list[Row] = []
        for detector in models + floors:
            here = detector.take(part.rows)
            rows.append(
                Row(
                    detector=detector.name,
                    kind=detector.kind,
                    figures=evaluate_on(part.sample, here),
                    intervals=intervals(part.sample, here, resamples=resamples, seed=seed),
                )
            )
            done += 1
            if report is not None:
                report(done, 4 * len(detectors))
        found.append(
            SliceFigures(
                name=part.name,
                title=part.title,
                sessions=len(part.rows),
                anomalies=int(part.sample.label.sum()),
                excluded=part.excluded,
                rows=rows,
            )
        )
    best, beaten, sentence = against_the_floor(found[0].rows)
    return Comparison(
        data=_described(sample, data, copies, dict(excluded or {}), unused),
        model=models[0].name,
        best_floor=best,
        floor_beaten=beaten,
        sentence=sentence,
        expected=expected,
        not_adapted=not_adapted,
        slices=found,
        resamples=resamples,
        level=LEVEL,
        seed=seed,
        manifest=manifest,
    )


def against_the_floor(rows: Sequence[Row]) -> tuple[str | None, bool, str]:
    """The best rule, whether the first model beats it, and a sentence.

    Args:
        rows: on all sessions, the model first.
    """
    model, floors = rows[0], [row for row in rows if row.kind == "floor"]
    own = model.figures.f1
    if own is None:
        return None, False, "without a labelled anomaly there is no F1 to compare with the floor"
    if not floors:
        return None, False, f"F1 {figure(own)}; no floor was given to compare it with"
    best = max(floors, key=lambda row: row.figures.f1 or 0.0)
    floor = best.figures.f1 or 0.0
    digits = next((n for n in (3, 4, 5) if figure(own, n) != figure(floor, n)), 3)
    told = (
        f"F1 {figure(own, digits)} against {figure(floor, digits)} of the best simple rule ({best.detector})"
    )
    if own == floor:
        return best.detector, False, f"{told}: equal"
    one, other = model.intervals.get("f1"), best.intervals.get("f1")
    overlap = one is None or other is None or (one.low <= other.high and other.low <= one.high)
    verdict = "above" if own > floor else "below"
    return best.detector, own > floor, f"{told}: {verdict}{', but within the interval' if overlap else ''}"


def encode(comparison: Comparison) -> bytes:
    """The comparison as JSON, indented."""
    return msgspec.json.format(msgspec.json.encode(comparison), indent=1) + b"\n"


def decode(text: bytes) -> Comparison:
    """The comparison that ``encode`` wrote.

    Raises:
        EvaluationError: the JSON is no comparison.
    """
    try:
        return msgspec.json.decode(text, type=Comparison)
    except msgspec.DecodeError as error:
        raise EvaluationError(f"this is no evaluation: {error}.") from error


def _described(sample: Sample, name: str, copies: int, excluded: dict[str, int], unused: str) -> Data:
    times = sample.time[np.isfinite(sample.time)]
    kinds = {"normal": sample.weight[sample.label == 0], "anomalous": sample.weight[sample.label == 1]}
    return Data(
        name=name,
        sessions=len(sample),
        anomalies=int(sample.label.sum()),
        distinct=len(np.unique(sample.sequence)),
        with_unseen=int(sample.unseen.sum()),
        copies=copies,
        weights={kind: [float(w.min()), float(w.max())] for kind, w in kinds.items() if len(w)},
        first=_iso(float(times.min())) if len(times) else None,
        last=_iso(float(times.max())) if len(times) else None,
        excluded=excluded,
        unused=unused,
    )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
