"""Sessions that no measure tells apart, counted once: every figure and every resample is made from these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from logbert_engine.evaluation.detections import Detector, Sample, check_fit


@dataclass(frozen=True, eq=False)
class Cells:
    """C kinds of sessions, by rank, label, alarm and weight, the highest scores first; G ranks.

    Equal scores share a rank. Normal sessions between two neighbouring scores of anomalies share one as well:
    no threshold between them is ever better, and precision, recall, average precision and AUROC only know how
    many there are. The figures are the same, and a million sessions become a few thousand cells.
    """

    starts: NDArray[np.int64]
    """[G] First cell of each rank."""
    label: NDArray[np.bool_]
    """[C]"""
    alarm: NDArray[np.bool_]
    """[C]"""
    weight: NDArray[np.float64]
    """[C] Of one session."""
    count: NDArray[np.int64]
    """[C] Sessions."""

    @property
    def mass(self) -> NDArray[np.float64]:
        """[C] Weight of all sessions of a cell."""
        mass: NDArray[np.float64] = self.count * self.weight
        return mass

    @property
    def rank(self) -> NDArray[np.int64]:
        """[C] 0 for the highest scores."""
        return np.repeat(np.arange(len(self.starts)), np.diff(self.starts, append=len(self.label)))

    def by_rank(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """[G] Weight of the anomalies and of the normals of each rank."""
        if not len(self.label):
            return np.zeros(0), np.zeros(0)
        anomalous = np.add.reduceat(self.mass * self.label, self.starts)
        normal = np.add.reduceat(self.mass * ~self.label, self.starts)
        return anomalous, normal


def cells_of(sample: Sample, detector: Detector) -> Cells:
    """Count the sessions of a sample by what a detector's figures depend on.

    Raises:
        EvaluationError: the detector speaks of other sessions.
    """
    check_fit(sample, detector)
    anomalous = np.unique(detector.score[sample.label == 1])
    # even between two scores of anomalies, odd at one
    place = np.searchsorted(anomalous, detector.score, side="left")
    place += np.searchsorted(anomalous, detector.score, side="right")
    weights, weight_of = np.unique(sample.weight, return_inverse=True)
    code = (2 * len(anomalous) - place).astype(np.int64)
    for part, size in ((sample.label, 2), (detector.alarm, 2), (weight_of, max(1, len(weights)))):
        code = code * size + part
    distinct, count = np.unique(code, return_counts=True)
    rest, weight_index = np.divmod(distinct, max(1, len(weights)))
    rest, alarm = np.divmod(rest, 2)
    rank, label = np.divmod(rest, 2)
    return Cells(
        starts=np.flatnonzero(np.diff(rank, prepend=-1)),
        label=label.astype(np.bool_),
        alarm=alarm.astype(np.bool_),
        weight=weights[weight_index],
        count=count.astype(np.int64),
    )
