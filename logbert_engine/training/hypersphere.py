"""The hypersphere of ordinary sessions: in training their states are drawn to a centre that moves once an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from logbert_engine.data.batches import VIEWS, pieces_of
from logbert_engine.data.sampling import centre_sample
from logbert_engine.models.encoder import MaskedModel, squared_distance
from logbert_engine.models.surprisal import Scorer
from logbert_engine.presets.types import View
from logbert_engine.protocol.events import StagePlan
from logbert_engine.training.context import RunContext

Centres = Mapping[View, list[float]]
"""View to the centre of the states that the first token has in it."""


@dataclass(frozen=True)
class Sphere:
    """What draws sessions to the centres, as a part of the loss.

    Source: Guo, Yuan, Wu: LogBERT, IJCNN 2021 (volume of hypersphere minimization, after Ruff et al., Deep One-Class
    Classification, ICML 2018); as in their program the squared distance is the mean over the state's dimensions.
    """

    weight: float
    """Of the mean squared distance in the loss, beside the mean surprisal."""
    centre_VD: Tensor
    """[views, D] of each of ``VIEWS``; zeros where it has none."""
    held_V: NDArray[np.bool_]
    """Which of ``VIEWS`` have one."""

    def sessions(self, view_B: NDArray[np.int8], weight_B: NDArray[np.float32]) -> float:
        """The sessions that are drawn, of a batch."""
        return float(weight_B[self.held_V[view_B]].sum())

    def pull(
        self, first_BD: Tensor, view_B: NDArray[np.int8], weight_B: NDArray[np.float32], sessions: float
    ) -> Tensor:
        """Some rows' part of the loss.

        Args:
            first_BD: states of the first token.
            view_B: indices into ``VIEWS``.
            weight_B: sessions that each row stands for.
            sessions: of the whole batch.
        """
        device = first_BD.device
        centre_BD = self.centre_VD[torch.from_numpy(view_B.astype(np.int64)).to(device)]
        drawn_B = torch.from_numpy(np.where(self.held_V[view_B], weight_B, np.float32(0))).to(device)
        return self.weight * (squared_distance(first_BD, centre_BD) * drawn_B).sum() / sessions


def sphere_of(weight: float, centres: Centres, device: torch.device) -> Sphere:
    """The sphere around some centres.

    Args:
        weight: of it in the loss.
        centres: at least one.
        device: of the model.
    """
    width = len(next(iter(centres.values())))
    rows = [centres.get(view, [0.0] * width) for view in VIEWS]
    return Sphere(
        weight=weight,
        centre_VD=torch.tensor(rows, dtype=torch.float32, device=device),
        held_V=np.array([view in centres for view in VIEWS]),
    )


def centres_of(context: RunContext, model: MaskedModel, plan: StagePlan) -> dict[View, list[float]]:
    """The centres of a fixed sample of a stage's sessions by the weights as they are; the same on every rank.

    Args:
        context: of the run.
        model: put into evaluation mode.
        plan: of the stage.

    Raises:
        PeerLostError: another rank is gone.
    """
    views = [view for view in context.sizes.views if view != "next"]
    found: dict[View, list[float]] = {}
    if context.leads:
        scorer = Scorer(model, context.vocabulary, context.store, context.compute.device)
        sessions = centre_sample(context.split.train, plan.ratio, context.config.seed)
        pieces = pieces_of(context.store, sessions, context.room)
        found = {view: scorer.centre(pieces, view, lambda _d, _a: context.wishes.beat()) for view in views}
    told = context.team.told(msgspec.json.encode(found))
    return msgspec.json.decode(told, type=dict[View, list[float]])
