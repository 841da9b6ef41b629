"""After each epoch: the surprisal of the fixed validation sample, and the calibration from it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from logbert_engine.data.batches import Pieces
from logbert_engine.detection.calibration import calibrate
from logbert_engine.models.checkpoint import Calibration
from logbert_engine.models.encoder import MaskedModel
from logbert_engine.models.surprisal import Scorer
from logbert_engine.training.context import RunContext


def validate(
    context: RunContext, model: MaskedModel, pieces: Pieces, check: Callable[[], None]
) -> tuple[float, Calibration]:
    """Score the validation sample with complementary masks.

    Args:
        context: of the run.
        model: put into evaluation mode.
        pieces: the validation sample.
        check: called often; may raise to interrupt.

    Returns:
        The mean surprisal per event (nats; each session counts, identical ones too), and the calibration.
    """
    scorer = Scorer(model, context.vocabulary, context.store, context.compute.device)
    found = scorer.score(pieces, lambda _done, _all: check())
    unknown = scorer.unknown(found)
    highest = float(found.values[~unknown].max(initial=0.0)) or float(found.values.max())
    found.values[unknown] = np.maximum(found.values[unknown], highest)  # as inference does
    counts = np.zeros(context.store.n_unique, dtype=np.int64)
    counts[pieces.sequence] = pieces.count
    counts = counts[found.sequence]
    per_event = np.repeat(counts, np.diff(found.offsets))
    loss = float(np.average(found.values.astype(np.float64), weights=per_event))
    return loss, calibrate(found.means(), counts, highest)
