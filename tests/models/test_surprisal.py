from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from logbert_engine.data.batches import VIEWS, Pieces, assemble, pieces_of
from logbert_engine.data.contract import EventId
from logbert_engine.data.masks import complementary_masks
from logbert_engine.data.store import Store
from logbert_engine.models import surprisal
from logbert_engine.models.encoder import MaskedModel, read
from logbert_engine.models.surprisal import MASKS, Scorer, Surprisals, raise_unknown
from logbert_engine.models.vocabulary import AROUND, BAG, CLS, END, MASK, MORE, Vocabulary
from logbert_engine.presets.types import View

CPU = torch.device("cpu")
ROOM = 14
EVENTS: list[EventId] = [0, "E1", 5, 22, "7a", 9]


@pytest.fixture
def store(store_of: Callable[[Sequence[Sequence[EventId]]], Store]) -> Store:
    """Sequences of one event, of every length about a window, and of several windows."""
    rng = np.random.default_rng(11)
    lengths = [1, 1, 2, 3, 4, 5, 8, 11, 12, 13, 13, 14, 18, 23, 24, 25, 40]
    return store_of([[EVENTS[i] for i in rng.integers(0, 6, n)] for n in lengths])


def pieces_in(store: Store) -> Pieces:
    return pieces_of(store, np.arange(store.n_sessions, dtype=np.int64), ROOM)


def score(
    model: MaskedModel,
    vocabulary: Vocabulary,
    store: Store,
    pieces: Pieces | None = None,
    *,
    view: View = "order",
    rotations: int = 1,
    top: int = 0,
) -> Surprisals:
    scorer = Scorer(model, vocabulary, store, CPU, rotations=rotations, top=top)
    return scorer.score(pieces or pieces_in(store), view)


def one_by_one(
    model: MaskedModel, vocabulary: Vocabulary, events: Sequence[EventId], start: int, length: int, view: View
) -> tuple[NDArray[np.float64], float]:
    """Surprisal of the events of one window, and of the session's end, by the whole model and a loop."""
    rows = [int(row) for row in vocabulary.lookup(events)][start : start + length]
    places = list(range(length))
    closes = start + length == len(events)
    opening = CLS if start == 0 else MORE
    if view == "bag":
        places.sort(key=lambda i: rows[i])
        opening = BAG
    tokens = [rows[i] for i in places] + [END] * closes
    targets = length + (closes and view == "order")
    found = np.full(length + 1, np.nan)

    def log_p(seen: list[int], allowed: torch.Tensor | None = None) -> torch.Tensor:
        with torch.inference_mode():
            found = model(input_ids=torch.tensor([seen]), attention_mask=allowed).logits
            return torch.log_softmax(found[0], dim=-1)

    for i, token in enumerate(tokens):
        if view == "next":  # nothing behind a token is there to be looked at, by those before it neither
            earlier = torch.tril(torch.ones(1, 1, i + 1, i + 1, dtype=torch.bool))
            found[i] = -float(log_p([opening, *tokens[:i]], earlier)[i, token])
        elif i < targets:
            hidden = [MASK if j < targets and j % MASKS == i % MASKS else t for j, t in enumerate(tokens)]
            found[i] = -float(log_p([opening, *hidden])[1 + i, token])
    in_place = np.empty(length)
    in_place[places] = found[:length]
    return in_place, float(found[length])


@pytest.mark.parametrize("view", VIEWS)
def test_surprisals_are_those_of_a_loop_and_shared_positions_are_averaged(
    model: MaskedModel, vocabulary: Vocabulary, store: Store, view: View
) -> None:
    found = score(model, vocabulary, store, view=view)
    window = ROOM - 2
    for i, u in enumerate(found.sequence):
        events = [store.events[e] for e in store.sequence(int(u))]
        n = len(events)
        starts = sorted({max(0, min(s, n - window)) for s in range(0, n, window)})
        sums, visits, end = np.zeros(n), np.zeros(n), np.nan
        for start in starts:
            length = min(window, n)
            values, end = one_by_one(model, vocabulary, events, start, length, view)
            sums[start : start + length] += values
            visits[start : start + length] += 1
        own = found.values[found.offsets[i] : found.offsets[i + 1]]
        np.testing.assert_allclose(own, sums / visits, rtol=0, atol=2e-5, err_msg=f"{n} events")
        if view == "bag":
            assert found.end is None
        else:
            assert found.end is not None
            assert found.end[i] == pytest.approx(end, abs=2e-5)


@pytest.mark.parametrize("view", VIEWS)
def test_rotations_average_what_each_division_alone_gives(
    model: MaskedModel,
    vocabulary: Vocabulary,
    store: Store,
    view: View,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together = score(model, vocabulary, store, view=view, rotations=3)
    alone = []
    for rotation in range(3):
        monkeypatch.setattr(
            surprisal,
            "complementary_masks",
            lambda targets, count, _, rotation=rotation: complementary_masks(targets, count, rotation),
        )
        alone.append(score(model, vocabulary, store, view=view))
    np.testing.assert_allclose(
        together.values, np.mean([one.values for one in alone], axis=0), rtol=0, atol=1e-5
    )
    differ = float(np.abs(alone[1].values - alone[0].values).max())
    assert differ == 0 if view == "next" else differ > 1e-3
    if together.end is not None:
        ends = [one.end for one in alone if one.end is not None]
        np.testing.assert_allclose(together.end, np.mean(ends, axis=0), rtol=0, atol=1e-5)


def test_in_the_bag_view_the_order_of_events_changes_nothing(
    model: MaskedModel, vocabulary: Vocabulary, store_of: Callable[[Sequence[Sequence[EventId]]], Store]
) -> None:
    events = [EVENTS[i] for i in (0, 3, 3, 1, 5, 2, 3, 0)]
    turned = [events[i] for i in (7, 2, 1, 4, 0, 6, 3, 5)]
    store = store_of([events, turned])
    bag = score(model, vocabulary, store, view="bag").means()
    in_order = score(model, vocabulary, store).means()
    assert bag[0] == pytest.approx(bag[1], abs=1e-6)
    assert abs(in_order[0] - in_order[1]) > 1e-4


def test_an_unknown_event_surprises_at_least_as_much_as_any_known_one() -> None:
    found = Surprisals(
        sequence=np.arange(2), offsets=np.array([0, 2, 4]), values=np.array([1, 5, 0.5, 9], dtype=np.float32)
    )
    assert raise_unknown(found, np.array([True, False, True, True])) == 5
    assert found.values.tolist() == [5, 5, 5, 9]
    assert raise_unknown(found, np.array([True, False, False, False]), 7.0) == 7
    assert found.values.tolist() == [7, 5, 5, 9]


@pytest.mark.parametrize("rotations", [1, 3])
@pytest.mark.parametrize("tokens_at_once", [1, 60, 500, 10**9])
def test_surprisals_do_not_depend_on_how_many_are_scored_at_once(
    model: MaskedModel,
    vocabulary: Vocabulary,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    tokens_at_once: int,
    rotations: int,
) -> None:
    whole = score(model, vocabulary, store, rotations=rotations, top=3)
    monkeypatch.setattr(surprisal, "TOKENS_AT_ONCE", tokens_at_once)
    some = score(model, vocabulary, store, rotations=rotations, top=3)
    np.testing.assert_allclose(some.values, whole.values, rtol=1e-6, atol=1e-6)
    assert some.expected is not None
    assert whole.expected is not None
    np.testing.assert_array_equal(some.expected, whole.expected)


@pytest.mark.parametrize("rotations", [1, 3])
def test_surprisals_do_not_depend_on_the_order_or_the_neighbours(
    model: MaskedModel, vocabulary: Vocabulary, store: Store, rotations: int
) -> None:
    whole = score(model, vocabulary, store, rotations=rotations)
    pieces = pieces_in(store)
    order = np.random.default_rng(2).permutation(len(pieces))
    turned = Pieces(**{name: values[order] for name, values in vars(pieces).items()})
    np.testing.assert_allclose(
        score(model, vocabulary, store, turned, rotations=rotations).values,
        whole.values,
        rtol=1e-6,
        atol=1e-6,
    )
    for session in range(store.n_sessions):
        pieces = pieces_of(store, np.array([session]), ROOM)
        alone = score(model, vocabulary, store, pieces, rotations=rotations)
        u = int(store.sequence_of[session])
        own = whole.values[whole.offsets[u] : whole.offsets[u + 1]]
        np.testing.assert_allclose(alone.values, own, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("view", ["order", "bag"])
def test_the_distance_of_a_sequence_is_the_mean_over_its_windows_however_they_are_batched(
    model: MaskedModel, vocabulary: Vocabulary, store: Store, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = pieces_in(store)
    centre = Scorer(model, vocabulary, store, CPU).centre(pieces, view)
    scorer = Scorer(model, vocabulary, store, CPU, rotations=2, centres={view: centre})
    whole = scorer.score(pieces, view).distance
    assert whole is not None
    monkeypatch.setattr(surprisal, "TOKENS_AT_ONCE", 60)
    order = np.random.default_rng(2).permutation(len(pieces))
    turned = Pieces(**{name: values[order] for name, values in vars(pieces).items()})
    some = scorer.score(turned, view).distance
    np.testing.assert_allclose(some, whole, rtol=1e-5, atol=1e-6)
    lookup, as_view = vocabulary.lookup(store.events), np.array([VIEWS.index(view)], dtype=np.int8)
    for u in range(store.n_unique):
        alone = []
        for i in np.flatnonzero(pieces.sequence == u):
            batch = assemble(store, pieces, np.array([i]), lookup, AROUND, as_view)
            masks = [torch.from_numpy(complementary_masks(batch.targets_BT, MASKS, r)[:, 0]) for r in (0, 1)]
            with torch.inference_mode():
                ids = torch.from_numpy(batch.ids_BT).repeat(2 * MASKS, 1)
                states = read(model, ids, torch.cat(masks)).first_BD
            alone.append(float((states - torch.tensor(centre)).square().mean()))
        assert whole[u] == pytest.approx(np.mean(alone), rel=1e-4)
    assert scorer.score(pieces, "next").distance is None


def test_scoring_twice_gives_the_same_bits(model: MaskedModel, vocabulary: Vocabulary, store: Store) -> None:
    model.train()
    one, again = score(model, vocabulary, store), score(model, vocabulary, store)
    assert one.values.tobytes() == again.values.tobytes()
    assert not model.training


def test_every_event_of_every_sequence_has_a_surprisal(
    model: MaskedModel, vocabulary: Vocabulary, store: Store
) -> None:
    found = score(model, vocabulary, store)
    assert found.sequence.tolist() == list(range(store.n_unique))
    assert np.diff(found.offsets).tolist() == store.lengths.tolist()
    assert np.isfinite(found.values).all()
    assert (found.values > 0).all()
    assert found.expected is None
    assert found.probability is None


def test_means_are_over_the_events_of_each_sequence(
    model: MaskedModel, vocabulary: Vocabulary, store: Store
) -> None:
    found = score(model, vocabulary, store)
    by_hand = [
        found.values[a:b].astype(np.float64).mean()
        for a, b in zip(found.offsets[:-1], found.offsets[1:], strict=True)
    ]
    np.testing.assert_allclose(found.means(), by_hand, rtol=1e-12)


@pytest.mark.parametrize("rotations", [1, 2])
def test_the_likeliest_events_are_events_in_order_with_their_probabilities(
    model: MaskedModel, vocabulary: Vocabulary, store: Store, rotations: int
) -> None:
    found = score(model, vocabulary, store, rotations=rotations, top=99)
    assert found.expected is not None
    assert found.probability is not None
    assert found.expected.shape == (len(found.values), len(EVENTS))
    assert found.expected.min() >= vocabulary.first
    assert (np.diff(found.probability, axis=1) <= 0).all()
    assert (found.probability.sum(axis=1) < 1 + 1e-6).all()
    window = found.offsets[:-1][np.diff(found.offsets) <= ROOM - 2]
    rows = vocabulary.lookup(store.events)[store.tokens]
    for place in window:  # of a sequence of one window the surprisal is that of the probability shown
        at = found.expected[place].tolist().index(int(rows[place]))
        assert found.probability[place, at] == pytest.approx(np.exp(-found.values[place]), rel=1e-4)


def test_progress_counts_up_to_all_pieces_and_may_interrupt(
    model: MaskedModel, vocabulary: Vocabulary, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surprisal, "TOKENS_AT_ONCE", 60)
    seen: list[tuple[int, int]] = []
    scorer = Scorer(model, vocabulary, store, CPU)
    pieces = pieces_in(store)
    scorer.score(pieces, progress=lambda done, total: seen.append((done, total)))
    assert [total for _, total in seen] == [len(pieces)] * len(seen)
    assert sorted({done for done, _ in seen}) == [done for done, _ in seen]
    assert seen[-1][0] == len(pieces)

    def interrupt(_done: int, _total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        scorer.score(pieces, progress=interrupt)
