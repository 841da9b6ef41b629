"""Parameter counts are those of the models that are built."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, DistilBertConfig, DistilBertForMaskedLM

from logbert_engine.estimates.asking import config_of
from logbert_engine.models.decoder import new_decoder
from logbert_engine.models.encoder import new_model, parameter_count
from logbert_engine.models.vocabulary import Vocabulary
from logbert_engine.presets.loading import list_presets, load_preset
from logbert_engine.presets.pretrained import with_its_sizes
from logbert_engine.presets.shape import shape_of
from logbert_engine.presets.types import Decoder, Encoder
from logbert_engine.protocol.messages import RunSpec

EVENTS = 123
PUBLISHED = {"bert-base-uncased": BertConfig, "distilbert-base-uncased": DistilBertConfig}


def built(sizes: Encoder | Decoder) -> Any:
    """The model that training would have, without weights."""
    with torch.device("meta"):
        if isinstance(sizes, Decoder):
            return new_decoder(sizes, 1)
        vocabulary = Vocabulary(events=list(range(EVENTS)), reserved=sizes.reserved_events)
        if not sizes.pretrained:
            return new_model(sizes, vocabulary, 1)
        published = PUBLISHED[sizes.pretrained]()  # transformers' defaults are these models' own sizes
        published.vocab_size = vocabulary.size
        kinds = {"bert": BertForMaskedLM, "distilbert": DistilBertForMaskedLM}
        return kinds[sizes.architecture](published)


@pytest.mark.parametrize("name", [preset.name for preset in list_presets()])
def test_every_presets_count_is_that_of_the_built_model(name: str) -> None:
    sizes = load_preset(name).model
    assert shape_of(sizes, EVENTS).parameters == parameter_count(built(sizes))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_pretrained_model_keeps_its_positions_and_kinds_of_tokens(name: str) -> None:
    sizes = config_of(
        RunSpec(data="", run_dir="", preset="transfer", pretrained=name, overrides=["model.max_length=128"])
    ).model
    assert isinstance(sizes, Encoder)
    known, unknown = with_its_sizes(sizes)
    assert (known.max_length, unknown) == (128, "")
    assert shape_of(known, EVENTS).parameters == parameter_count(built(sizes))


def test_the_parts_are_those_of_the_built_model() -> None:
    sizes = load_preset("m4max-medium").model
    assert isinstance(sizes, Decoder)
    with torch.device("meta"):
        model = new_decoder(sizes, 1)
    parts = shape_of(sizes).parts
    assert parts["embeddings"] == parameter_count(model.model.embed_tokens)
    assert parts["layers"] == parameter_count(model.model.layers)
    assert parts["head"] == parameter_count(model.model.norm)  # the output itself is tied to the embeddings
