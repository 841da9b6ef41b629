"""One optimizer step: gradients of a batch, added up over the team, then the update."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from logbert_engine.data.batches import NEXT, Batch
from logbert_engine.models.device import Compute
from logbert_engine.models.encoder import MaskedModel, read
from logbert_engine.models.vocabulary import UNK
from logbert_engine.presets.types import Training
from logbert_engine.training.hypersphere import Sphere


@dataclass(frozen=True)
class StepResult:
    """What a step did, still on the device: reading it waits for the device."""

    loss_sum: Tensor
    """Weighted surprisal of the masked events, summed over the whole batch."""
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


def _micro_batches(rows: NDArray[np.int64], most: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), most):
        yield rows[start : start + most]


def accumulate(
    model: MaskedModel,
    scaler: torch.amp.GradScaler,
    batch: Batch,
    hidden_BT: NDArray[np.bool_],
    weight_B: NDArray[np.float32],
    rows: NDArray[np.int64],
    micro_batch: int,
    compute: Compute,
    sphere: Sphere | None = None,
) -> Tensor:
    """Predict the hidden events of some rows of a batch and add the gradients to those that are there.

    The loss is the mean surprisal of the hidden events of the whole batch, each weighted by the sessions it
    stands for, however its rows are divided among ranks and micro-batches.

    Args:
        model: in training mode.
        scaler: of gradients, for fp16.
        batch: B pieces.
        hidden_BT: the events to hide and predict.
        weight_B: sessions that each piece stands for.
        rows: this rank's; may be none.
        micro_batch: rows on the device at once.
        compute: where and in which precision.
        sphere: adds the distance from the centres to the loss; not to what is returned, so that losses with it and
            without compare.

    Returns:
        The rows' weighted surprisal, summed; on the device.
    """
    total = batch_weight(hidden_BT, weight_B)
    drawn = sphere.sessions(batch.view_B, weight_B) if sphere is not None else 0.0
    loss_sum = torch.zeros((), device=compute.device)
    for some in _micro_batches(rows, micro_batch):
        longest = int(batch.tokens_B[some].max())
        ids_BT = torch.from_numpy(batch.ids_BT[some, :longest]).to(compute.device)
        wanted_BT = torch.from_numpy(hidden_BT[some, :longest]).to(compute.device)
        shown_BT = ids_BT
        if batch.unknown_BT is not None:
            unknown_BT = torch.from_numpy(batch.unknown_BT[some, :longest]).to(compute.device)
            shown_BT = ids_BT.masked_fill(unknown_BT, UNK)
        padded = bool((batch.tokens_B[some] != longest).any())
        tokens_B = torch.from_numpy(batch.tokens_B[some]).to(compute.device) if padded else None
        predicts_next = batch.view_B[some] == NEXT
        next_B = torch.from_numpy(predicts_next).to(compute.device) if predicts_next.any() else None
        weight_M = torch.from_numpy(weight_B[some]).to(compute.device)[wanted_BT.nonzero()[:, 0]]
        with compute.autocast():
            seen = read(model, shown_BT, wanted_BT, tokens_B, next_B)
        surprisal_M = functional.cross_entropy(seen.logits_MV.float(), ids_BT[wanted_BT], reduction="none")
        micro_sum = (surprisal_M * weight_M).sum()
        loss = micro_sum / total
        if sphere is not None and drawn:
            loss = loss + sphere.pull(seen.first_BD, batch.view_B[some], weight_B[some], drawn)
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        loss_sum += micro_sum.detach()
    return loss_sum


def batch_weight(hidden_BT: NDArray[np.bool_], weight_B: NDArray[np.float32]) -> float:
    """The sessions that the hidden events of a batch stand for."""
    return float((hidden_BT.sum(axis=1) * weight_B).sum())


def gradients(model: MaskedModel) -> list[Tensor]:
    """The gradient of each parameter, in order; zeros where this rank's rows gave none."""
    found = []
    for parameter in model.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        found.append(parameter.grad)
    return found


class Updater:
    """Applies gradients, and stops doing so for good at the first step that is not finite.

    That is decided on the device, so the host need not wait for it in every step: from the bad step on all
    updates are skipped (``found_inf`` of the fused optimizers), and the weights stay as they were before it until
    the host reads the loss and ends the run. With fp16 gradients may overflow and the scaler skips such steps by
    itself; there only the loss counts, and is read in every step.
    """

    def __init__(
        self, model: MaskedModel, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, clip: float
    ) -> None:
        self._model, self._optimizer, self._scaler, self._clip = model, optimizer, scaler, clip
        device = next(model.parameters()).device
        self._fused = bool(optimizer.defaults.get("fused")) and not scaler.is_enabled()
        self._broken = torch.zeros((), device=device)
        """1 from the first step on that is not finite."""

    def update(self, loss_sum: Tensor, weight: float) -> StepResult:
        """Clip the gradients, update the weights, clear the gradients.

        Args:
            loss_sum: of the whole batch, over all ranks.
            weight: of the whole batch.
        """
        scaler, optimizer = self._scaler, self._optimizer
        scaler.unscale_(optimizer)
        grad_norm = torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._clip)
        broken = ~torch.isfinite(loss_sum)
        if not scaler.is_enabled():
            broken |= ~torch.isfinite(grad_norm)
        self._broken = torch.maximum(self._broken, broken.to(self._broken.dtype))
        if self._fused:
            optimizer.found_inf = self._broken  # type: ignore[attr-defined]
            optimizer.step()
        elif not bool(self._broken):
            scaler.step(optimizer)
            scaler.update()
        optimizer.zero_grad(set_to_none=True)
        return StepResult(loss_sum=loss_sum, weight=weight, grad_norm=grad_norm)
