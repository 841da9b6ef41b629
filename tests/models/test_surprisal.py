from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from logbert_engine.data.batches import Pieces, pieces_of
from logbert_engine.data.contract import EventId
from logbert_engine.data.store import Store
from logbert_engine.models import surprisal
from logbert_engine.models.encoder import MaskedModel
from logbert_engine.models.surprisal import MASKS, Scorer, Surprisals
from logbert_engine.models.vocabulary import CLS, END, MASK, Vocabulary

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
    model: MaskedModel, vocabulary: Vocabulary, store: Store, pieces: Pieces | None = None, *, top: int = 0
) -> Surprisals:
    return Scorer(model, vocabulary, store, CPU, top=top).score(pieces or pieces_in(store))


def one_by_one(
    model: MaskedModel, vocabulary: Vocabulary, events: Sequence[EventId], start: int, length: int
) -> NDArray[np.float64]:
    """Surprisal of the events of one window, by the whole model and a loop."""
    rows = [int(row) for row in vocabulary.lookup(events)][start : start + length]
    opens, closes = start == 0, start + length == len(events)
    found = np.full(length, np.nan)
    for k in range(MASKS):
        hidden = [MASK if i % MASKS == k else row for i, row in enumerate(rows)]
        ids = torch.tensor([[CLS] * opens + hidden + [END] * closes])
        with torch.inference_mode():
            log_p = torch.log_softmax(model(input_ids=ids).logits[0], dim=-1)
        for i in range(k, length, MASKS):
            found[i] = -float(log_p[i + opens, rows[i]])
    return found


def test_surprisals_are_those_of_a_loop_and_shared_positions_are_averaged(
    model: MaskedModel, vocabulary: Vocabulary, store: Store
) -> None:
    found = score(model, vocabulary, store)
    window = ROOM - 2
    for i, u in enumerate(found.sequence):
        events = [store.events[e] for e in store.sequence(int(u))]
        n = len(events)
        starts = sorted({max(0, min(s, n - window)) for s in range(0, n, window)})
        sums, visits = np.zeros(n), np.zeros(n)
        for start in starts:
            length = min(window, n)
            sums[start : start + length] += one_by_one(model, vocabulary, events, start, length)
            visits[start : start + length] += 1
        own = found.values[found.offsets[i] : found.offsets[i + 1]]
        np.testing.assert_allclose(own, sums / visits, rtol=0, atol=2e-5, err_msg=f"{n} events")


@pytest.mark.parametrize("tokens_at_once", [1, 60, 500, 10**9])
def test_surprisals_do_not_depend_on_how_many_are_scored_at_once(
    model: MaskedModel,
    vocabulary: Vocabulary,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    tokens_at_once: int,
) -> None:
    whole = score(model, vocabulary, store, top=3)
    monkeypatch.setattr(surprisal, "TOKENS_AT_ONCE", tokens_at_once)
    some = score(model, vocabulary, store, top=3)
    np.testing.assert_allclose(some.values, whole.values, rtol=1e-6, atol=1e-6)
    assert some.expected is not None
    assert whole.expected is not None
    np.testing.assert_array_equal(some.expected, whole.expected)


def test_surprisals_do_not_depend_on_the_order_or_the_neighbours(
    model: MaskedModel, vocabulary: Vocabulary, store: Store
) -> None:
    whole = score(model, vocabulary, store)
    pieces = pieces_in(store)
    order = np.random.default_rng(2).permutation(len(pieces))
    turned = Pieces(**{name: values[order] for name, values in vars(pieces).items()})
    np.testing.assert_allclose(
        score(model, vocabulary, store, turned).values, whole.values, rtol=1e-6, atol=1e-6
    )
    for session in range(store.n_sessions):
        alone = score(model, vocabulary, store, pieces_of(store, np.array([session]), ROOM))
        u = int(store.sequence_of[session])
        own = whole.values[whole.offsets[u] : whole.offsets[u + 1]]
        np.testing.assert_allclose(alone.values, own, rtol=1e-6, atol=1e-6)


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


def test_the_likeliest_events_are_events_in_order_with_their_probabilities(
    model: MaskedModel, vocabulary: Vocabulary, store: Store
) -> None:
    found = score(model, vocabulary, store, top=99)
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
    scorer.score(pieces, lambda done, total: seen.append((done, total)))
    assert [total for _, total in seen] == [len(pieces)] * len(seen)
    assert sorted({done for done, _ in seen}) == [done for done, _ in seen]
    assert seen[-1][0] == len(pieces)

    def interrupt(_done: int, _total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        scorer.score(pieces, interrupt)
