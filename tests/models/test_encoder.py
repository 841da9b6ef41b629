from __future__ import annotations

import pytest
import torch

from logbert_engine.models.encoder import (
    MaskedModel,
    logits_at,
    longest_input,
    model_config,
    new_model,
    parameter_count,
)
from logbert_engine.models.vocabulary import CLS, END, MASK, PAD, Vocabulary
from logbert_engine.presets.types import Encoder


def rows(vocabulary: Vocabulary, lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Padded ids, the positions to predict, and the tokens of each row."""
    ids = torch.full((len(lengths), max(lengths) + 2), PAD)
    wanted = torch.zeros_like(ids, dtype=torch.bool)
    for i, n in enumerate(lengths):
        ids[i, 0], ids[i, n + 1] = CLS, END
        ids[i, 1 : n + 1] = vocabulary.first + torch.arange(n) % len(vocabulary.events)
        wanted[i, 1 : n + 1 : 2] = True
    return ids, wanted, torch.tensor(lengths) + 2


def test_predicting_some_positions_gives_what_the_whole_model_gives_there(
    model: MaskedModel, vocabulary: Vocabulary
) -> None:
    ids, wanted, _ = rows(vocabulary, [6, 6, 6])
    with torch.inference_mode():
        whole = model(input_ids=ids.masked_fill(wanted, MASK)).logits[wanted]
        some = logits_at(model, ids, wanted, None)
    torch.testing.assert_close(some, whole, rtol=0, atol=1e-5)
    assert some.shape == (int(wanted.sum()), vocabulary.size)


def test_padding_changes_no_prediction(model: MaskedModel, vocabulary: Vocabulary) -> None:
    lengths = [3, 12, 1, 7]
    ids, wanted, tokens = rows(vocabulary, lengths)
    with torch.inference_mode():
        padded = logits_at(model, ids, wanted, tokens)
        alone = torch.cat(
            [logits_at(model, ids[i : i + 1, :t], wanted[i : i + 1, :t], None) for i, t in enumerate(tokens)]
        )
    torch.testing.assert_close(padded, alone, rtol=0, atol=1e-5)


def test_without_the_lengths_padding_would_change_predictions(
    model: MaskedModel, vocabulary: Vocabulary
) -> None:
    ids, wanted, tokens = rows(vocabulary, [3, 12])
    with torch.inference_mode():
        heeded = logits_at(model, ids, wanted, tokens)
        ignored = logits_at(model, ids, wanted, None)
    assert (heeded - ignored).abs().max() > 1e-3


@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_a_model_has_the_sizes_that_were_asked_for(architecture: str, vocabulary: Vocabulary) -> None:
    sizes = Encoder(
        architecture=architecture,  # type: ignore[arg-type]
        hidden=24,
        layers=3,
        heads=3,
        ffn=40,
        max_length=17,
        dropout=0.0,
    )
    made = new_model(sizes, vocabulary, 1)
    assert longest_input(made) == 17
    assert tuple(made.get_input_embeddings().weight.shape) == (vocabulary.size, 24)
    layer = 4 * (24 * 24 + 24) + 24 * 40 + 40 + 40 * 24 + 24 + 4 * 24
    embeddings = (vocabulary.size + 17 + (1 if architecture == "bert" else 0)) * 24 + 2 * 24
    head = 24 * 24 + 24 + 2 * 24 + vocabulary.size
    assert parameter_count(made) == embeddings + 3 * layer + head


def test_the_feed_forward_part_is_four_times_as_wide_unless_said_otherwise(vocabulary: Vocabulary) -> None:
    assert model_config(Encoder(hidden=16, heads=2), vocabulary).intermediate_size == 64
    distil = Encoder(architecture="distilbert", hidden=16, heads=2)
    assert model_config(distil, vocabulary).hidden_dim == 64


def test_weights_follow_from_the_seed_alone(vocabulary: Vocabulary) -> None:
    sizes = Encoder(hidden=16, layers=1, heads=2, max_length=14)
    torch.rand(3)
    one = new_model(sizes, vocabulary, 1).state_dict()
    torch.rand(7)
    again, other = new_model(sizes, vocabulary, 1).state_dict(), new_model(sizes, vocabulary, 2).state_dict()
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_in_the_next_view_a_prediction_sees_what_stands_before_and_nothing_else(
    model: MaskedModel, vocabulary: Vocabulary
) -> None:
    ids, _, _ = rows(vocabulary, [9])
    wanted = torch.ones_like(ids, dtype=torch.bool)
    wanted[:, 0] = False
    predict_next = torch.tensor([True])
    with torch.inference_mode():
        before = logits_at(model, ids, wanted, None, predict_next)
        for place in range(1, ids.shape[1]):
            other = ids.clone()
            other[0, place] = vocabulary.first + (other[0, place] - vocabulary.first + 1) % 3
            after = logits_at(model, other, wanted, None, predict_next)
            torch.testing.assert_close(after[:place], before[:place], rtol=0, atol=1e-5)
            if place < ids.shape[1] - 1:
                assert (after[place] - before[place]).abs().max() > 1e-4


def test_rows_of_different_views_and_lengths_predict_as_each_alone(
    model: MaskedModel, vocabulary: Vocabulary
) -> None:
    ids, wanted, tokens = rows(vocabulary, [3, 12, 1, 7])
    predict_next = torch.tensor([True, False, False, True])
    with torch.inference_mode():
        together = logits_at(model, ids, wanted, tokens, predict_next)
        alone = torch.cat(
            [
                logits_at(model, ids[i : i + 1, :t], wanted[i : i + 1, :t], None, predict_next[i : i + 1])
                for i, t in enumerate(tokens)
            ]
        )
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
