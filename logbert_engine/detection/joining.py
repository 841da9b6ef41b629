"""Scores of several parts of a store, put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from logbert_engine.detection.evidence import Evidence
from logbert_engine.detection.rules import Findings
from logbert_engine.detection.scoring import StoreScores
from logbert_engine.models.surprisal import Surprisals


def joined(parts: Sequence[StoreScores]) -> StoreScores:
    """The scores of parts that follow one another, as those of one store."""
    evidence = [part.evidence for part in parts]
    return StoreScores(
        surprisals={
            view: _surprisals([part.surprisals[view] for part in parts]) for view in parts[0].surprisals
        },
        mean=np.concatenate([part.mean for part in parts]),
        score=np.concatenate([part.score for part in parts]),
        findings=Findings(
            **{
                name: np.concatenate([getattr(part.findings, name) for part in parts])
                for name in ("unseen", "counts", "pairs", "length")
            }
        ),
        evidence=Evidence(
            p={name: np.concatenate([each.p[name] for each in evidence]) for name in evidence[0].p},
            weight=np.concatenate([each.weight for each in evidence]),
            ordinary=np.concatenate([each.ordinary for each in evidence]),
            which=[component for each in evidence for component in each.which],
        ),
        p=np.concatenate([part.p for part in parts]),
        alarms=np.concatenate([part.alarms for part in parts]),
        rate=np.concatenate([part.rate for part in parts]),
        alike=np.concatenate([part.alike for part in parts]),
    )


def _surprisals(parts: Sequence[Surprisals]) -> Surprisals:
    begins = np.cumsum([0, *(len(part.values) for part in parts)])
    offsets = [part.offsets[:-1] + begin for part, begin in zip(parts, begins, strict=False)]
    sequences = sum(len(part.sequence) for part in parts)
    return Surprisals(
        sequence=np.arange(sequences),
        offsets=np.concatenate([*offsets, begins[-1:]]),
        values=np.concatenate([part.values for part in parts]),
        expected=_all([part.expected for part in parts]),
        probability=_all([part.probability for part in parts]),
        end=_all([part.end for part in parts]),
        distance=_all([part.distance for part in parts]),
    )


def _all(parts: Sequence[Any]) -> Any:
    return None if parts[0] is None else np.concatenate(parts)
