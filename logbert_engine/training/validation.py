"""After each epoch: the surprisal of the fixed validation sample, and the calibration from it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.batches import Pieces
from logbert_engine.detection.calibration import calibrate
from logbert_engine.models.checkpoint import Calibration
from logbert_engine.models.encoder import MaskedModel
from logbert_engine.models.surprisal import Scorer, Surprisals
from logbert_engine.training.context import RunContext

_ROUNDS = 16
"""Times that the ranks of a team look together whether a pause is asked for."""


def validate(context: RunContext, model: MaskedModel, pieces: Pieces) -> tuple[float, Calibration | None]:
    """Score the validation sample with complementary masks, each rank its part of it.

    Args:
        context: of the run.
        model: put into evaluation mode.
        pieces: the validation sample.

    Returns:
        The mean surprisal per event (nats; each session counts, identical ones too), and the calibration; the
        same on every rank. There is no calibration where the loss is not finite.

    Raises:
        Interrupted: a pause or stop was asked for.
    """
    scorer = Scorer(model, context.vocabulary, context.store, context.compute.device)
    found = _score(context, scorer, pieces)
    unknown = scorer.unknown(found)
    highest = float(found.values[~unknown].max(initial=0.0)) or float(found.values.max())
    found.values[unknown] = np.maximum(found.values[unknown], highest)  # as inference does
    counts = np.zeros(context.store.n_unique, dtype=np.int64)
    counts[pieces.sequence] = pieces.count
    counts = counts[found.sequence]
    per_event = np.repeat(counts, np.diff(found.offsets))
    loss = float(np.average(found.values.astype(np.float64), weights=per_event))
    if not math.isfinite(loss):
        return loss, None
    return loss, calibrate(found.means(), counts, highest)


def _score(context: RunContext, scorer: Scorer, pieces: Pieces) -> Surprisals:
    team, wishes = context.team, context.wishes
    if team.place.alone:
        return scorer.score(pieces, lambda _done, _all: wishes.check())
    sequences = np.unique(pieces.sequence)
    mine = sequences[team.place.rank :: team.place.world_size]
    parts: list[Surprisals] = []
    for some in np.array_split(mine, _ROUNDS):
        if len(some):
            parts.append(scorer.score(pieces.of(some), lambda _done, _all: wishes.beat()))
        asked = team.agree(wishes.code())[0]
        if asked:
            raise wishes.interruption(asked)
    sequence = np.concatenate([np.zeros(0, np.int64), *(part.sequence for part in parts)])
    values = np.concatenate([np.zeros(0, np.float32), *(part.values for part in parts)])
    everyone = zip(team.gather(sequence.tobytes()), team.gather(values.tobytes()), strict=True)
    return _together(
        context, [(np.frombuffer(s, np.int64), np.frombuffer(v, np.float32)) for s, v in everyone]
    )


def _together(context: RunContext, parts: list[tuple[NDArray[np.int64], NDArray[np.float32]]]) -> Surprisals:
    """The parts of all ranks as one, sequences in ascending order."""
    sequence = np.concatenate([part[0] for part in parts])
    values = np.concatenate([part[1] for part in parts])
    lengths = context.store.lengths[sequence]
    begins = np.cumsum(lengths) - lengths
    order = np.argsort(sequence, kind="stable")
    offsets = np.concatenate(([0], np.cumsum(lengths[order])))
    place = (
        np.repeat(begins[order], lengths[order])
        + np.arange(offsets[-1])
        - np.repeat(offsets[:-1], lengths[order])
    )
    return Surprisals(sequence=sequence[order], offsets=offsets, values=values[place].copy())
