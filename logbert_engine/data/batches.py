"""Sequences cut to the model's length and put into batches of equal length, in an order without state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from logbert_engine.data.hashing import mix
from logbert_engine.data.store import Store
from logbert_engine.presets.types import View

VIEWS: tuple[View, ...] = ("order", "next", "bag")
ORDER, NEXT, BAG = range(3)

_ORDER, _SHUFFLE, _VIEW = 11, 12, 13


@dataclass(frozen=True)
class Pieces:
    """Parts of distinct sequences that fit the model; a sequence that fits is one piece. Arrays align."""

    sequence: NDArray[np.int64]
    """Index of the distinct sequence in the store."""
    start: NDArray[np.int64]
    """Its first event within the sequence."""
    length: NDArray[np.int64]
    """Its events."""
    opens: NDArray[np.bool_]
    """Whether the sequence begins with it."""
    closes: NDArray[np.bool_]
    """Whether the sequence ends with it (it gets the END marker)."""
    count: NDArray[np.int64]
    """Sessions that hold it."""

    def __len__(self) -> int:
        return len(self.sequence)

    def of(self, sequences: NDArray[np.int64]) -> Pieces:
        """The pieces of some of the sequences."""
        chosen = np.isin(self.sequence, sequences)
        return Pieces(**{name: getattr(self, name)[chosen] for name in self.__dataclass_fields__})

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Length of each piece as the model sees it, markers included."""
        return self.length + 1 + self.closes


def cut(
    lengths: NDArray[np.int64], sequences: NDArray[np.int64], counts: NDArray[np.int64], room: int
) -> Pieces:
    """Cut sequences into windows of at most ``room`` tokens; nothing is dropped.

    Windows of a long sequence follow one another; the last is moved back to full length, so its first events
    have context. Each window has room for both markers.

    Args:
        lengths: events of each sequence.
        sequences: indices of the sequences.
        counts: sessions with each of the sequences.
        room: the model's longest input in tokens.
    """
    window = room - 2
    windows = np.maximum(1, -(-lengths // window))
    owner = np.repeat(np.arange(len(lengths)), windows)
    first = np.cumsum(windows) - windows
    nth = np.arange(len(owner)) - first[owner]
    start = np.maximum(0, np.minimum(nth * window, lengths[owner] - window))
    length = np.minimum(lengths[owner], window)
    return Pieces(
        sequence=sequences[owner],
        start=start,
        length=length,
        opens=start == 0,
        closes=start + length == lengths[owner],
        count=counts[owner],
    )


def pieces_of(store: Store, sessions: NDArray[np.int64], room: int) -> Pieces:
    """The pieces of the distinct sequences among some sessions, with how often each occurs there."""
    sequences, counts = np.unique(store.sequence_of[sessions], return_counts=True)
    return cut(store.lengths[sequences], sequences.astype(np.int64), counts.astype(np.int64), room)


@dataclass(frozen=True)
class EpochPlan:
    """The batches of one epoch."""

    piece: NDArray[np.int64]
    """Index into the pieces, batch after batch."""
    visit: NDArray[np.int64]
    """Which of the piece's visits this epoch it is, from 0."""
    weight: NDArray[np.float32]
    """Sessions that the visit stands for."""
    view: NDArray[np.int8]
    """How the visit reads the piece, an index into ``VIEWS``."""
    bounds: NDArray[np.int64]
    """Batch ``i`` is ``piece[bounds[i]:bounds[i + 1]]``."""

    def __len__(self) -> int:
        return len(self.bounds) - 1


def visits_of(pieces: Pieces, duplicate_weight: int) -> NDArray[np.int64]:
    """How often each piece is visited in a pass: of n alike ceil(n / duplicate_weight) times."""
    return -(-pieces.count // duplicate_weight)


def steps_per_epoch(pieces: Pieces, batch: int, duplicate_weight: int, passes: int = 1) -> int:
    """Optimizer steps of an epoch, without planning one."""
    visits = passes * int(visits_of(pieces, duplicate_weight).sum())
    return -(-visits // batch)


def plan_epoch(
    pieces: Pieces,
    *,
    batch: int,
    duplicate_weight: int,
    seed: int,
    stage: int,
    epoch: int,
    passes: int = 1,
    views: tuple[View, ...] = ("order",),
) -> EpochPlan:
    """Order the pieces of an epoch into batches of equal length.

    A piece that occurs n times is visited ``ceil(n / duplicate_weight)`` times a pass, each visit with another mask
    and weighted by the sessions it stands for. Full batches hold one exact length, so nothing is padded; what
    is left over of each length is batched by length and padded. All but the last of these are full, so an
    epoch has ``ceil(visits / batch)`` steps. The order of batches is random. The views of a piece take turns from
    visit to visit and from epoch to epoch.

    A pure function of its arguments.
    """
    visits = passes * visits_of(pieces, duplicate_weight)
    piece = np.repeat(np.arange(len(pieces)), visits)
    first = np.cumsum(visits) - visits
    visit = np.arange(len(piece)) - first[piece]
    weight = (passes * pieces.count / visits).astype(np.float32)[piece]
    tokens = pieces.tokens[piece]
    identity = (pieces.sequence[piece], pieces.start[piece])
    turn = mix(_VIEW, seed, *identity) + visit.astype(np.uint64) + np.uint64(epoch)
    of_turn = np.array([VIEWS.index(view) for view in views], dtype=np.int8)
    view = of_turn[(turn % np.uint64(len(views))).astype(np.int64)]
    order = np.lexsort((mix(_ORDER, seed, stage, epoch, *identity, visit), view, tokens))
    kinds = tokens[order] * len(VIEWS) + view[order]
    _, begins, sizes = np.unique(kinds, return_index=True, return_counts=True)
    within = np.arange(len(order)) - np.repeat(begins, sizes)
    full = within < np.repeat(sizes - sizes % batch, sizes)
    arranged = np.concatenate((order[full], order[~full]))
    starts = np.arange(0, len(arranged), batch)
    shuffled = np.argsort(mix(_SHUFFLE, seed, stage, epoch, starts), kind="stable")
    ends = np.minimum(starts + batch, len(arranged))
    rows = np.concatenate([np.arange(starts[i], ends[i]) for i in shuffled])
    bounds = np.concatenate(([0], np.cumsum((ends - starts)[shuffled])))
    chosen = arranged[rows]
    return EpochPlan(
        piece=piece[chosen], visit=visit[chosen], weight=weight[chosen], view=view[chosen], bounds=bounds
    )


class Markers(NamedTuple):
    """The model's ids of what stands around events."""

    pad: int
    opens: int
    """Begins a piece that begins its sequence."""
    goes_on: int
    """Begins any other piece."""
    bag: int
    """Begins a piece in the bag view."""
    end: int
    """Ends a piece that ends its sequence."""


@dataclass(frozen=True)
class Batch:
    """One batch as arrays. B pieces, T the longest of them in tokens."""

    ids_BT: NDArray[np.int64]
    """Model ids; shorter pieces are padded at their end."""
    place_BT: NDArray[np.int64]
    """Which event of its piece stands there, from 0; -1 for markers and padding."""
    targets_BT: NDArray[np.bool_]
    """What is predicted: events, and but for the bag view the end of a session."""
    view_B: NDArray[np.int8]
    """Indices into ``VIEWS``."""
    tokens_B: NDArray[np.int64]
    """Tokens of each piece."""
    sequence_B: NDArray[np.int64]
    start_B: NDArray[np.int64]
    unknown_BT: NDArray[np.bool_] | None = None
    """Events that the model is shown as unknown; None for none."""

    @property
    def events(self) -> NDArray[np.bool_]:
        """Where events stand, shape (B, T)."""
        return self.place_BT >= 0


def assemble(
    store: Store,
    pieces: Pieces,
    chosen: NDArray[np.int64],
    lookup: NDArray[np.int64],
    markers: Markers,
    view_B: NDArray[np.int8] | None = None,
) -> Batch:
    """Gather pieces from the store into arrays.

    In the bag view the events of a piece are sorted by model id, equal ones in the order in which they occurred.

    Args:
        store: where the sequences are.
        pieces: what can be chosen from.
        chosen: indices of pieces.
        lookup: model id of each event of the store.
        markers: the model's.
        view_B: how each is read, indices into ``VIEWS``; in order when not given.
    """
    sequence, start, length = pieces.sequence[chosen], pieces.start[chosen], pieces.length[chosen]
    opens, closes = pieces.opens[chosen], pieces.closes[chosen]
    view = np.full(len(chosen), ORDER, dtype=np.int8) if view_B is None else view_B
    bag = view == BAG
    tokens = length + 1 + closes
    place = np.arange(int(tokens.max()))[None, :] - 1
    place = np.where((place >= 0) & (place < length[:, None]), place, -1)
    events = place >= 0
    ids = np.full(events.shape, markers.pad, dtype=np.int64)
    ids[events] = lookup[store.tokens[((store.offsets[sequence] + start)[:, None] + place)[events]]]
    keys = np.where(events, ids, np.iinfo(np.int64).max)[bag]
    order = np.argsort(keys[:, 1:], axis=1, kind="stable") + 1  # what is no event stays behind the events
    ids[bag, 1:] = np.take_along_axis(ids[bag], order, axis=1)
    place[bag, 1:] = np.take_along_axis(place[bag], order, axis=1)
    ids[:, 0] = np.where(bag, markers.bag, np.where(opens, markers.opens, markers.goes_on))
    ends = np.flatnonzero(closes)
    ids[ends, tokens[ends] - 1] = markers.end
    targets = events.copy()
    in_order = np.flatnonzero(closes & ~bag)
    targets[in_order, tokens[in_order] - 1] = True
    return Batch(
        ids_BT=ids,
        place_BT=place,
        targets_BT=targets,
        view_B=view,
        tokens_B=tokens,
        sequence_B=sequence,
        start_B=start,
    )
