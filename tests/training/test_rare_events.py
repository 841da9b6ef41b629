"""What training on rare events as unknown ones comes to where an unknown event is met."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from logbert_engine.data.batches import assemble, pieces_of, plan_epoch
from logbert_engine.data.masks import training_mask
from logbert_engine.data.store import Store, open_store
from logbert_engine.data.unknown import replacement_odds, show_as_unknown
from logbert_engine.models.device import Compute
from logbert_engine.models.encoder import new_model
from logbert_engine.models.surprisal import Scorer
from logbert_engine.models.vocabulary import AROUND, Vocabulary
from logbert_engine.presets.types import Encoder, Training, View
from logbert_engine.training.guessing import occurrences
from logbert_engine.training.step import Updater, accumulate, batch_weight, make_optimizer

ANSWER, NEW = 50, 999
RARE = range(100, 140)
ROOM, EPOCHS = 14, 45


def session(kind: int, odd: int, place: int) -> list[int]:
    """Ten times the same event, but that in two places an odd one stands, and behind it the answer to it."""
    events = [kind] * 10
    events[place : place + 2] = odd, ANSWER
    return events


def sessions() -> list[list[int]]:
    """Of five kinds; in half of them stands an event that occurs once in all."""
    place = np.random.default_rng(3).integers(0, 9, len(RARE))
    odd = [session(i % 5, event, int(place[i])) for i, event in enumerate(RARE)]
    return odd + [[i % 5] * int(10 + i % 3) for i in range(len(odd))]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Training sessions, and behind them some that hold an event which those do not."""
    new = [session(kind, NEW, 2 + kind) for kind in range(5)]
    records = [{"session_id": i, "event_sequence": e} for i, e in enumerate(sessions() + new)]
    path = tmp_path / "preprocessed_logs_2025-03-01.json"
    path.write_text(json.dumps(records))
    return open_store([path])


def beside_the_unknown(store: Store, view: View, alpha: float, compute: Compute) -> float:
    """The mean surprisal of the other events of sessions with an unknown one, after training."""
    vocabulary = Vocabulary(events=[e for e in store.events if e != NEW], reserved=2)
    lookup = vocabulary.lookup(store.events)
    train = np.arange(2 * len(RARE), dtype=np.int64)
    pieces = pieces_of(store, train, ROOM)
    odds = replacement_odds(
        np.bincount(lookup, occurrences(store, pieces), vocabulary.size).astype(np.float64), alpha
    )
    sizes = Encoder(hidden=24, layers=2, heads=2, max_length=ROOM, dropout=0.0)
    settings = Training(learning_rate=5e-3)
    model = new_model(sizes, vocabulary, 1).train()
    optimizer, scaler = make_optimizer(model, settings), torch.amp.GradScaler("cpu", enabled=False)
    updater = Updater(model, optimizer, scaler, settings.clip)
    for epoch in range(EPOCHS):
        plan = plan_epoch(pieces, batch=16, duplicate_weight=1, seed=1, stage=1, epoch=epoch, views=(view,))
        for begin, end in zip(plan.bounds[:-1], plan.bounds[1:], strict=True):
            rows = slice(begin, end)
            batch = assemble(store, pieces, plan.piece[rows], lookup, AROUND, plan.view[rows])
            visit, weight = plan.visit[rows], plan.weight[rows]
            hidden = training_mask(batch, visit, (0.15, 0.5), seed=1, stage=1, epoch=epoch)
            batch, hidden = show_as_unknown(batch, hidden, visit, odds, seed=1, stage=1, epoch=epoch)
            micro = np.arange(len(weight))
            loss = accumulate(model, scaler, batch, hidden, weight, micro, len(weight), compute)
            updater.update(loss, batch_weight(hidden, weight))
    new = np.arange(2 * len(RARE), store.n_sessions, dtype=np.int64)
    scorer = Scorer(model, vocabulary, store, compute.device)
    found = scorer.score(pieces_of(store, new, ROOM), view)
    known = ~scorer.unknown(found)
    assert (~known).sum() == 5
    return float(found.values[known].mean())


def test_what_stands_beside_an_unknown_event_surprises_less_where_rare_ones_stood_for_it(
    store: Store, compute: Compute
) -> None:
    with_it, without = (beside_the_unknown(store, "bag", alpha, compute) for alpha in (0.25, 0.0))
    assert with_it < 0.6 * without
