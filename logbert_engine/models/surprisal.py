"""Deterministic surprisal: each event of a session is hidden exactly once, by complementary masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from logbert_engine.data.batches import Pieces, assemble
from logbert_engine.data.masks import complementary_masks
from logbert_engine.data.store import Store
from logbert_engine.models.device import is_out_of_memory
from logbert_engine.models.encoder import MaskedModel, logits_at
from logbert_engine.models.vocabulary import CLS, END, MASK, PAD, UNK, Vocabulary

MASKS = 4
"""Complementary masks; each hides a quarter of the events, a share that training sees too."""
TOKENS_AT_ONCE = 8192


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

    def means(self) -> NDArray[np.float64]:
        """Mean surprisal of each sequence, nats."""
        sums = np.add.reduceat(self.values.astype(np.float64), self.offsets[:-1])
        return sums / np.diff(self.offsets)


class Scorer:
    """Scores sequences of a store with a model. The result does not depend on how they are batched."""

    def __init__(
        self, model: MaskedModel, vocabulary: Vocabulary, store: Store, device: torch.device, *, top: int = 0
    ) -> None:
        self._model = model.eval()
        self._store = store
        self._device = device
        self._lookup = vocabulary.lookup(store.events)
        self._top = min(top, len(vocabulary.events))
        self._first = vocabulary.first

    @torch.inference_mode()
    def score(self, pieces: Pieces, progress: Callable[[int, int], None] | None = None) -> Surprisals:
        """Surprisal of every event of the pieces' sequences.

        Positions that two windows of a long sequence share are averaged.

        Args:
            pieces: windows of distinct sequences, as ``data.batches.cut`` makes them.
            progress: called with (pieces done, pieces in all); may raise to interrupt.
        """
        sequence, owner = np.unique(pieces.sequence, return_inverse=True)
        lengths = self._store.lengths[sequence]
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        sums = np.zeros(offsets[-1])
        visits = np.zeros(offsets[-1])
        expected = np.zeros((offsets[-1], self._top), dtype=np.int32)
        probability = np.zeros((offsets[-1], self._top), dtype=np.float32)
        order = np.argsort(pieces.tokens, kind="stable")
        sizes = pieces.tokens[order]
        begin, at_once = 0, TOKENS_AT_ONCE
        while begin < len(order):
            same = int(np.searchsorted(sizes, sizes[begin], side="right"))
            end = min(same, begin + max(1, at_once // (MASKS * int(sizes[begin]))))
            chosen = order[begin:end]
            try:
                nll_BT, top_BTK, p_BTK, events_BT = self._batch(pieces, chosen)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or len(chosen) == 1:
                    raise
                at_once = MASKS * int(sizes[begin]) * (len(chosen) // 2)  # batches change nothing but memory
                continue
            rows, columns = np.nonzero(events_BT)
            place = columns - pieces.opens[chosen][rows]
            flat = offsets[owner[chosen]][rows] + pieces.start[chosen][rows] + place
            np.add.at(sums, flat, nll_BT[rows, columns])  # two windows in one batch can share positions
            np.add.at(visits, flat, 1)
            if self._top:
                expected[flat], probability[flat] = top_BTK[rows, columns], p_BTK[rows, columns]
            begin = end
            if progress is not None:
                progress(begin, len(order))
        return Surprisals(
            sequence=sequence,
            offsets=offsets,
            values=(sums / visits).astype(np.float32),
            expected=expected if self._top else None,
            probability=probability if self._top else None,
        )

    def unknown(self, found: Surprisals) -> NDArray[np.bool_]:
        """Which of the scored positions hold an event that the model has no row for."""
        sequences = [self._store.sequence(int(sequence)) for sequence in found.sequence]
        unknown: NDArray[np.bool_] = (self._lookup == UNK)[np.concatenate(sequences)]
        return unknown

    def _batch(
        self, pieces: Pieces, chosen: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_]]:
        batch = assemble(self._store, pieces, chosen, self._lookup, (PAD, CLS, END))
        masks_KBT = torch.from_numpy(complementary_masks(batch.events_BT, MASKS)).to(self._device)
        ids_BT = torch.from_numpy(batch.ids_BT).to(self._device)
        hidden_NT = masks_KBT.flatten(0, 1)
        seen_NT = ids_BT.repeat(MASKS, 1)
        logits_MV = logits_at(self._model, seen_NT.masked_fill(hidden_NT, MASK), hidden_NT, None).float()
        log_p_MV = torch.log_softmax(logits_MV, dim=-1)
        nll_M = -log_p_MV.gather(1, seen_NT[hidden_NT][:, None])[:, 0]
        shape = batch.ids_BT.shape
        nll_BT = self._spread(nll_M, hidden_NT, shape, ())
        if not self._top:
            empty = np.zeros((*shape, 0), dtype=np.float32)
            return nll_BT, empty.astype(np.int32), empty, batch.events_BT
        p_MK, index_MK = log_p_MV[:, self._first :].topk(self._top, dim=-1)
        top_BTK = self._spread((index_MK + self._first).float(), hidden_NT, shape, (self._top,)).astype(
            np.int32
        )
        return nll_BT, top_BTK, self._spread(p_MK.exp(), hidden_NT, shape, (self._top,)), batch.events_BT

    def _spread(
        self, of_M: Tensor, hidden_NT: Tensor, shape: tuple[int, ...], more: tuple[int, ...]
    ) -> NDArray[np.float32]:
        """Put what was predicted at the masked positions back into place, the K masks over one another."""
        spread = torch.zeros((*hidden_NT.shape, *more), device=self._device)
        spread[hidden_NT] = of_M
        together: NDArray[np.float32] = spread.view(MASKS, *shape, *more).sum(dim=0).cpu().numpy()
        return together
