"""Figures computed from a preset's sizes agree with the models that transformers builds."""

from __future__ import annotations

import pytest

from logbert_engine.presets.figures import parameters, preset_info
from logbert_engine.presets.loading import list_presets, load_preset
from logbert_engine.presets.shape import MARKER_ROWS
from logbert_engine.presets.types import Decoder, Encoder


def test_m4max_medium_has_398_million_parameters() -> None:
    assert parameters(load_preset("m4max-medium").model) == 397_722_624


def test_m4max_large_has_870_million_parameters() -> None:
    assert parameters(load_preset("m4max-large").model) == 870_262_272


def test_decoders_are_listed_and_not_trained() -> None:
    trainable = {preset.name: preset_info(preset).trainable for preset in list_presets()}
    assert [name for name, can in trainable.items() if not can] == ["m4max-medium", "m4max-large"]


def test_a_pretrained_model_keeps_its_own_sizes_and_count() -> None:
    info = preset_info(load_preset("transfer"))
    assert (info.parameters, info.hidden, info.layers, info.heads) == (None, 0, 0, 0)
    assert (info.pretrained, info.architecture, info.max_length) == ("bert-base-uncased", "bert", 512)


def test_a_row_of_the_picker_carries_the_presets_figures() -> None:
    info = preset_info(load_preset("cloud-v100"))
    assert (info.hidden, info.layers, info.heads, info.epochs, info.batch) == (768, 12, 12, 10, 32)
    assert info.price.startswith("$3.06/h")
    assert info.documented["accuracy"] == "85–90%"
    assert (info.sample_ratio, info.max_files, info.progressive, info.max_ratio) == (1.0, 0, False, 1.0)


@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_an_encoders_count_is_that_of_the_model_without_events(architecture: str) -> None:
    torch = pytest.importorskip("torch")
    from logbert_engine.models.encoder import new_model, parameter_count
    from logbert_engine.models.vocabulary import MARKERS, Vocabulary

    assert MARKERS == MARKER_ROWS
    sizes = Encoder(architecture=architecture, hidden=48, layers=3, heads=4, ffn=80, max_length=32)  # type: ignore[arg-type]
    with torch.device("meta"):
        bare = new_model(sizes, Vocabulary(events=[], reserved=sizes.reserved_events), 1)
        ten = new_model(sizes, Vocabulary(events=list(range(10)), reserved=sizes.reserved_events), 1)
    assert parameters(sizes) == parameter_count(bare)
    assert parameter_count(ten) == parameter_count(bare) + 10 * (sizes.hidden + 1)


def test_a_decoders_count_is_that_of_a_llama() -> None:
    torch = pytest.importorskip("torch")
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = Decoder(vocabulary=100, hidden=48, layers=3, heads=6, kv_heads=2, ffn=80, max_length=32)
    with torch.device("meta"):
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=100,
                hidden_size=48,
                num_hidden_layers=3,
                num_attention_heads=6,
                num_key_value_heads=2,
                intermediate_size=80,
                max_position_embeddings=32,
                tie_word_embeddings=True,
            )
        )
    assert parameters(sizes) == sum(parameter.numel() for parameter in model.parameters())
