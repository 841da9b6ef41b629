"""What a layer keeps for the backward pass is what autograd keeps of the models that transformers builds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import torch
from torch.nn import functional

from logbert_engine.estimates.memory import Load, kept_by_layer
from logbert_engine.models.decoder import new_decoder, next_token_loss
from logbert_engine.models.encoder import new_model, read
from logbert_engine.models.recompute import recompute_layers
from logbert_engine.models.vocabulary import Vocabulary
from logbert_engine.presets.shape import shape_of
from logbert_engine.presets.types import Decoder, Encoder

ROWS, TOKENS, EVENTS = 3, 40, 30


def kept(model: Any, forward: Callable[[], torch.Tensor]) -> int:
    """Bytes that autograd keeps from a forward pass, weights aside."""
    own = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
    found: dict[int, int] = {}
    alive: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # so that no later tensor lies where this one lay
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(found.values())


def of_encoder(sizes: Encoder, precision: str) -> int:
    model = new_model(sizes, Vocabulary(events=list(range(EVENTS)), reserved=sizes.reserved_events), 1)
    model.train()
    if sizes.gradient_checkpointing:
        recompute_layers(model)
    ids_BT = torch.randint(64, 64 + EVENTS, (ROWS, TOKENS))
    targets_BT = torch.zeros(ROWS, TOKENS, dtype=torch.bool)
    targets_BT[:, 1:] = True
    next_B = torch.ones(ROWS, dtype=torch.bool) if "next" in sizes.views else None

    def forward() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits_MV = read(model, ids_BT, targets_BT, None, next_B).logits_MV
        return functional.cross_entropy(logits_MV.float(), ids_BT[targets_BT])

    return kept(model, forward)


def of_decoder(sizes: Decoder, precision: str) -> int:
    model = new_decoder(sizes, 1)
    model.train()
    ids_BT = torch.randint(sizes.vocabulary, (ROWS, TOKENS))

    def forward() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            return next_token_loss(model, ids_BT)

    return kept(model, forward)


ENCODERS = {
    "as BERT": Encoder(hidden=64, heads=4, ffn=256, max_length=TOKENS),
    "of another width": Encoder(hidden=96, heads=2, ffn=160, max_length=TOKENS),
    "without dropout": Encoder(hidden=64, heads=4, ffn=256, max_length=TOKENS, dropout=0.0),
    "next": Encoder(hidden=64, heads=4, ffn=256, max_length=TOKENS, dropout=0.0, views=("next",)),
    "distilled": Encoder(architecture="distilbert", hidden=64, heads=4, ffn=256, max_length=TOKENS),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoders_layer(name: str) -> None:
    one, two = (msgspec.structs.replace(ENCODERS[name], layers=layers) for layers in (1, 2))
    layer = of_encoder(two, "fp32") - of_encoder(one, "fp32")
    counted = kept_by_layer(shape_of(two, EVENTS), Load("cpu", "fp32", ROWS, TOKENS)).bytes
    assert counted == pytest.approx(layer, rel=0.02)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_decoders_layer(dropout: float) -> None:
    one, two = (
        Decoder(
            vocabulary=50,
            hidden=64,
            layers=layers,
            heads=4,
            kv_heads=2,
            ffn=160,
            max_length=TOKENS,
            dropout=dropout,
        )
        for layers in (1, 2)
    )
    layer = of_decoder(two, "fp32") - of_decoder(one, "fp32")
    counted = kept_by_layer(shape_of(two), Load("cpu", "fp32", ROWS, TOKENS)).bytes
    assert counted == pytest.approx(layer, rel=0.02)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_an_encoders_layer_in_a_short_type(dropout: float) -> None:
    """Copies of its weights in that type are counted apart."""
    one, two = (
        Encoder(hidden=64, layers=layers, heads=4, ffn=256, max_length=TOKENS, dropout=dropout)
        for layers in (1, 2)
    )
    copies = 2 * (4 * 64 * 64 + 2 * 64 * 256)
    layer = of_encoder(two, "bf16") - of_encoder(one, "bf16") - copies
    counted = kept_by_layer(shape_of(two, EVENTS), Load("cpu", "bf16", ROWS, TOKENS)).bytes
    assert counted == pytest.approx(layer, rel=0.05)


def test_with_gradient_checkpointing_a_layer_keeps_its_input_alone() -> None:
    two, three = (
        Encoder(hidden=64, layers=layers, heads=4, max_length=TOKENS, gradient_checkpointing=True)
        for layers in (2, 3)
    )
    layer = of_encoder(three, "fp32") - of_encoder(two, "fp32")
    assert layer == pytest.approx(ROWS * TOKENS * 64 * 4, rel=0.02)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_decoders_layer_in_a_short_type(dropout: float) -> None:
    one, two = (
        Decoder(
            vocabulary=50,
            hidden=96,
            layers=layers,
            heads=6,
            kv_heads=3,
            ffn=200,
            max_length=TOKENS,
            dropout=dropout,
        )
        for layers in (1, 2)
    )
    copies = 2 * (2 * 96 * 96 + 2 * 96 * 48 + 3 * 96 * 200)
    layer = of_decoder(two, "bf16") - of_decoder(one, "bf16") - copies
    assert kept_by_layer(shape_of(two), Load("cpu", "bf16", ROWS, TOKENS)).bytes == pytest.approx(
        layer, rel=0.02
    )
