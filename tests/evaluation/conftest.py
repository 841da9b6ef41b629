"""Samples and detectors of the evaluation tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from logbert_engine.evaluation.detections import Detector, Sample, sample_of

Draw = Callable[..., tuple[Sample, list[Detector]]]


@pytest.fixture
def draw() -> Draw:
    """A sample of repeated sequences with a model of some use and two floors."""

    def drawn(
        sessions: int = 3000, seed: int = 0, normal_weight: float = 1.0, timed: bool = True
    ) -> tuple[Sample, list[Detector]]:
        rng = np.random.default_rng(seed)
        kinds = 300
        sequence = rng.zipf(1.5, sessions) % kinds
        anomalous = rng.random(kinds) < 0.2
        unseen = (rng.random(kinds) < 0.05) | (anomalous & (rng.random(kinds) < 0.4))
        score = rng.normal(size=kinds) + 4.0 * anomalous
        time = 1.2e9 + np.sort(rng.random(sessions)) * 10 * 86_400.0
        sample = sample_of(
            anomalous[sequence].astype(np.int8),
            sequence.astype(np.int64),
            unseen=unseen[sequence],
            time=time if timed else None,
            normal_weight=normal_weight,
        )

        def floor(name: str, alarm: NDArray[np.bool_]) -> Detector:
            return Detector(name, "floor", alarm[sequence].astype(np.float64), alarm[sequence])

        return sample, [
            Detector("LogBERT", "model", score[sequence], score[sequence] > 2.5),
            floor("unseen event", unseen),
            floor("unseen event or length", unseen | (rng.random(kinds) < 0.1)),
        ]

    return drawn
