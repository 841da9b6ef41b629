from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from logbert_engine.data.batches import BAG, NEXT, ORDER, Batch, Pieces, assemble, pieces_of
from logbert_engine.data.masks import training_mask
from logbert_engine.data.store import Store
from logbert_engine.models.device import Compute
from logbert_engine.models.encoder import MaskedModel, new_model
from logbert_engine.models.vocabulary import AROUND, MASK, Vocabulary
from logbert_engine.presets.types import Encoder, Training
from logbert_engine.training.step import StepResult, Updater, accumulate, batch_weight, make_optimizer

UNCLIPPED = Training(clip=1e9)


@pytest.fixture(params=["bert", "distilbert"])
def sizes(request: pytest.FixtureRequest) -> Encoder:
    return Encoder(architecture=request.param, hidden=16, layers=2, heads=2, max_length=14, dropout=0.0)


@pytest.fixture
def pieces(store: Store) -> Pieces:
    return pieces_of(store, np.arange(store.n_sessions, dtype=np.int64), 14)


class Took:
    """A batch with its mask and weights."""

    def __init__(
        self,
        store: Store,
        pieces: Pieces,
        vocabulary: Vocabulary,
        chosen: list[int],
        views: tuple[int, ...] = (ORDER,),
    ) -> None:
        lookup = vocabulary.lookup(store.events)
        view_B = np.resize(np.array(views, dtype=np.int8), len(chosen))
        self.batch: Batch = assemble(store, pieces, np.array(chosen), lookup, AROUND, view_B)
        visits = np.zeros(len(chosen), dtype=np.int64)
        self.hidden: NDArray[np.bool_] = training_mask(
            self.batch, visits, (0.15, 0.75), seed=1, stage=1, epoch=1
        )
        self.weight: NDArray[np.float32] = (1 + np.arange(len(chosen)) % 5).astype(np.float32)


def mixed(store: Store, pieces: Pieces, vocabulary: Vocabulary, views: tuple[int, ...] = (ORDER,)) -> Took:
    """Pieces of every length, so that most are padded."""
    return Took(store, pieces, vocabulary, list(range(0, len(pieces), 3)), views)


def gradients(
    sizes: Encoder, vocabulary: Vocabulary, took: Took, settings: Training, compute: Compute
) -> tuple[StepResult, dict[str, torch.Tensor]]:
    """The gradients of one step: what plain descent at rate 1 takes away."""
    model = new_model(sizes, vocabulary, 5).train()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    done = step(model, torch.optim.SGD(model.parameters(), lr=1.0), took, settings, compute)
    return done, {name: before[name] - p.detach() for name, p in model.named_parameters()}


def step(
    model: MaskedModel, optimizer: torch.optim.Optimizer, took: Took, settings: Training, compute: Compute
) -> StepResult:
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    rows, micro = np.arange(len(took.weight)), settings.micro_batch or len(took.weight)
    loss_sum = accumulate(model, scaler, took.batch, took.hidden, took.weight, rows, micro, compute)
    updater = Updater(model, optimizer, scaler, settings.clip)
    return updater.update(loss_sum, batch_weight(took.hidden, took.weight))


@pytest.mark.parametrize("views", [(ORDER,), (NEXT, BAG, BAG, ORDER)], ids=["order", "all views"])
@pytest.mark.parametrize("micro_batch", [1, 4, 7])
def test_micro_batches_give_the_loss_and_gradients_of_the_whole_batch(
    sizes: Encoder,
    store: Store,
    pieces: Pieces,
    vocabulary: Vocabulary,
    compute: Compute,
    micro_batch: int,
    views: tuple[int, ...],
) -> None:
    took = mixed(store, pieces, vocabulary, views)
    whole, of_whole = gradients(sizes, vocabulary, took, UNCLIPPED, compute)
    divided = msgspec.structs.replace(UNCLIPPED, micro_batch=micro_batch)
    parts, of_parts = gradients(sizes, vocabulary, took, divided, compute)
    assert (took.batch.tokens_B != took.batch.ids_BT.shape[1]).any(), "rows are padded"
    assert parts.weight == whole.weight
    assert float(parts.loss_sum) / parts.weight == pytest.approx(
        float(whole.loss_sum) / whole.weight, abs=1e-6
    )
    torch.testing.assert_close(parts.grad_norm, whole.grad_norm, rtol=1e-5, atol=1e-6)
    for name, gradient in of_whole.items():
        torch.testing.assert_close(of_parts[name], gradient, rtol=0, atol=1e-6, msg=name)
    assert max(float(g.abs().max()) for g in of_whole.values()) > 1e-3


def test_the_loss_is_the_weighted_mean_surprisal_of_the_hidden_events(
    sizes: Encoder, store: Store, pieces: Pieces, vocabulary: Vocabulary, compute: Compute
) -> None:
    took = mixed(store, pieces, vocabulary)
    done, _ = gradients(sizes, vocabulary, took, UNCLIPPED, compute)
    model = new_model(sizes, vocabulary, 5).eval()
    total = weights = 0.0
    for row, tokens in enumerate(took.batch.tokens_B):  # each piece alone, at its exact length
        ids = torch.from_numpy(took.batch.ids_BT[row : row + 1, :tokens])
        hidden = torch.from_numpy(took.hidden[row : row + 1, :tokens])
        with torch.inference_mode():
            log_p = torch.log_softmax(model(input_ids=ids.masked_fill(hidden, MASK)).logits[0], dim=-1)
        surprisal = -log_p[torch.arange(tokens), ids[0]][hidden[0]]
        total += float(surprisal.sum()) * took.weight[row]
        weights += int(hidden.sum()) * took.weight[row]
    assert done.weight == pytest.approx(weights)
    assert float(done.loss_sum) / done.weight == pytest.approx(total / weights, abs=1e-5)


def test_a_weight_counts_like_that_many_sessions(
    sizes: Encoder, store: Store, pieces: Pieces, vocabulary: Vocabulary, compute: Compute
) -> None:
    weighted, repeated = (
        Took(store, pieces, vocabulary, [9, 20]),
        Took(store, pieces, vocabulary, [9, 20, 20, 20]),
    )
    weighted.weight, repeated.weight = np.array([1, 3], dtype=np.float32), np.ones(4, dtype=np.float32)
    one, of_one = gradients(sizes, vocabulary, weighted, UNCLIPPED, compute)
    other, of_other = gradients(sizes, vocabulary, repeated, UNCLIPPED, compute)
    assert one.weight == other.weight
    assert float(one.loss_sum) == pytest.approx(float(other.loss_sum), rel=1e-5)
    for name, gradient in of_one.items():
        torch.testing.assert_close(of_other[name], gradient, rtol=0, atol=1e-6, msg=name)


def test_only_hidden_events_are_predicted_and_they_are_hidden_from_the_model(
    sizes: Encoder, store: Store, pieces: Pieces, vocabulary: Vocabulary, compute: Compute
) -> None:
    took = mixed(store, pieces, vocabulary)
    seen: list[torch.Tensor] = []
    model = new_model(sizes, vocabulary, 5).train()
    model.get_input_embeddings().register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    step(model, torch.optim.SGD(model.parameters(), lr=0.0), took, UNCLIPPED, compute)
    (ids,) = seen
    hidden = torch.from_numpy(took.hidden)
    assert (ids[hidden] == MASK).all()
    assert torch.equal(ids[~hidden], torch.from_numpy(took.batch.ids_BT)[~hidden])


def test_gradients_are_clipped_and_their_norm_is_told_as_it_was(
    sizes: Encoder, store: Store, pieces: Pieces, vocabulary: Vocabulary, compute: Compute
) -> None:
    took = mixed(store, pieces, vocabulary)
    free, _ = gradients(sizes, vocabulary, took, UNCLIPPED, compute)
    clipped, of_clipped = gradients(
        sizes, vocabulary, took, msgspec.structs.replace(UNCLIPPED, clip=0.01), compute
    )
    assert float(clipped.grad_norm) == pytest.approx(float(free.grad_norm))
    norm = torch.stack([g.norm() for g in of_clipped.values()]).norm()
    assert float(norm) == pytest.approx(0.01, rel=1e-3)


def test_no_gradient_is_left_for_the_next_step(
    sizes: Encoder, store: Store, pieces: Pieces, vocabulary: Vocabulary, compute: Compute
) -> None:
    model = new_model(sizes, vocabulary, 5).train()
    settings = Training(micro_batch=2)
    step(model, make_optimizer(model, settings), mixed(store, pieces, vocabulary), settings, compute)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_steps_learn_and_keep_tied_weights_one(
    sizes: Encoder, store: Store, pieces: Pieces, vocabulary: Vocabulary, compute: Compute
) -> None:
    model, settings = new_model(sizes, vocabulary, 5).train(), Training(learning_rate=3e-3)
    optimizer, took = make_optimizer(model, settings), mixed(store, pieces, vocabulary)
    losses = []
    for _ in range(30):
        done = step(model, optimizer, took, settings, compute)
        losses.append(float(done.loss_sum) / done.weight)
    assert losses[-1] < 0.8 * losses[0]
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_biases_and_normalisation_do_not_decay(sizes: Encoder, vocabulary: Vocabulary) -> None:
    model = new_model(sizes, vocabulary, 5)
    settings = Training(weight_decay=0.1, betas=(0.8, 0.9), eps=1e-7)
    optimizer = make_optimizer(model, settings)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed: dict[float, list[str]] = {
        group["weight_decay"]: [names[id(p)] for p in group["params"]] for group in optimizer.param_groups
    }
    assert set(decayed) == {0.1, 0.0}
    assert all("bias" in name or "norm" in name.lower() for name in decayed[0.0])
    assert not any("bias" in name or "norm" in name.lower() for name in decayed[0.1])
    assert sorted(decayed[0.1] + decayed[0.0]) == sorted(names.values())
    group: dict[str, Any] = optimizer.param_groups[0]
    assert (group["betas"], group["eps"]) == ((0.8, 0.9), 1e-7)


def test_the_first_step_that_is_not_finite_is_the_last_that_could_change_a_weight(
    sizes: Encoder, store: Store, pieces: Pieces, vocabulary: Vocabulary, compute: Compute
) -> None:
    model, settings = new_model(sizes, vocabulary, 5).train(), Training(learning_rate=3e-3)
    optimizer, took = make_optimizer(model, settings), mixed(store, pieces, vocabulary)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    updater, rows = Updater(model, optimizer, scaler, settings.clip), np.arange(len(took.weight))
    weight = batch_weight(took.hidden, took.weight)

    def one(factor: float) -> StepResult:
        loss_sum = accumulate(model, scaler, took.batch, took.hidden, took.weight, rows, len(rows), compute)
        for parameter in model.parameters():
            parameter.grad *= factor
        return updater.update(loss_sum * factor, weight)

    one(1.0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert not torch.isfinite(one(float("nan")).loss_sum)
    assert torch.isfinite(one(1.0).loss_sum), "the weights are still sound"
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    states = optimizer.state_dict()["state"].values()
    assert all(float(state["step"]) == 1 and torch.isfinite(state["exp_avg"]).all() for state in states)


def test_rows_divided_among_ranks_add_up_to_the_gradient_of_the_whole_batch(
    sizes: Encoder, store: Store, pieces: Pieces, vocabulary: Vocabulary, compute: Compute
) -> None:
    took = mixed(store, pieces, vocabulary)
    scaler = torch.amp.GradScaler("cpu", enabled=False)

    def of(ranks: int) -> tuple[float, list[torch.Tensor]]:
        model, loss = new_model(sizes, vocabulary, 5).train(), 0.0
        for rank in range(ranks):
            rows = np.arange(rank, len(took.weight), ranks)
            loss += float(accumulate(model, scaler, took.batch, took.hidden, took.weight, rows, 4, compute))
        return loss, [parameter.grad for parameter in model.parameters()]

    (whole, of_whole), (parts, of_parts) = of(1), of(3)
    assert parts == pytest.approx(whole, rel=1e-6)
    for one, other in zip(of_parts, of_whole, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
