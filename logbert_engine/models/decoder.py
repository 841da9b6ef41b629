"""LLaMA-like decoders over text, on transformers' Llama classes."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from logbert_engine.presets.types import Decoder

CausalModel: TypeAlias = Any
"""``LlamaForCausalLM``; transformers has no types that strict checking can read."""


def decoder_config(sizes: Decoder) -> Any:
    """The transformers configuration, with tied embeddings; dropout is that of attention, which is what there is."""
    return LlamaConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.hidden,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.kv_heads,
        intermediate_size=sizes.ffn,
        max_position_embeddings=sizes.max_length,
        rope_parameters={"rope_type": "default", "rope_theta": sizes.rope_theta},
        attention_dropout=sizes.dropout,
        tie_word_embeddings=True,
        use_cache=False,
    )


def new_decoder(sizes: Decoder, seed: int) -> CausalModel:
    """A decoder with random weights, the same for the same seed."""
    torch.manual_seed(seed)
    model: CausalModel = LlamaForCausalLM(decoder_config(sizes))
    return model


def next_token_loss(model: CausalModel, ids_BT: Tensor) -> Tensor:
    """The mean surprisal (nats) of each token but the first, given those before it."""
    logits_BTV: Tensor = model(input_ids=ids_BT).logits
    return functional.cross_entropy(logits_BTV[:, :-1].flatten(0, 1).float(), ids_BT[:, 1:].flatten())
