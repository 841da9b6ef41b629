"""One optimizer step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from logbert_engine.data.batches import Batch
from logbert_engine.models.device import Compute
from logbert_engine.models.encoder import MaskedModel, logits_at
from logbert_engine.models.vocabulary import MASK
from logbert_engine.presets.types import Training


@dataclass(frozen=True)
class StepResult:
    """What a step did, still on the device: reading it waits for the device."""

    loss_sum: Tensor
    """Weighted surprisal of the masked events, summed."""
    weight: float
    """The weights' sum; ``loss_sum / weight`` is the loss."""
    grad_norm: Tensor
    """Before clipping."""


def make_optimizer(model: MaskedModel, settings: Training) -> torch.optim.AdamW:
    """AdamW; biases and normalisation are not decayed.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019.
    """
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=settings.learning_rate, betas=settings.betas, eps=settings.eps, fused=True
    )


def _micro_batches(size: int, most: int) -> Iterator[slice]:
    for start in range(0, size, most):
        yield slice(start, min(start + most, size))


def optimizer_step(
    model: MaskedModel,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    batch: Batch,
    hidden_BT: NDArray[np.bool_],
    weight_B: NDArray[np.float32],
    settings: Training,
    compute: Compute,
) -> StepResult:
    """Predict the hidden events of a batch and update the weights.

    The loss is the mean surprisal of the hidden events, each weighted by the sessions it stands for, over the
    whole batch however it is divided into micro-batches.

    Args:
        model: in training mode.
        optimizer: with this step's learning rate set.
        scaler: of gradients, for fp16.
        batch: B pieces.
        hidden_BT: the events to hide and predict.
        weight_B: sessions that each piece stands for.
        settings: micro-batch and clipping.
        compute: where and in which precision.
    """
    total = float((hidden_BT.sum(axis=1) * weight_B).sum())
    loss_sum = torch.zeros((), device=compute.device)
    for rows in _micro_batches(len(weight_B), settings.micro_batch or len(weight_B)):
        longest = int(batch.tokens_B[rows].max())
        ids_BT = torch.from_numpy(batch.ids_BT[rows, :longest]).to(compute.device)
        wanted_BT = torch.from_numpy(hidden_BT[rows, :longest]).to(compute.device)
        padded = bool((batch.tokens_B[rows] != longest).any())
        tokens_B = torch.from_numpy(batch.tokens_B[rows]).to(compute.device) if padded else None
        weight_M = torch.from_numpy(weight_B[rows]).to(compute.device)[wanted_BT.nonzero()[:, 0]]
        with compute.autocast():
            logits_MV = logits_at(model, ids_BT.masked_fill(wanted_BT, MASK), wanted_BT, tokens_B)
        surprisal_M = functional.cross_entropy(logits_MV.float(), ids_BT[wanted_BT], reduction="none")
        micro_sum = (surprisal_M * weight_M).sum()
        scaler.scale(micro_sum / total).backward()  # type: ignore[no-untyped-call]
        loss_sum += micro_sum.detach()
    scaler.unscale_(optimizer)
    grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return StepResult(loss_sum=loss_sum, weight=total, grad_norm=grad_norm)
