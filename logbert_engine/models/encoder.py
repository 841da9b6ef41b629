"""Masked-event encoders on transformers' BERT classes, with the prediction head run on masked positions only."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM, DistilBertConfig, DistilBertForMaskedLM

from logbert_engine.models.vocabulary import MASK, PAD, Vocabulary
from logbert_engine.presets.types import Encoder

MaskedModel: TypeAlias = Any
"""``BertForMaskedLM`` or ``DistilBertForMaskedLM``; transformers has no types that strict checking can read."""


def model_config(sizes: Encoder, vocabulary: Vocabulary) -> Any:
    """The transformers configuration of an encoder that starts from nothing."""
    ffn = sizes.ffn or 4 * sizes.hidden
    if sizes.architecture == "distilbert":
        return DistilBertConfig(
            vocab_size=vocabulary.size,
            dim=sizes.hidden,
            n_layers=sizes.layers,
            n_heads=sizes.heads,
            hidden_dim=ffn,
            max_position_embeddings=sizes.max_length,
            dropout=sizes.dropout,
            attention_dropout=sizes.dropout,
            pad_token_id=PAD,
        )
    return BertConfig(
        vocab_size=vocabulary.size,
        hidden_size=sizes.hidden,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=ffn,
        max_position_embeddings=sizes.max_length,
        type_vocab_size=1,
        hidden_dropout_prob=sizes.dropout,
        attention_probs_dropout_prob=sizes.dropout,
        pad_token_id=PAD,
    )


def new_model(sizes: Encoder, vocabulary: Vocabulary, seed: int) -> MaskedModel:
    """An encoder with random weights, the same for the same seed."""
    torch.manual_seed(seed)
    config = model_config(sizes, vocabulary)
    model_class = DistilBertForMaskedLM if sizes.architecture == "distilbert" else BertForMaskedLM
    model: MaskedModel = model_class(config)
    return model


class Seen(NamedTuple):
    """What a model makes of a batch."""

    logits_MV: Tensor
    """Of what is predicted."""
    first_BD: Tensor
    """The state of the first token, which stands for the whole."""


def read(
    model: MaskedModel,
    ids_BT: Tensor,
    targets_BT: Tensor,
    tokens_B: Tensor | None = None,
    next_B: Tensor | None = None,
) -> Seen:
    """Predict some of the ids; the head, most of the work for large vocabularies, runs for them only.

    Args:
        model: the encoder.
        ids_BT: model ids.
        targets_BT: True where the id is to be predicted, M of them in all; never at the first position.
        tokens_B: tokens of each row where rows are padded; None where all have length T.
        next_B: rows where a target is predicted from what stands before it; in the others it is hidden and
            predicted from both sides. None where there is none.

    Returns:
        Logits in the order of ``targets_BT.nonzero()``, and states.
    """
    hidden_BT, read_BT = targets_BT, targets_BT
    if next_B is not None:
        hidden_BT = targets_BT & ~next_B[:, None]
        before_BT = targets_BT.roll(-1, dims=1)  # what stands before a target predicts it
        read_BT = torch.where(next_B[:, None], before_BT, targets_BT)
    body: nn.Module = model.base_model
    states_BTD: Tensor = body(
        input_ids=ids_BT.masked_fill(hidden_BT, MASK),
        attention_mask=_attention(ids_BT.shape[1], ids_BT.device, tokens_B, next_B),
    ).last_hidden_state
    states_MD = states_BTD[read_BT]
    if isinstance(model, DistilBertForMaskedLM):
        states_MD = model.vocab_layer_norm(model.activation(model.vocab_transform(states_MD)))
        logits_MV: Tensor = model.vocab_projector(states_MD)
    else:
        logits_MV = model.cls(states_MD)
    return Seen(logits_MV, states_BTD[:, 0])


def logits_at(
    model: MaskedModel,
    ids_BT: Tensor,
    targets_BT: Tensor,
    tokens_B: Tensor | None = None,
    next_B: Tensor | None = None,
) -> Tensor:
    """The logits of ``read``."""
    return read(model, ids_BT, targets_BT, tokens_B, next_B).logits_MV


def squared_distance(first_BD: Tensor, centre_D: Tensor) -> Tensor:
    """Of states from a centre, or from one each, in fp32: the mean of the squares over their dimensions, [B]."""
    return (first_BD.float() - centre_D).square().mean(dim=-1)


def _attention(
    length: int, device: torch.device, tokens_B: Tensor | None, next_B: Tensor | None
) -> Tensor | None:
    """Which position may look at which: None for all at all, else [B, T] of keys or [B, 1, T, T]."""
    place_T = torch.arange(length, device=device)
    there_BT = None if tokens_B is None else place_T[None, :] < tokens_B[:, None]
    if next_B is None:
        return there_BT
    earlier_TT = place_T[None, :] <= place_T[:, None]
    allowed_BTT = earlier_TT[None] | ~next_B[:, None, None]
    if there_BT is not None:
        allowed_BTT = allowed_BTT & there_BT[:, None, :]
    return allowed_BTT[:, None]


def parameter_count(model: nn.Module) -> int:
    """Trainable numbers, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def longest_input(model: MaskedModel) -> int:
    """Tokens of the longest input that the model has positions for."""
    return int(model.config.max_position_embeddings)
