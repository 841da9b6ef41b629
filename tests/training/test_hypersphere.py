from __future__ import annotations

import numpy as np
import pytest
import torch

from logbert_engine.data.batches import BAG, NEXT, ORDER, Batch, Pieces, assemble, pieces_of
from logbert_engine.data.masks import complementary_masks, training_mask
from logbert_engine.data.sampling import CENTRE_SESSIONS, centre_sample, stage_sample
from logbert_engine.data.store import Store
from logbert_engine.models.device import Compute
from logbert_engine.models.encoder import MaskedModel, new_model, read
from logbert_engine.models.surprisal import MASKS, Scorer
from logbert_engine.models.vocabulary import AROUND, Vocabulary
from logbert_engine.presets.types import Encoder, Training
from logbert_engine.training.hypersphere import Sphere, sphere_of
from logbert_engine.training.step import Updater, accumulate, batch_weight, make_optimizer

ROOM = 14
CPU = torch.device("cpu")


@pytest.fixture(params=["bert", "distilbert"])
def model(request: pytest.FixtureRequest, vocabulary: Vocabulary) -> MaskedModel:
    sizes = Encoder(architecture=request.param, hidden=16, layers=2, heads=2, max_length=ROOM, dropout=0.0)
    return new_model(sizes, vocabulary, 5).train()


@pytest.fixture
def pieces(store: Store) -> Pieces:
    return pieces_of(store, np.arange(store.n_sessions, dtype=np.int64), ROOM)


def batch_of(store: Store, pieces: Pieces, vocabulary: Vocabulary, views: tuple[int, ...]) -> Batch:
    chosen = np.arange(0, len(pieces), 3)
    view_B = np.resize(np.array(views, dtype=np.int8), len(chosen))
    return assemble(store, pieces, chosen, vocabulary.lookup(store.events), AROUND, view_B)


def gradients(
    model: MaskedModel, batch: Batch, compute: Compute, sphere: Sphere | None, micro_batch: int
) -> tuple[float, list[torch.Tensor]]:
    """What ``accumulate`` returns, and the gradients that it leaves."""
    model.zero_grad()
    rows = np.arange(len(batch.view_B))
    hidden = training_mask(batch, np.zeros(len(rows), np.int64), (0.15, 0.5), seed=1, stage=1, epoch=1)
    weight = (1 + rows % 3).astype(np.float32)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    told = float(accumulate(model, scaler, batch, hidden, weight, rows, micro_batch, compute, sphere))
    return told, [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def test_the_centre_is_the_mean_state_of_the_first_token_each_session_counted(
    model: MaskedModel, store: Store, pieces: Pieces, vocabulary: Vocabulary
) -> None:
    found = Scorer(model, vocabulary, store, CPU).centre(pieces, "bag")
    total, sessions = torch.zeros(16), 0
    for i in range(len(pieces)):  # each alone
        view = np.array([BAG], dtype=np.int8)
        batch = assemble(store, pieces, np.array([i]), vocabulary.lookup(store.events), AROUND, view)
        masks = torch.from_numpy(complementary_masks(batch.targets_BT, MASKS)[:, 0])
        with torch.inference_mode():
            states = read(model, torch.from_numpy(batch.ids_BT).repeat(MASKS, 1), masks).first_BD
        total += states.mean(dim=0) * int(pieces.count[i])
        sessions += int(pieces.count[i])
    assert sessions > len(pieces), "some are alike"
    torch.testing.assert_close(torch.tensor(found), total / sessions, rtol=0, atol=1e-5)


def test_the_loss_has_the_weighted_mean_squared_distance_of_the_views_that_see_the_session(
    model: MaskedModel, store: Store, pieces: Pieces, vocabulary: Vocabulary, compute: Compute
) -> None:
    batch = batch_of(store, pieces, vocabulary, (NEXT, BAG, BAG, ORDER))
    centre = torch.linspace(-1, 1, 16)
    sphere = sphere_of(0.5, {"bag": centre.tolist()}, CPU)
    plain, without = gradients(model, batch, compute, None, 99)
    told, with_it = gradients(model, batch, compute, sphere, 99)
    assert told == plain, "losses with it and without compare"
    model.zero_grad()
    rows = np.flatnonzero(batch.view_B == BAG)
    weight = torch.tensor(1 + rows % 3, dtype=torch.float32)
    hidden = training_mask(
        batch, np.zeros(len(batch.view_B), np.int64), (0.15, 0.5), seed=1, stage=1, epoch=1
    )
    distances = []
    for row in rows:
        width = int(batch.tokens_B[row])
        ids, mask = (torch.from_numpy(a[row : row + 1, :width]) for a in (batch.ids_BT, hidden))
        distances.append(((read(model, ids, mask).first_BD[0] - centre) ** 2).mean())
    (0.5 * (torch.stack(distances) * weight).sum() / weight.sum()).backward()  # type: ignore[no-untyped-call]
    moved = 0.0
    for parameter, one, other in zip(
        (p for p in model.parameters() if p.requires_grad), with_it, without, strict=True
    ):
        own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(one - other, own, rtol=0, atol=1e-5)
        moved = max(moved, float(own.abs().max()))
    assert moved > 1e-2


@pytest.mark.parametrize("micro_batch", [1, 4])
def test_micro_batches_are_drawn_as_the_whole_batch_is(
    model: MaskedModel,
    store: Store,
    pieces: Pieces,
    vocabulary: Vocabulary,
    compute: Compute,
    micro_batch: int,
) -> None:
    batch = batch_of(store, pieces, vocabulary, (NEXT, BAG, ORDER))
    sphere = sphere_of(0.5, {"bag": [0.3] * 16, "order": [-0.2] * 16}, CPU)
    _, whole = gradients(model, batch, compute, sphere, 99)
    _, parts = gradients(model, batch, compute, sphere, micro_batch)
    for one, other in zip(parts, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_a_batch_without_such_a_view_is_trained_as_without_a_sphere(
    model: MaskedModel, store: Store, pieces: Pieces, vocabulary: Vocabulary, compute: Compute
) -> None:
    batch = batch_of(store, pieces, vocabulary, (NEXT,))
    sphere = sphere_of(0.5, {"bag": [0.3] * 16}, CPU)
    for one, other in zip(
        gradients(model, batch, compute, sphere, 99)[1],
        gradients(model, batch, compute, None, 99)[1],
        strict=True,
    ):
        assert torch.equal(one, other)


def test_training_draws_sessions_to_the_centre(
    model: MaskedModel, store: Store, pieces: Pieces, vocabulary: Vocabulary, compute: Compute
) -> None:
    batch = batch_of(store, pieces, vocabulary, (ORDER,))
    centre = Scorer(model, vocabulary, store, CPU).centre(pieces, "order")
    rows, settings = np.arange(len(batch.view_B)), Training(learning_rate=3e-3)
    hidden = training_mask(batch, np.zeros(len(rows), np.int64), (0.15, 0.5), seed=1, stage=1, epoch=1)
    weight, scaler = np.ones(len(rows), np.float32), torch.amp.GradScaler("cpu", enabled=False)
    updater = Updater(model, make_optimizer(model.train(), settings), scaler, settings.clip)

    def spread() -> float:
        scorer = Scorer(model, vocabulary, store, CPU, centres={"order": centre})
        distance = scorer.score(pieces, "order").distance
        model.train()
        assert distance is not None
        return float(distance.mean())

    before = spread()
    for _ in range(10):
        loss = accumulate(
            model, scaler, batch, hidden, weight, rows, 99, compute, sphere_of(1.0, {"order": centre}, CPU)
        )
        updater.update(loss, batch_weight(hidden, weight))
    assert spread() < 0.5 * before


def test_the_centre_is_of_sessions_of_the_stage_the_same_each_time() -> None:
    train = np.arange(3, 9003, dtype=np.int64)
    sample = centre_sample(train, 0.5, 7)
    assert len(sample) == CENTRE_SESSIONS
    assert np.isin(sample, stage_sample(train, 0.5, 7)).all()
    assert np.array_equal(sample, centre_sample(train, 0.5, 7))
    assert np.array_equal(centre_sample(train[:40], 1.0, 7), train[:40])
