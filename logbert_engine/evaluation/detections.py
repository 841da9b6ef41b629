"""What is evaluated: labelled sessions, and what a detector said of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from logbert_engine.protocol.errors import EvaluationError

Kind = Literal["model", "floor"]


@dataclass(frozen=True, eq=False)
class Sample:
    """S labelled sessions, and what is known of them apart from any detector.

    Raises:
        EvaluationError: the arrays do not fit together, a label is neither 0 nor 1, or a weight is not a
            positive number.
    """

    label: NDArray[np.int8]
    """[S] 0 normal, 1 anomalous."""
    weight: NDArray[np.float64]
    """[S] Sessions of the natural stream that this one stands for; 1 where the pool is at its natural rate."""
    sequence: NDArray[np.int64]
    """[S] Identical sessions share a number."""
    unseen: NDArray[np.bool_]
    """[S] Whether it holds an event that training never saw."""
    time: NDArray[np.float64]
    """[S] Unix seconds, nan where unknown."""

    def __post_init__(self) -> None:
        for name in ("weight", "sequence", "unseen", "time"):
            if getattr(self, name).shape != self.label.shape:
                raise EvaluationError(
                    f"{name} tells of {len(getattr(self, name)):,} sessions, the labels of {len(self.label):,}."
                )
        if not np.isin(self.label, (0, 1)).all():
            raise EvaluationError(
                "a label is neither normal (0) nor anomalous (1); leave unlabelled sessions out and count them."
            )
        if not (np.isfinite(self.weight) & (self.weight > 0)).all():
            raise EvaluationError("a weight of the evaluation is not a number above 0.")

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: NDArray[np.int64]) -> Sample:
        """The sessions at these rows, in their order."""
        return Sample(
            self.label[rows], self.weight[rows], self.sequence[rows], self.unseen[rows], self.time[rows]
        )


def sample_of(
    label: NDArray[np.int8],
    sequence: NDArray[np.int64],
    *,
    unseen: NDArray[np.bool_] | None = None,
    time: NDArray[np.float64] | None = None,
    weight: NDArray[np.float64] | None = None,
    normal_weight: float = 1.0,
) -> Sample:
    """A sample with what is left out filled in: no unseen events, unknown times, weight 1.

    Args:
        label: [S] 0 normal, 1 anomalous.
        sequence: [S] identical sessions share a number.
        unseen: [S] holds an event that training never saw.
        time: [S] Unix seconds, nan where unknown.
        weight: [S] of each session; else it is 1 for anomalies and ``normal_weight`` for normals.
        normal_weight: normal sessions of the natural stream that one of the pool stands for.

    Raises:
        EvaluationError: as ``Sample``.
    """
    if weight is None:
        weight = np.where(label == 0, normal_weight, 1.0)
    return Sample(
        label=label,
        weight=weight,
        sequence=sequence,
        unseen=np.zeros(len(label), dtype=np.bool_) if unseen is None else unseen,
        time=np.full(len(label), np.nan) if time is None else time,
    )


@dataclass(frozen=True, eq=False)
class Detector:
    """What one detector says of the S sessions of a sample.

    Raises:
        EvaluationError: a score is nan, or there are not as many scores as alarms.
    """

    name: str
    kind: Kind
    """``floor`` for the simple rules that a model has to beat."""
    score: NDArray[np.float64]
    """[S] Higher is more unusual; infinite is allowed."""
    alarm: NDArray[np.bool_]
    """[S] By a threshold that saw no label; it need not be a cut of ``score``."""

    def __post_init__(self) -> None:
        if self.score.shape != self.alarm.shape:
            raise EvaluationError(
                f"{self.name} gives {len(self.score):,} scores, but tells of {len(self.alarm):,} alarms."
            )
        if np.isnan(self.score).any():
            raise EvaluationError(f"{self.name} gives a session a score that is no number.")

    def take(self, rows: NDArray[np.int64]) -> Detector:
        """What it says of the sessions at these rows."""
        return Detector(self.name, self.kind, self.score[rows], self.alarm[rows])


def check_fit(sample: Sample, detector: Detector) -> None:
    """Refuse a detector that speaks of other sessions than the sample's.

    Raises:
        EvaluationError: their numbers of sessions differ.
    """
    if len(detector.score) != len(sample):
        raise EvaluationError(
            f"{detector.name} scored {len(detector.score):,} sessions, but {len(sample):,} are evaluated."
        )
