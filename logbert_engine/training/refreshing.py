"""A trained model goes on learning from some sessions, in memory: no stage, no checkpoints."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from logbert_engine.data.batches import assemble, pieces_of, plan_epoch, visits_of
from logbert_engine.data.masks import training_mask
from logbert_engine.data.store import Store
from logbert_engine.models.checkpoint import ModelRecord
from logbert_engine.models.device import Compute
from logbert_engine.models.encoder import MaskedModel, longest_input
from logbert_engine.models.vocabulary import AROUND
from logbert_engine.presets.batching import within_tokens
from logbert_engine.presets.types import Training
from logbert_engine.training.random_states import seed_all
from logbert_engine.training.schedule import learning_rate
from logbert_engine.training.step import Updater, accumulate, batch_weight, make_optimizer

MASK_RATIO = (0.15, 0.75)
"""Share of the events that is hidden, drawn for each session."""
SETTINGS = Training(batch=48, batch_tokens=1024, learning_rate=5e-4, warmup_steps=20)


def refresh(
    model: MaskedModel,
    record: ModelRecord,
    store: Store,
    sessions: NDArray[np.int64],
    compute: Compute,
    *,
    steps: int,
    progress: Callable[[int, int], None],
) -> None:
    """Train a model on some sessions, in the views that it has; the same for the same arguments.

    Args:
        model: changed in place.
        record: of the model.
        store: where the sessions are.
        sessions: their indices.
        compute: where.
        steps: optimizer steps.
        progress: called with (steps done, all); may raise to interrupt.
    """
    pieces = pieces_of(store, sessions, record.room or longest_input(model))
    lookup = record.vocabulary.lookup(store.events)
    optimizer = make_optimizer(model, SETTINGS)
    scaler = torch.amp.GradScaler(compute.kind, enabled=False)
    updater = Updater(model, optimizer, scaler, SETTINGS.clip)
    visits = visits_of(pieces, SETTINGS.duplicate_weight)
    batch = within_tokens(SETTINGS, SETTINGS.batch, float(np.average(pieces.tokens, weights=visits)))
    seed_all(record.seed)
    model.train()
    done, epoch = 0, 0
    while done < steps:
        epoch += 1
        plan = plan_epoch(
            pieces,
            batch=batch,
            duplicate_weight=SETTINGS.duplicate_weight,
            seed=record.seed,
            stage=0,
            epoch=epoch,
            views=record.views,
        )
        for index in range(min(len(plan), steps - done)):
            rows = slice(plan.bounds[index], plan.bounds[index + 1])
            some = assemble(store, pieces, plan.piece[rows], lookup, AROUND, plan.view[rows])
            hidden = training_mask(some, plan.visit[rows], MASK_RATIO, seed=record.seed, stage=0, epoch=epoch)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(done + 1, steps, SETTINGS)
            weight = plan.weight[rows]
            everything = np.arange(len(weight))
            loss = accumulate(model, scaler, some, hidden, weight, everything, len(weight), compute)
            updater.update(loss, batch_weight(hidden, weight))
            done += 1
            progress(done, steps)
    model.eval()
