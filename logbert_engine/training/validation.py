"""After each epoch: the surprisal of the fixed validation sample, and the calibration from it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.batches import Pieces
from logbert_engine.detection.calibration import calibrate_on
from logbert_engine.models.checkpoint import Calibration
from logbert_engine.models.encoder import MaskedModel
from logbert_engine.models.surprisal import Scorer, Surprisals
from logbert_engine.presets.types import View
from logbert_engine.training.context import RunContext

_ROUNDS = 16
"""Times that the ranks of a team look together whether a pause is asked for."""


def validate(
    context: RunContext,
    model: MaskedModel,
    pieces: Pieces,
    centres: Mapping[View, list[float]] | None = None,
) -> tuple[float, Calibration | None]:
    """Score the validation sample with complementary masks, each rank its part of it.

    Args:
        context: of the run.
        model: put into evaluation mode.
        pieces: the validation sample.
        centres: of the hypersphere, by view, where there is one.

    Returns:
        The mean surprisal per event (nats; over views, and each session counts, identical ones too), and the
        calibration; the same on every rank. There is no calibration where the loss is not finite.

    Raises:
        Interrupted: a pause or stop was asked for.
    """
    scorer = Scorer(
        model,
        context.vocabulary,
        context.store,
        context.compute.device,
        rotations=context.sizes.rotations,
        centres=centres,
    )
    found = {view: _score(context, scorer, pieces, view) for view in context.sizes.views}
    counts = np.zeros(context.store.n_unique, dtype=np.int64)
    counts[pieces.sequence] = pieces.count
    counts = counts[next(iter(found.values())).sequence]
    unknown = {view: scorer.unknown(surprisals) for view, surprisals in found.items()}
    findings, rates = context.rules
    return calibrate_on(found, unknown, counts, context.distances, findings, rates, context.valid_times)


def _score(context: RunContext, scorer: Scorer, pieces: Pieces, view: View) -> Surprisals:
    team, wishes = context.team, context.wishes
    if team.place.alone:
        return scorer.score(pieces, view, lambda _done, _all: wishes.check())
    sequences = np.unique(pieces.sequence)
    mine = sequences[team.place.rank :: team.place.world_size]
    parts: list[Surprisals] = []
    for some in np.array_split(mine, _ROUNDS):
        if len(some):
            parts.append(scorer.score(pieces.of(some), view, lambda _done, _all: wishes.beat()))
        asked = team.agree(wishes.code())[0]
        if asked:
            raise wishes.interruption(asked)
    columns = [
        np.concatenate([np.zeros(0, np.int64), *(part.sequence for part in parts)]),
        np.concatenate([np.zeros(0, np.float32), *(part.values for part in parts)]),
        np.concatenate([np.zeros(0, np.float32), *(part.end for part in parts if part.end is not None)]),
        np.concatenate(
            [np.zeros(0, np.float32), *(part.distance for part in parts if part.distance is not None)]
        ),
    ]
    everyone = [team.gather(column.tobytes()) for column in columns]
    return _together(
        context,
        np.concatenate([np.frombuffer(part, np.int64) for part in everyone[0]]),
        np.concatenate([np.frombuffer(part, np.float32) for part in everyone[1]]),
        np.concatenate([np.frombuffer(part, np.float32) for part in everyone[2]]),
        np.concatenate([np.frombuffer(part, np.float32) for part in everyone[3]]),
    )


def _together(
    context: RunContext,
    sequence: NDArray[np.int64],
    values: NDArray[np.float32],
    end: NDArray[np.float32],
    distance: NDArray[np.float32],
) -> Surprisals:
    """The parts of all ranks as one, sequences in ascending order."""
    lengths = context.store.lengths[sequence]
    begins = np.cumsum(lengths) - lengths
    order = np.argsort(sequence, kind="stable")
    offsets = np.concatenate(([0], np.cumsum(lengths[order])))
    place = (
        np.repeat(begins[order], lengths[order])
        + np.arange(offsets[-1])
        - np.repeat(offsets[:-1], lengths[order])
    )
    return Surprisals(
        sequence=sequence[order],
        offsets=offsets,
        values=values[place].copy(),
        end=end[order] if len(end) else None,
        distance=distance[order] if len(distance) else None,
    )
