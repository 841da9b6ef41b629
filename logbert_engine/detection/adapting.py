"""Walking forward in time: recent sessions, without labels, teach what is ordinary now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.batches import pieces_of
from logbert_engine.data.contract import EventId
from logbert_engine.data.hashing import uniform
from logbert_engine.data.normals import Normals, normals_of
from logbert_engine.data.spans import between, together
from logbert_engine.data.store import Store
from logbert_engine.detection.calibration import Times, calibrate_on
from logbert_engine.detection.joining import joined
from logbert_engine.detection.nearest import Nearest
from logbert_engine.detection.rules import Rules
from logbert_engine.detection.scoring import Report, StoreScores, Weighing, surprisals_of
from logbert_engine.detection.teaching import Taught
from logbert_engine.evaluation.proportions import Span
from logbert_engine.models.checkpoint import Calibration, ModelRecord
from logbert_engine.models.device import Compute
from logbert_engine.models.encoder import MaskedModel, longest_input
from logbert_engine.models.pretrained import add_events
from logbert_engine.models.surprisal import Scorer
from logbert_engine.models.vocabulary import UNK, Vocabulary
from logbert_engine.training.refreshing import refresh

BLOCKS = 5
"""Parts of the input, of as many sessions each, that are adapted to one after another."""
SMALLEST_BLOCK = 200
"""Sessions; fewer make fewer blocks, and alone they teach nothing."""
ORDINARY_SHARE = 0.1
"""An event that training never saw is ordinary once so many of the later sessions hold it: more than the anomalies
are taken to be."""
HELD_OUT = 0.3
"""Share of a block's ordinary sessions that it is calibrated on."""
STEPS = 300
"""Optimizer steps for each block."""
TOO_FEW = f"not adapted: it takes {SMALLEST_BLOCK} sessions at least, so they were scored as without --adapt"
_HOLD = 61


@dataclass(frozen=True)
class Block:
    """A part of the input, and what had been learnt by its end."""

    store: Store
    record: ModelRecord
    weighing: Weighing
    learnt: list[EventId]
    """Events that became ordinary with it."""


class Adapted:
    """An input that was adapted to. Sequences that occur in several blocks are scored in each."""

    def __init__(self, store: Store, blocks: list[Block]) -> None:
        self.blocks = blocks
        self.store = together(store, [block.store for block in blocks])

    @property
    def record(self) -> ModelRecord:
        """As it is in the end: its vocabulary holds that of every block."""
        return self.blocks[-1].record

    @property
    def learnt(self) -> list[EventId]:
        """Events that became ordinary."""
        return [event for block in self.blocks for event in block.learnt]

    @property
    def share(self) -> float:
        """Share of ordinary sessions that alarms, by the held-out ones of all blocks."""
        return self._average([block.weighing.share for block in self.blocks])

    @property
    def held_out(self) -> int:
        """Ordinary sessions of the input that this is by."""
        return sum(block.weighing.held_out for block in self.blocks)

    @property
    def span(self) -> Span:
        """Where that share lies; the mean of the blocks' own, which is wider than that of all."""
        spans = [block.weighing.span for block in self.blocks]
        return self._average([low for low, _ in spans]), self._average([high for _, high in spans])

    def _average(self, values: list[float]) -> float:
        return float(np.average(values, weights=[block.store.n_sessions for block in self.blocks]))

    def scores(self, taught: Taught = ()) -> StoreScores:
        """Of all sequences, after sequences that people judged normal."""
        return joined([block.weighing.scores(taught) for block in self.blocks])


def enough(sessions: int) -> bool:
    """Whether so many sessions can be learnt from."""
    return sessions >= SMALLEST_BLOCK


def adapt(
    model: MaskedModel, record: ModelRecord, store: Store, compute: Compute, budget: float, report: Report
) -> Adapted:
    """Walk through a store in blocks over time, and score each block after having learnt from it.

    In each block events that training never saw and that at least ``ORDINARY_SHARE`` of the sessions so far hold
    become part of the vocabulary; sessions without any other unknown event are taken for ordinary; the model goes on
    learning from most of them and is calibrated on the others, and the rules know them. No label is looked at.
    Anomalies that hold no unknown event are among them, and so is what happens to more than that share of sessions.

    Args:
        model: of the checkpoint; changed in place.
        record: of the model, with calibration and ordinary sessions.
        store: sessions in the order of time.
        compute: where.
        budget: share of ordinary sessions that may alarm.
        report: called with (phase, done, all).

    Raises:
        CheckpointError: the checkpoint has no calibration.
    """
    model.to(compute.device)
    count = max(1, min(BLOCKS, store.n_sessions // SMALLEST_BLOCK))
    bounds = [store.n_sessions * i // count for i in range(count + 1)]
    blocks: list[Block] = []
    for nth in range(count):
        learnt = ordinary_now(store, bounds[nth + 1], record.vocabulary)
        if learnt:
            before = record.vocabulary
            grown = msgspec.structs.replace(before, events=[*before.events, *learnt])
            add_events(model, record, grown)
            model.to(compute.device)
            record = msgspec.structs.replace(record, vocabulary=grown)
        block = between(store, bounds[nth], bounds[nth + 1])
        record = _learn_from(
            model,
            record,
            block,
            nth,
            compute,
            _part_of(report, "adapting", nth, count),
        )
        found = surprisals_of(
            model,
            record,
            block,
            compute.device,
            _part_of(report, "scoring", nth, count),
        )
        blocks.append(Block(block, record, Weighing(record, block, found, budget), learnt))
    return Adapted(store, blocks)


def _part_of(report: Report, phase: str, nth: int, count: int) -> Callable[[int, int], None]:
    return lambda done, total: report(phase, nth * total + done, count * total)


def ordinary_now(store: Store, sessions: int, vocabulary: Vocabulary) -> list[EventId]:
    """Events that are not in a vocabulary and that enough of the first sessions of a store hold; too few sessions
    tell of none.

    Args:
        store: in the order of time.
        sessions: how many of its sessions count.
        vocabulary: what is known.
    """
    if not enough(sessions):
        return []
    so_far = between(store, 0, sessions)
    owner = np.repeat(np.arange(so_far.n_unique), so_far.lengths)
    both = np.unique(owner * len(store.events) + so_far.tokens)
    of_sequence, event = np.divmod(both, len(store.events))
    held = np.bincount(event, weights=so_far.counts[of_sequence], minlength=len(store.events))
    new = (vocabulary.lookup(store.events) == UNK) & (held >= ORDINARY_SHARE * sessions)
    return [store.events[i] for i in np.flatnonzero(new).tolist()]


def _learn_from(
    model: MaskedModel,
    record: ModelRecord,
    block: Store,
    nth: int,
    compute: Compute,
    progress: Callable[[int, int], None],
) -> ModelRecord:
    """Train, calibrate and take note of a block's ordinary sessions; as it was where there are too few."""
    assert record.normals is not None
    lookup = record.vocabulary.lookup(block.events)
    strange = np.add.reduceat((lookup[block.tokens] == UNK).astype(np.int64), block.offsets[:-1]) > 0
    ordinary = np.flatnonzero(~strange[block.sequence_of])
    apart = uniform(_HOLD, record.seed, nth, ordinary) < HELD_OUT
    train, held_out = ordinary[~apart], ordinary[apart]
    if not enough(block.n_sessions) or not len(train) or not len(held_out):
        return record
    refresh(model, record, block, train, compute, steps=STEPS, progress=progress)
    known = record.normals.with_more(normals_of(block, train, lookup))
    later = normals_of(block, held_out, lookup)
    calibration = _calibrated(model, record, block, held_out, known, later, compute)
    if calibration is None:
        return record
    return msgspec.structs.replace(record, calibration=calibration, normals=known.with_more(later))


def _calibrated(
    model: MaskedModel,
    record: ModelRecord,
    block: Store,
    held_out: NDArray[np.int64],
    known: Normals,
    later: Normals,
    compute: Compute,
) -> Calibration | None:
    pieces = pieces_of(block, held_out, record.room or longest_input(model))
    scorer = Scorer(
        model,
        record.vocabulary,
        block,
        compute.device,
        rotations=record.rotations,
        centres=record.centres,
    )
    found = {view: scorer.score(pieces, view) for view in record.views}
    unknown = {view: scorer.unknown(surprisals) for view, surprisals in found.items()}
    return calibrate_on(
        found,
        unknown,
        later.counts,
        Nearest(known).distances(later.tokens, later.offsets),
        Rules(known).find(later.tokens, later.offsets),
        Rules(known.with_more(later)).left_out(),
        Times.of(block, held_out),
    )[1]
