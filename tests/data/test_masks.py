from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from logbert_engine.data.batches import VIEWS, Batch, Markers, Pieces, assemble, pieces_of
from logbert_engine.data.masks import complementary_masks, training_mask
from logbert_engine.data.store import Store, open_store
from logbert_engine.presets.types import View

ROOM = 22


@pytest.fixture
def store(write: Callable[..., Path]) -> Store:
    rng = np.random.default_rng(5)
    lengths = [1, 1, 2, 3, 4, 7, 15, 20, 21, 33, 60]
    records = [
        {"session_id": i, "event_sequence": rng.integers(0, 9, n).tolist()} for i, n in enumerate(lengths)
    ]
    return open_store([write("preprocessed_logs_2025-03-01.json", records)])


@pytest.fixture
def pieces(store: Store) -> Pieces:
    return pieces_of(store, np.arange(store.n_sessions, dtype=np.int64), ROOM)


def views(count: int, view: View) -> NDArray[np.int8]:
    return np.full(count, VIEWS.index(view), dtype=np.int8)


def batch_of(store: Store, pieces: Pieces, chosen: list[int], view: View = "order") -> Batch:
    lookup = np.arange(len(store.events), dtype=np.int64) + 8
    return assemble(store, pieces, np.array(chosen), lookup, Markers(0, 1, 6, 5, 2), views(len(chosen), view))


def hide(
    batch: Batch, *, visit: int = 0, ratio: tuple[float, float] = (0.15, 0.75), epoch: int = 1
) -> NDArray[np.bool_]:
    visits = np.full(len(batch.ids_BT), visit, dtype=np.int64)
    return training_mask(batch, visits, ratio, seed=1337, stage=1, epoch=epoch)


@pytest.mark.parametrize("ratio", [(0.15, 0.75), (1e-6, 1e-6), (0.5, 0.5), (1.0, 1.0)])
def test_every_piece_has_something_hidden_and_never_its_first_marker_or_padding(
    store: Store, pieces: Pieces, ratio: tuple[float, float]
) -> None:
    batch = batch_of(store, pieces, list(range(len(pieces))))
    for epoch in range(20):
        hidden = hide(batch, ratio=ratio, epoch=epoch)
        assert hidden.any(axis=1).all()
        assert not (hidden & ~batch.targets_BT).any()
    if ratio == (1.0, 1.0):
        assert (hidden == batch.targets_BT).all()


def test_what_is_hidden_of_a_piece_does_not_depend_on_its_neighbours(store: Store, pieces: Pieces) -> None:
    count = len(pieces)
    together = hide(batch_of(store, pieces, list(range(count))))
    turned = hide(batch_of(store, pieces, list(reversed(range(count)))))
    for i in range(count):
        alone = hide(batch_of(store, pieces, [i]))[0]
        width = len(alone)
        assert together[i, :width].tolist() == alone.tolist()
        assert turned[count - 1 - i, :width].tolist() == alone.tolist()


def test_each_epoch_and_each_visit_hides_other_events(store: Store, pieces: Pieces) -> None:
    longest = [int(np.argmax(pieces.length))]
    batch = batch_of(store, pieces, longest)
    drawn = {hide(batch, visit=v, epoch=e).tobytes() for v in range(6) for e in range(6)}
    assert len(drawn) >= 35


def test_windows_of_one_session_hide_events_of_their_own(store: Store, pieces: Pieces) -> None:
    windows = np.flatnonzero((pieces.length == ROOM - 2) & ~pieces.opens & ~pieces.closes)
    assert len(windows) >= 1
    of_one = np.flatnonzero(pieces.sequence == pieces.sequence[windows[0]])
    hidden = [hide(batch_of(store, pieces, [int(i)]))[0][1:21].tobytes() for i in of_one]
    assert len(set(hidden)) == len(of_one) >= 3


def test_the_share_hidden_is_drawn_evenly_between_the_bounds(store: Store, pieces: Pieces) -> None:
    batch = batch_of(store, pieces, [int(np.argmax(pieces.length))])
    targets = int(batch.targets_BT.sum())
    shares = np.array([hide(batch, epoch=e).sum() / targets for e in range(3000)])
    assert abs(shares.mean() - 0.45) < 0.02
    assert shares.std() > 0.17  # the draw itself; sampling noise alone would give 0.11


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=24)), st.integers(1, 6))
def test_complementary_masks_hide_each_event_exactly_once(events: NDArray[np.bool_], count: int) -> None:
    masks = complementary_masks(events, count)
    assert masks.shape == (count, *events.shape)
    assert (masks.sum(axis=0) == events).all()


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=24)), st.integers(1, 6))
def test_complementary_masks_share_the_events_of_a_row_evenly(events: NDArray[np.bool_], count: int) -> None:
    per_row = complementary_masks(events, count).sum(axis=2)
    assert (per_row.max(axis=0) - per_row.min(axis=0) <= 1).all()


def test_complementary_masks_of_a_padded_batch_are_those_of_each_piece_alone(
    store: Store, pieces: Pieces
) -> None:
    together = complementary_masks(batch_of(store, pieces, list(range(len(pieces)))).targets_BT, 4)
    for i in range(len(pieces)):
        alone = complementary_masks(batch_of(store, pieces, [i]).targets_BT, 4)
        assert together[:, i, : alone.shape[2]].tolist() == alone[:, 0].tolist()
        assert not together[:, i, alone.shape[2] :].any()


@given(
    arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=24)), st.integers(1, 6), st.integers(1, 5)
)
def test_a_rotation_deals_each_event_to_one_mask_and_evenly(
    events: NDArray[np.bool_], count: int, rotation: int
) -> None:
    masks = complementary_masks(events, count, rotation)
    assert (masks.sum(axis=0) == events).all()
    per_row = masks.sum(axis=2)
    assert (per_row.max(axis=0) - per_row.min(axis=0) <= 1).all()


def test_rotations_divide_the_events_differently() -> None:
    events = np.ones((1, 24), dtype=np.bool_)
    assert len({complementary_masks(events, 4, rotation).tobytes() for rotation in range(5)}) == 5


def test_a_rotation_does_not_depend_on_padding() -> None:
    alone = complementary_masks(np.ones((1, 9), dtype=np.bool_), 4, 2)
    padded = complementary_masks(np.arange(14)[None] < 9, 4, 2)
    assert padded[:, :, :9].tolist() == alone.tolist()


def test_in_the_next_view_all_is_predicted(store: Store, pieces: Pieces) -> None:
    batch = batch_of(store, pieces, list(range(len(pieces))), "next")
    assert (hide(batch) == batch.targets_BT).all()
    assert (batch.targets_BT.sum(axis=1) == pieces.length + pieces.closes).all()


def test_in_the_bag_view_no_end_is_predicted(store: Store, pieces: Pieces) -> None:
    batch = batch_of(store, pieces, list(range(len(pieces))), "bag")
    assert (batch.targets_BT == batch.events).all()
    assert (batch.targets_BT.sum(axis=1) == pieces.length).all()
