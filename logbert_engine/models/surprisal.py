"""Deterministic surprisal: each event of a session is hidden exactly once, by complementary masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from logbert_engine.data.batches import NEXT, VIEWS, Batch, Pieces, assemble
from logbert_engine.data.masks import MASKS, TOKENS_AT_ONCE, complementary_masks
from logbert_engine.data.store import Store
from logbert_engine.models.device import is_out_of_memory
from logbert_engine.models.encoder import MaskedModel, read, squared_distance
from logbert_engine.models.vocabulary import AROUND, UNK, Vocabulary
from logbert_engine.presets.types import View


@dataclass(frozen=True)
class Surprisals:
    """Surprisal of each event of some distinct sequences."""

    sequence: NDArray[np.int64]
    """Index of each sequence in the store, ascending."""
    offsets: NDArray[np.int64]
    """Events of sequence ``i`` are ``values[offsets[i]:offsets[i + 1]]``."""
    values: NDArray[np.float32]
    """Nats."""
    expected: NDArray[np.int32] | None = None
    """Model ids of the likeliest events at each position, likeliest first, shape (events, top)."""
    probability: NDArray[np.float32] | None = None
    """Their probabilities."""
    end: NDArray[np.float32] | None = None
    """Of each sequence the surprisal of its end, nats; None in the bag view, which has none."""
    distance: NDArray[np.float32] | None = None
    """Of each sequence the squared distance from the centre of ordinary ones, the mean over its windows; None without
    a hypersphere."""

    def of_squares(self) -> Surprisals:
        """The squares, nats²."""
        return replace(self, values=self.values**2)

    def means(self) -> NDArray[np.float64]:
        """Mean surprisal of each sequence, nats."""
        sums = np.add.reduceat(self.values.astype(np.float64), self.offsets[:-1])
        return sums / np.diff(self.offsets)


class Scorer:
    """Scores sequences of a store with a model. The result does not depend on how they are batched.

    Args:
        model: put into evaluation mode.
        vocabulary: of the model.
        store: whose sequences are scored.
        device: where the model is.
        rotations: divisions of the events among the masks; of what they give, log-probabilities are averaged. The
            next view has no masks to divide among.
        centres: view to the centre of the hypersphere, where there is one, to tell the distance from.
        top: likeliest events kept for each position.
    """

    def __init__(
        self,
        model: MaskedModel,
        vocabulary: Vocabulary,
        store: Store,
        device: torch.device,
        *,
        rotations: int = 1,
        centres: Mapping[View, list[float]] | None = None,
        top: int = 0,
    ) -> None:
        self._model = model.eval()
        self._store = store
        self._device = device
        self._lookup = vocabulary.lookup(store.events)
        self._rotations = rotations
        self._centres = {
            view: torch.tensor(centre, dtype=torch.float32, device=device)
            for view, centre in (centres or {}).items()
        }
        self._top = min(top, len(vocabulary.events))
        self._first = vocabulary.first

    def score(
        self, pieces: Pieces, view: View = "order", progress: Callable[[int, int], None] | None = None
    ) -> Surprisals:
        """Surprisal of every event of the pieces' sequences.

        Positions that two windows of a long sequence share are averaged.

        Args:
            pieces: windows of distinct sequences, as ``data.batches.cut`` makes them.
            view: how the model reads them.
            progress: called with (pieces done, pieces in all); may raise to interrupt.
        """
        found = _Gathered(self._store, pieces, self._top)
        centre_D = self._centres.get(view)
        for chosen, batch, predicted in self._batches(pieces, view, progress):
            found.add(chosen, batch, predicted)
            if centre_D is not None:
                distance_BK = squared_distance(predicted.first_BKD, centre_D)
                found.add_distances(chosen, distance_BK.mean(dim=1).cpu().numpy())
        return found.surprisals(view, with_distance=centre_D is not None)

    def centre(
        self, pieces: Pieces, view: View, progress: Callable[[int, int], None] | None = None
    ) -> list[float]:
        """The mean state of the first token over some pieces and the masks, each session counted.

        Args:
            pieces: as for ``score``.
            view: ``order`` or ``bag``; in ``next`` the first token sees nothing but itself.
            progress: as for ``score``.
        """
        total_D = np.zeros(())
        for chosen, _, predicted in self._batches(pieces, view, progress):
            state_BD = predicted.first_BKD.mean(dim=1).double().cpu().numpy()
            total_D = total_D + (state_BD * pieces.count[chosen][:, None]).sum(axis=0)
        mean: list[float] = (total_D / pieces.count.sum()).astype(np.float32).tolist()
        return mean

    def _batches(
        self, pieces: Pieces, view: View, progress: Callable[[int, int], None] | None
    ) -> Iterator[tuple[NDArray[np.int64], Batch, _Predicted]]:
        """The pieces in batches of equal length, with what is predicted; fewer at once where memory lacks."""
        order = np.argsort(pieces.tokens, kind="stable")
        sizes = pieces.tokens[order]
        masks, rotations = (1, 1) if view == "next" else (MASKS, self._rotations)
        begin, at_once, rows = 0, TOKENS_AT_ONCE, masks * rotations
        while begin < len(order):
            same = int(np.searchsorted(sizes, sizes[begin], side="right"))
            end = min(same, begin + max(1, at_once // (rows * int(sizes[begin]))))
            chosen = order[begin:end]
            as_view = np.full(len(chosen), VIEWS.index(view), dtype=np.int8)
            batch = assemble(self._store, pieces, chosen, self._lookup, AROUND, as_view)
            try:
                predicted = self._predict(batch, masks, rotations)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or len(chosen) == 1:
                    raise
                at_once = rows * int(sizes[begin]) * (len(chosen) // 2)  # batches change nothing but memory
                continue
            yield chosen, batch, predicted
            begin = end
            if progress is not None:
                progress(begin, len(order))

    def unknown(self, found: Surprisals) -> NDArray[np.bool_]:
        """Which of the scored positions hold an event that the model has no row for."""
        sequences = [self._store.sequence(int(sequence)) for sequence in found.sequence]
        unknown: NDArray[np.bool_] = (self._lookup == UNK)[np.concatenate(sequences)]
        return unknown

    @torch.inference_mode()
    def _predict(self, batch: Batch, masks: int, rotations: int) -> _Predicted:
        """Predict all targets, a part of them with each of the masks, and all of them with each rotation."""
        masks_KBT = torch.from_numpy(
            np.concatenate([complementary_masks(batch.targets_BT, masks, r) for r in range(rotations)])
        ).to(self._device)
        ids_BT = torch.from_numpy(batch.ids_BT).to(self._device)
        targets_BT = torch.from_numpy(batch.targets_BT).to(self._device)
        wanted_NT = masks_KBT.flatten(0, 1)
        ids_NT = ids_BT.repeat(len(masks_KBT), 1)
        next_N = None
        if bool((batch.view_B == NEXT).all()):
            next_N = torch.ones(len(ids_NT), dtype=torch.bool, device=self._device)
        seen = read(self._model, ids_NT, wanted_NT, next_B=next_N)
        first_BKD = seen.first_BD.float().reshape(*masks_KBT.shape[:2], -1).transpose(0, 1)
        log_p_MV = torch.log_softmax(seen.logits_MV.float(), dim=-1)
        order_M = masks_KBT.flatten(1).nonzero()[:, 1].argsort(stable=True)  # by position, rotations in turn

        def averaged(of_M: Tensor) -> Tensor:
            """Of each target, in the order of ``targets_BT.nonzero()``."""
            return torch.mean(of_M[order_M].view(-1, rotations, *of_M.shape[1:]), dim=1)

        def spread(of_targets: Tensor) -> NDArray[np.float32]:
            found = torch.zeros((*targets_BT.shape, *of_targets.shape[1:]), device=self._device)
            found[targets_BT] = of_targets
            in_place: NDArray[np.float32] = found.cpu().numpy()
            return in_place

        nll_BT = spread(averaged(-log_p_MV.gather(1, ids_NT[wanted_NT][:, None])[:, 0]))
        if not self._top:
            empty = np.zeros((*batch.ids_BT.shape, 0), dtype=np.float32)
            return _Predicted(nll_BT, empty.astype(np.int32), empty, first_BKD)
        top_p, top_index = averaged(log_p_MV[:, self._first :]).topk(self._top, dim=-1)
        top_BTK = spread((top_index + self._first).float())
        return _Predicted(nll_BT, top_BTK.astype(np.int32), spread(top_p.exp()), first_BKD)


class _Predicted(NamedTuple):
    """Of each position of a batch: surprisal, likeliest events, their probabilities; of each mask the first state."""

    nll_BT: NDArray[np.float32]
    top_BTK: NDArray[np.int32]
    p_BTK: NDArray[np.float32]
    first_BKD: Tensor


class _Gathered:
    """What is predicted, batch by batch, put together by sequence."""

    def __init__(self, store: Store, pieces: Pieces, top: int) -> None:
        self._pieces = pieces
        self._sequence, self._owner = np.unique(pieces.sequence, return_inverse=True)
        self._offsets = np.concatenate(([0], np.cumsum(store.lengths[self._sequence])))
        self._sums = np.zeros(self._offsets[-1])
        self._visits = np.zeros(self._offsets[-1])
        self._end = np.zeros(len(self._sequence), dtype=np.float32)
        self._expected = np.zeros((self._offsets[-1], top), dtype=np.int32)
        self._probability = np.zeros((self._offsets[-1], top), dtype=np.float32)
        self._distance = np.zeros(len(self._sequence))
        self._windows = np.bincount(self._owner, minlength=len(self._sequence))

    def add(self, chosen: NDArray[np.int64], batch: Batch, predicted: _Predicted) -> None:
        """Take in the pieces of a batch."""
        rows, columns = np.nonzero(batch.events)
        owner = self._owner[chosen]
        flat = self._offsets[owner][rows] + batch.start_B[rows] + batch.place_BT[rows, columns]
        np.add.at(self._sums, flat, predicted.nll_BT[rows, columns])  # two windows can share positions
        np.add.at(self._visits, flat, 1)
        if self._expected.shape[1]:
            self._expected[flat] = predicted.top_BTK[rows, columns]
            self._probability[flat] = predicted.p_BTK[rows, columns]
        rows, columns = np.nonzero(batch.targets_BT & ~batch.events)
        self._end[owner[rows]] = predicted.nll_BT[rows, columns]

    def add_distances(self, chosen: NDArray[np.int64], distance_B: NDArray[np.float32]) -> None:
        """Take in how far the pieces of a batch lie from the centre."""
        np.add.at(self._distance, self._owner[chosen], distance_B)

    def surprisals(self, view: View, *, with_distance: bool) -> Surprisals:
        """All that was taken in."""
        detailed = bool(self._expected.shape[1])
        return Surprisals(
            sequence=self._sequence,
            offsets=self._offsets,
            values=(self._sums / self._visits).astype(np.float32),
            expected=self._expected if detailed else None,
            probability=self._probability if detailed else None,
            end=None if view == "bag" else self._end,
            distance=(self._distance / self._windows).astype(np.float32) if with_distance else None,
        )


def raise_unknown(found: Surprisals, unknown: NDArray[np.bool_], highest: float | None = None) -> float:
    """Give events that the model has no row for at least the highest surprisal of one that it has.

    A model cannot be trusted to be surprised by what it never saw.

    Args:
        found: changed in place.
        unknown: which of its values are of such events.
        highest: of a calibration event, nats; that of the values themselves when not given.

    Returns:
        The highest that was used.
    """
    if highest is None:
        highest = float(found.values[~unknown].max(initial=0.0)) or float(found.values.max())
    found.values[unknown] = np.maximum(found.values[unknown], highest)
    return highest
