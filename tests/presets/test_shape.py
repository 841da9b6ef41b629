"""Parameter counts are those of the models that are built."""

from __future__ import annotations

import pytest
import torch

from logbert_engine.models.decoder import new_decoder
from logbert_engine.models.encoder import new_model, parameter_count
from logbert_engine.models.vocabulary import Vocabulary
from logbert_engine.presets.loading import list_presets, load_preset
from logbert_engine.presets.shape import shape_of
from logbert_engine.presets.types import Decoder

EVENTS = 123


@pytest.mark.parametrize("name", [preset.name for preset in list_presets()])
def test_every_presets_count_is_that_of_the_built_model(name: str) -> None:
    sizes = load_preset(name).model
    with torch.device("meta"):
        if isinstance(sizes, Decoder):
            model = new_decoder(sizes, 1)
        else:
            vocabulary = Vocabulary(events=list(range(EVENTS)), reserved=sizes.reserved_events)
            model = new_model(sizes, vocabulary, 1)
    assert shape_of(sizes, EVENTS).parameters == parameter_count(model)


def test_the_parts_are_those_of_the_built_model() -> None:
    sizes = load_preset("m4max-medium").model
    assert isinstance(sizes, Decoder)
    with torch.device("meta"):
        model = new_decoder(sizes, 1)
    parts = shape_of(sizes).parts
    assert parts["embeddings"] == parameter_count(model.model.embed_tokens)
    assert parts["layers"] == parameter_count(model.model.layers)
    assert parts["head"] == parameter_count(model.model.norm)  # the output itself is tied to the embeddings
