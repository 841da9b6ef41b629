"""Masked-event encoders on transformers' BERT classes, with the prediction head run on masked positions only."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM, DistilBertConfig, DistilBertForMaskedLM

from logbert_engine.models.vocabulary import PAD, Vocabulary
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


def logits_at(model: MaskedModel, ids_BT: Tensor, wanted_BT: Tensor, tokens_B: Tensor | None) -> Tensor:
    """Predict the events at some positions; the head, most of the work for large vocabularies, runs there only.

    Args:
        model: the encoder.
        ids_BT: model ids, with MASK where events are hidden.
        wanted_BT: True at the positions to predict, M of them in all.
        tokens_B: tokens of each row where rows are padded; None where all have length T.

    Returns:
        logits_MV, in the order of ``wanted_BT.nonzero()``.
    """
    attention_BT = None
    if tokens_B is not None:
        attention_BT = torch.arange(ids_BT.shape[1], device=ids_BT.device)[None, :] < tokens_B[:, None]
    body: nn.Module = model.base_model
    states_BTD: Tensor = body(input_ids=ids_BT, attention_mask=attention_BT).last_hidden_state
    states_MD = states_BTD[wanted_BT]
    if isinstance(model, DistilBertForMaskedLM):
        states_MD = model.vocab_layer_norm(model.activation(model.vocab_transform(states_MD)))
        logits_MV: Tensor = model.vocab_projector(states_MD)
    else:
        logits_MV = model.cls(states_MD)
    return logits_MV


def parameter_count(model: nn.Module) -> int:
    """Trainable numbers, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def longest_input(model: MaskedModel) -> int:
    """Tokens of the longest input that the model has positions for."""
    return int(model.config.max_position_embeddings)
