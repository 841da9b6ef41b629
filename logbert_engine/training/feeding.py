"""What a stage's steps are fed with: its epochs in order, its batches with what is hidden in them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.batches import Batch, EpochPlan, Pieces, assemble, plan_epoch
from logbert_engine.data.masks import training_mask
from logbert_engine.data.unknown import replacement_odds, show_as_unknown
from logbert_engine.models.vocabulary import AROUND
from logbert_engine.protocol.events import StagePlan
from logbert_engine.training.context import RunContext


class Feed:
    """The epochs and batches of a stage: pure functions of the run's settings and data, so that none is replayed.

    Args:
        context: of the run.
        plan: of the stage.
        pieces: what it trains on.
        counts_E: how often each event of the store occurs in them.
    """

    def __init__(
        self, context: RunContext, plan: StagePlan, pieces: Pieces, counts_E: NDArray[np.float64]
    ) -> None:
        self._context, self._plan, self._pieces = context, plan, pieces
        self._lookup = context.vocabulary.lookup(context.store.events)
        count_V = np.bincount(self._lookup, counts_E, context.vocabulary.size).astype(np.float64)
        self._alpha = context.config.training.rare_as_unknown
        self._odds_V = replacement_odds(count_V, self._alpha)

    def plan(self, epoch: int) -> EpochPlan:
        """The batches of an epoch."""
        return plan_epoch(
            self._pieces,
            batch=self._plan.batch,
            duplicate_weight=self._context.config.training.duplicate_weight,
            seed=self._context.config.seed,
            stage=self._plan.index,
            epoch=epoch,
            passes=self._plan.passes,
            views=self._context.sizes.views,
        )

    def batch(
        self, plan: EpochPlan, index: int, epoch: int
    ) -> tuple[Batch, NDArray[np.bool_], NDArray[np.float32]]:
        """A batch of an epoch, with hidden_BT, which of it is to be predicted, and weight_B, its sessions.

        Args:
            plan: of the epoch.
            index: of the batch in it.
            epoch: its number.
        """
        rows = slice(plan.bounds[index], plan.bounds[index + 1])
        visit_B, draws = plan.visit[rows], {"stage": self._plan.index, "epoch": epoch}
        seed = self._context.config.seed
        batch = assemble(
            self._context.store, self._pieces, plan.piece[rows], self._lookup, AROUND, plan.view[rows]
        )
        hidden_BT = training_mask(batch, visit_B, self._context.sizes.mask_ratio, seed=seed, **draws)
        if self._alpha:
            batch, hidden_BT = show_as_unknown(batch, hidden_BT, visit_B, self._odds_V, seed=seed, **draws)
        return batch, hidden_BT, plan.weight[rows]
