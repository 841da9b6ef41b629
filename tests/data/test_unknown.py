from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from logbert_engine.data.batches import BAG, NEXT, ORDER, Batch, Markers, Pieces, assemble, pieces_of
from logbert_engine.data.masks import training_mask
from logbert_engine.data.store import Store, open_store
from logbert_engine.data.unknown import replacement_odds, show_as_unknown

FIRST, EVENTS = 8, 9
EVEN = np.concatenate((np.zeros(FIRST), np.full(EVENTS, 0.4)))
VIEWS = np.array([ORDER, NEXT, BAG], dtype=np.int8)


@pytest.fixture
def store(write: Callable[..., Path]) -> Store:
    rng = np.random.default_rng(5)
    records = [
        {"session_id": i, "event_sequence": rng.integers(0, EVENTS, n).tolist()}
        for i, n in enumerate([1, 2, 3, 7, 15, 20, 21, 33, 60, 40, 18, 12])
    ]
    return open_store([write("preprocessed_logs_2025-03-01.json", records)])


@pytest.fixture
def pieces(store: Store) -> Pieces:
    return pieces_of(store, np.arange(store.n_sessions, dtype=np.int64), 22)


def batch_of(store: Store, pieces: Pieces, chosen: list[int], views: NDArray[np.int8]) -> Batch:
    lookup = np.arange(len(store.events), dtype=np.int64) + FIRST
    return assemble(store, pieces, np.array(chosen), lookup, Markers(0, 1, 6, 5, 2), views)


def shown(
    batch: Batch, *, odds: NDArray[np.float64] = EVEN, visit: int = 0, epoch: int = 1
) -> tuple[Batch, NDArray[np.bool_], NDArray[np.bool_]]:
    """The batch with unknown events, what is to be predicted of it, and what was to be before."""
    visits = np.full(len(batch.ids_BT), visit, dtype=np.int64)
    hidden = training_mask(batch, visits, (0.3, 0.3), seed=7, stage=1, epoch=epoch)
    return *show_as_unknown(batch, hidden, visits, odds, seed=7, stage=1, epoch=epoch), hidden


def test_the_odds_are_those_of_the_source_and_only_what_occurs_has_any() -> None:
    odds = replacement_odds(np.array([0.0, 1.0, 3.0, 1e6]), 0.25)
    np.testing.assert_allclose(odds, [0, 0.2, 0.25 / 3.25, 0.25 / 1_000_000.25])
    assert not replacement_odds(np.array([0.0, 1.0]), 0.0).any()


def test_as_many_are_replaced_as_the_odds_say_and_none_where_they_are_none(
    store: Store, pieces: Pieces
) -> None:
    batch = batch_of(store, pieces, list(range(len(pieces))), np.full(len(pieces), NEXT, np.int8))
    odds = EVEN.copy()
    odds[FIRST : FIRST + 4] = 0
    replaced, could = 0, 0
    for epoch in range(200):
        turned, _, _ = shown(batch, odds=odds, epoch=epoch)
        assert turned.unknown_BT is not None
        assert not turned.unknown_BT[odds[turned.ids_BT] == 0].any()
        replaced += int(turned.unknown_BT.sum())
        could += int((odds[batch.ids_BT] > 0).sum())
    assert replaced / could == pytest.approx(0.4, abs=0.01)


def test_what_is_predicted_are_the_events_as_they_were_and_what_is_hidden_stays_hidden(
    store: Store, pieces: Pieces
) -> None:
    views = np.resize(VIEWS, len(pieces))
    batch = batch_of(store, pieces, list(range(len(pieces))), views)
    turned, now, before = shown(batch)
    unknown = turned.unknown_BT
    assert unknown is not None
    assert not (unknown & ~turned.events).any()
    assert not (unknown & now)[views != NEXT].any()
    assert (unknown & now)[views == NEXT].any(), (
        "what is shown as unknown is predicted from what stands before"
    )
    for row in range(len(pieces)):
        for view_of, hidden in ((batch, before), (turned, now)):
            assert (hidden[row] & ~view_of.targets_BT[row]).sum() == 0
        by_place = {
            int(p): int(e) for p, e in zip(batch.place_BT[row], batch.ids_BT[row], strict=True) if p >= 0
        }
        assert {
            int(p): int(e) for p, e in zip(turned.place_BT[row], turned.ids_BT[row], strict=True) if p >= 0
        } == by_place
        assert set(turned.place_BT[row][now[row]]) == set(batch.place_BT[row][before[row]])
    in_order = views != BAG
    assert (turned.ids_BT[in_order] == batch.ids_BT[in_order]).all()


def test_in_the_bag_unknown_events_come_first_and_the_others_stay_sorted(
    store: Store, pieces: Pieces
) -> None:
    batch = batch_of(store, pieces, list(range(len(pieces))), np.full(len(pieces), BAG, np.int8))
    turned, _, _ = shown(batch)
    assert turned.unknown_BT is not None
    for ids, place, unknown in zip(turned.ids_BT, turned.place_BT, turned.unknown_BT, strict=True):
        events = np.where(unknown, -1, ids)[place >= 0]
        assert (np.diff(events) >= 0).all()
        assert place[0] == -1
        assert (ids[1 + len(events) :] < FIRST).all(), "markers and padding stand behind"


def test_draws_do_not_depend_on_neighbours_and_differ_from_epoch_to_epoch(
    store: Store, pieces: Pieces
) -> None:
    views = np.resize(VIEWS, len(pieces))
    chosen = list(range(len(pieces)))
    together, _, _ = shown(batch_of(store, pieces, chosen, views))
    turned, _, _ = shown(batch_of(store, pieces, chosen[::-1], views[::-1]))
    assert together.unknown_BT is not None
    assert turned.unknown_BT is not None
    for i in chosen:
        alone, _, _ = shown(batch_of(store, pieces, [i], views[i : i + 1]))
        width = alone.ids_BT.shape[1]
        own = np.zeros(width, np.bool_) if alone.unknown_BT is None else alone.unknown_BT[0]
        assert together.unknown_BT[i, :width].tolist() == own.tolist()
        assert turned.unknown_BT[len(chosen) - 1 - i, :width].tolist() == own.tolist()
    longest = batch_of(store, pieces, [int(np.argmax(pieces.length))], np.array([NEXT], np.int8))
    drawn = [shown(longest, visit=v, epoch=e)[0].unknown_BT for v in range(4) for e in range(4)]
    assert len({each.tobytes() for each in drawn if each is not None}) >= 15
