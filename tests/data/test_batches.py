from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from logbert_engine.data.batches import (
    BAG,
    NEXT,
    ORDER,
    Markers,
    Pieces,
    assemble,
    cut,
    pieces_of,
    plan_epoch,
    steps_per_epoch,
)
from logbert_engine.data.store import Store, open_store

PAD, CLS, END, AS_BAG, MORE = 0, 1, 2, 5, 6
AROUND = Markers(pad=PAD, opens=CLS, goes_on=MORE, bag=AS_BAG, end=END)
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def cut_all(lengths: list[int], room: int, counts: list[int] | None = None) -> Pieces:
    sequences = np.arange(len(lengths), dtype=np.int64) + 100
    of_each = np.array(counts if counts is not None else [1] * len(lengths), dtype=np.int64)
    return cut(np.array(lengths, dtype=np.int64), sequences, of_each, room)


@given(LENGTHS, st.integers(3, 20))
def test_cutting_drops_no_event_and_no_window_exceeds_the_room(lengths: list[int], room: int) -> None:
    pieces = cut_all(lengths, room)
    seen: dict[int, set[int]] = defaultdict(set)
    for i in range(len(pieces)):
        seen[int(pieces.sequence[i])].update(range(pieces.start[i], pieces.start[i] + int(pieces.length[i])))
    assert seen == {100 + i: set(range(n)) for i, n in enumerate(lengths)}
    assert pieces.tokens.max() <= room
    assert pieces.length.min() >= 1


@given(LENGTHS, st.integers(3, 20))
def test_windows_of_a_long_sequence_are_all_of_full_length(lengths: list[int], room: int) -> None:
    pieces = cut_all(lengths, room)
    for i, n in enumerate(lengths):
        own = pieces.length[pieces.sequence == 100 + i]
        assert own.tolist() == ([n] if n <= room - 2 else [room - 2] * -(-n // (room - 2)))


@given(LENGTHS, st.integers(3, 20))
def test_exactly_the_first_window_opens_and_the_last_one_closes(lengths: list[int], room: int) -> None:
    pieces = cut_all(lengths, room)
    for i, n in enumerate(lengths):
        own = pieces.sequence == 100 + i
        windows = int(own.sum())
        assert pieces.opens[own].tolist() == [True] + [False] * (windows - 1)
        assert pieces.closes[own].tolist() == [False] * (windows - 1) + [True]
        assert (pieces.start[own] + pieces.length[own])[-1] == n


def test_every_window_keeps_the_count_of_its_sequence() -> None:
    pieces = cut_all([25, 3], 12, counts=[7, 2])
    assert pieces.count.tolist() == [7, 7, 7, 2]


PLANS = st.builds(
    lambda lengths, counts, batch, weight: (
        cut_all(lengths[: len(counts)], 12, counts[: len(lengths)]),
        batch,
        weight,
    ),
    LENGTHS,
    st.lists(st.integers(1, 60), min_size=1, max_size=12),
    st.integers(1, 9),
    st.integers(1, 10),
)
Planned = tuple[Pieces, int, int]


@given(PLANS)
def test_an_epoch_makes_every_visit_exactly_once(planned: Planned) -> None:
    pieces, batch, duplicate_weight = planned
    plan = plan_epoch(pieces, batch=batch, duplicate_weight=duplicate_weight, seed=1, stage=1, epoch=1)
    visits = -(-pieces.count // duplicate_weight)
    expected = {(i, v) for i in range(len(pieces)) for v in range(int(visits[i]))}
    made = Counter(zip(plan.piece.tolist(), plan.visit.tolist(), strict=True))
    assert set(made) == expected
    assert set(made.values()) == {1}


@given(PLANS)
def test_the_weights_of_a_piece_sum_to_the_sessions_that_hold_it(planned: Planned) -> None:
    pieces, batch, duplicate_weight = planned
    plan = plan_epoch(pieces, batch=batch, duplicate_weight=duplicate_weight, seed=1, stage=1, epoch=1)
    sums = np.bincount(plan.piece, weights=plan.weight, minlength=len(pieces))
    np.testing.assert_allclose(sums, pieces.count, rtol=1e-6)
    assert plan.weight.max() <= duplicate_weight + 1e-6


@given(PLANS)
def test_an_epoch_has_as_many_batches_as_is_said_before_it_is_planned(planned: Planned) -> None:
    pieces, batch, duplicate_weight = planned
    plan = plan_epoch(pieces, batch=batch, duplicate_weight=duplicate_weight, seed=1, stage=1, epoch=1)
    sizes = np.diff(plan.bounds)
    assert len(plan) == len(sizes) == steps_per_epoch(pieces, batch, duplicate_weight)
    assert plan.bounds[0] == 0
    assert plan.bounds[-1] == len(plan.piece)
    assert sorted(sizes.tolist())[1:] == [batch] * (len(sizes) - 1)


@given(PLANS, st.integers(1, 5))
def test_passes_visit_every_piece_so_many_times_with_as_many_masks(planned: Planned, passes: int) -> None:
    pieces, batch, duplicate_weight = planned
    kind = {"batch": batch, "duplicate_weight": duplicate_weight, "seed": 1, "stage": 1, "epoch": 1}
    once, often = plan_epoch(pieces, **kind), plan_epoch(pieces, **kind, passes=passes)
    visits = np.bincount(once.piece, minlength=len(pieces))
    assert np.bincount(often.piece, minlength=len(pieces)).tolist() == (passes * visits).tolist()
    assert len(set(zip(often.piece.tolist(), often.visit.tolist(), strict=True))) == len(often.piece)
    sums = np.bincount(often.piece, weights=often.weight, minlength=len(pieces))
    np.testing.assert_allclose(sums, passes * pieces.count, rtol=1e-6)
    assert len(often) == steps_per_epoch(pieces, batch, duplicate_weight, passes)


@given(PLANS)
def test_nothing_is_padded_but_what_fills_no_batch_of_its_length(planned: Planned) -> None:
    pieces, batch, duplicate_weight = planned
    plan = plan_epoch(pieces, batch=batch, duplicate_weight=duplicate_weight, seed=1, stage=1, epoch=1)
    tokens = pieces.tokens[plan.piece]
    mixed = left_over = 0
    for begin, end in zip(plan.bounds[:-1], plan.bounds[1:], strict=True):
        mixed += len(set(tokens[begin:end].tolist())) > 1
    for same in Counter(tokens.tolist()).values():
        left_over += same % batch
    assert mixed <= -(-left_over // batch)


@given(PLANS, st.integers(0, 2**40))
def test_the_order_of_an_epoch_is_a_pure_function(planned: Planned, seed: int) -> None:
    pieces, batch, duplicate_weight = planned
    plans = []
    for disturbance in (1, 2):
        np.random.seed(disturbance)  # it must not matter
        plans.append(
            plan_epoch(pieces, batch=batch, duplicate_weight=duplicate_weight, seed=seed, stage=3, epoch=2)
        )
    for field in ("piece", "visit", "weight", "bounds"):
        np.testing.assert_array_equal(getattr(plans[0], field), getattr(plans[1], field))


def test_every_epoch_stage_and_seed_has_an_order_of_its_own() -> None:
    pieces = cut_all([5] * 64, 12, [3] * 64)

    def order(seed: int, stage: int, epoch: int) -> tuple[int, ...]:
        plan = plan_epoch(pieces, batch=4, duplicate_weight=1, seed=seed, stage=stage, epoch=epoch)
        return tuple(plan.piece.tolist())

    orders = {order(s, k, e) for s in (1, 2) for k in (1, 2) for e in (1, 2)}
    assert len(orders) == 8


def test_every_epoch_puts_other_sessions_together() -> None:
    pieces = cut_all([5] * 64, 12)
    together = []
    for epoch in (1, 2):
        plan = plan_epoch(pieces, batch=4, duplicate_weight=1, seed=1, stage=1, epoch=epoch)
        batches = np.split(plan.piece, plan.bounds[1:-1])
        together.append({frozenset(batch.tolist()) for batch in batches})
    assert len(together[0] & together[1]) <= 1


def test_batches_come_in_no_order_of_length() -> None:
    pieces = cut_all([1 + i % 8 for i in range(256)], 12)
    plan = plan_epoch(pieces, batch=8, duplicate_weight=1, seed=1, stage=1, epoch=1)
    lengths = pieces.tokens[plan.piece][plan.bounds[:-1]].astype(float)
    assert abs(float(np.corrcoef(np.arange(len(lengths)), lengths)[0, 1])) < 0.6


@pytest.fixture
def store(write: Callable[..., Path]) -> Store:
    sequences: list[list[int | str]] = [[0, "a", 3], list(range(14)), [3], [0, "a", 3], list(range(20, 30))]
    records = [{"session_id": i, "event_sequence": events} for i, events in enumerate(sequences)]
    return open_store([write("preprocessed_logs_2025-03-01.json", records)])


def everything(store: Store) -> NDArray[np.int64]:
    return np.arange(store.n_sessions, dtype=np.int64)


def test_identical_sessions_are_one_piece_with_a_count(store: Store) -> None:
    pieces = pieces_of(store, everything(store), 12)
    assert pieces.count.tolist() == [2, 1, 1, 1, 1]
    assert pieces.length.tolist() == [3, 10, 10, 1, 10]
    some = pieces_of(store, np.array([2, 3], dtype=np.int64), 12)
    assert sorted(zip(some.length.tolist(), some.count.tolist(), strict=True)) == [(1, 1), (3, 1)]


def by_hand(store: Store, pieces: Pieces, i: int, lookup: NDArray[np.int64]) -> list[int]:
    events = store.sequence(int(pieces.sequence[i]))[pieces.start[i] :][: pieces.length[i]]
    ids = [int(lookup[e]) for e in events]
    return [CLS if pieces.opens[i] else MORE] + ids + [END] * bool(pieces.closes[i])


@pytest.mark.parametrize("chosen", [[0], [1, 2, 4], [2, 0, 3, 1], [4, 4]])
def test_a_batch_holds_markers_events_and_padding_in_their_places(store: Store, chosen: list[int]) -> None:
    pieces = pieces_of(store, everything(store), 12)
    lookup = np.arange(len(store.events), dtype=np.int64) + 64
    batch = assemble(store, pieces, np.array(chosen), lookup, AROUND)
    rows = [by_hand(store, pieces, i, lookup) for i in chosen]
    longest = max(map(len, rows))
    assert batch.ids_BT.tolist() == [row + [PAD] * (longest - len(row)) for row in rows]
    assert batch.events.tolist() == [[i < len(row) and row[i] >= 64 for i in range(longest)] for row in rows]
    assert batch.tokens_B.tolist() == [len(row) for row in rows]
    assert batch.sequence_B.tolist() == pieces.sequence[chosen].tolist()
    assert batch.start_B.tolist() == pieces.start[chosen].tolist()


def test_event_id_zero_is_an_event_and_not_padding(store: Store) -> None:
    pieces = pieces_of(store, everything(store), 12)
    lookup = np.arange(len(store.events), dtype=np.int64) + 64
    batch = assemble(store, pieces, np.array([0]), lookup, AROUND)
    assert batch.ids_BT[0, 1] == 64 + store.events.index(0)
    assert batch.events[0].tolist() == [False, True, True, True, False]


def test_in_the_bag_view_events_are_sorted_and_keep_their_places(store: Store) -> None:
    pieces = pieces_of(store, everything(store), 12)
    lookup = np.arange(len(store.events), dtype=np.int64)[::-1] + 64
    chosen = np.arange(len(pieces))
    ordered = assemble(store, pieces, chosen, lookup, AROUND)
    bag = assemble(store, pieces, chosen, lookup, AROUND, np.full(len(chosen), BAG, dtype=np.int8))
    assert (bag.ids_BT[:, 0] == AS_BAG).all()
    for i, length in enumerate(pieces.length):
        events = slice(1, 1 + int(length))
        assert bag.ids_BT[i, events].tolist() == sorted(ordered.ids_BT[i, events].tolist())
        assert sorted(bag.place_BT[i, events].tolist()) == list(range(length))
        assert ordered.ids_BT[i, 1 + bag.place_BT[i, events]].tolist() == bag.ids_BT[i, events].tolist()
        assert bag.ids_BT[i, 1 + length :].tolist() == ordered.ids_BT[i, 1 + length :].tolist()


def test_views_mix_in_a_batch_and_leave_each_other_alone(store: Store) -> None:
    pieces = pieces_of(store, everything(store), 12)
    lookup = np.arange(len(store.events), dtype=np.int64) + 64
    chosen = np.arange(3)
    mixed = assemble(store, pieces, chosen, lookup, AROUND, np.array([ORDER, BAG, NEXT], dtype=np.int8))
    for i, view in enumerate((ORDER, BAG, NEXT)):
        alone = assemble(store, pieces, chosen[i : i + 1], lookup, AROUND, np.array([view], dtype=np.int8))
        width = int(alone.tokens_B[0])
        assert mixed.ids_BT[i, :width].tolist() == alone.ids_BT[0].tolist()
        assert mixed.targets_BT[i, :width].tolist() == alone.targets_BT[0].tolist()


@given(PLANS)
def test_views_take_turns_from_epoch_to_epoch(planned: Planned) -> None:
    pieces, batch, duplicate_weight = planned
    seen: list[dict[tuple[int, int], int]] = []
    for epoch in (1, 2):
        plan = plan_epoch(
            pieces,
            batch=batch,
            duplicate_weight=duplicate_weight,
            seed=1,
            stage=1,
            epoch=epoch,
            views=("next", "bag"),
        )
        visits = zip(plan.piece.tolist(), plan.visit.tolist(), strict=True)
        seen.append(dict(zip(visits, plan.view.tolist(), strict=True)))
    assert set(seen[0].values()) | set(seen[1].values()) == {NEXT, BAG}
    assert all({seen[0][visit], seen[1][visit]} == {NEXT, BAG} for visit in seen[0])
