"""Pre-trained models bring their own sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from logbert_engine.presets.loading import check_file
from logbert_engine.presets.pretrained import KNOWN, with_its_sizes
from logbert_engine.presets.shape import shape_of
from logbert_engine.presets.types import Encoder
from logbert_engine.protocol.errors import PresetError


def test_one_of_its_own_keeps_its_sizes() -> None:
    model = Encoder(hidden=48, layers=3)
    assert with_its_sizes(model) == (model, "")


def test_known_ones_take_the_place_of_the_presets_sizes() -> None:
    model, unknown = with_its_sizes(
        Encoder(pretrained="distilbert/distilbert-base-uncased", hidden=48, layers=3)
    )
    assert (model.architecture, model.hidden, model.layers, model.max_length, unknown) == (
        "distilbert",
        768,
        6,
        512,
        "",
    )
    # of DistilBERT's 67 M parameters 24 M are its words, which events take the place of
    assert 42e6 < shape_of(model, 100).parameters < 45e6


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_a_folder_tells_its_own(kind: str, tmp_path: Path) -> None:
    names = {
        "bert": [
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "hidden_dropout_prob",
        ],
        "distilbert": ["dim", "n_layers", "n_heads", "hidden_dim", "dropout"],
    }[kind]
    told = dict(zip(names, [96, 5, 6, 200, 0.2], strict=True))
    (tmp_path / "config.json").write_text(
        json.dumps(told | {"model_type": kind, "max_position_embeddings": 128, "vocab_size": 9})
    )
    model, unknown = with_its_sizes(Encoder(pretrained=str(tmp_path)))
    found = (
        model.architecture,
        model.hidden,
        model.layers,
        model.heads,
        model.ffn,
        model.max_length,
        model.dropout,
    )
    assert (*found, unknown) == (kind, 96, 5, 6, 200, 128, 0.2, "")


@pytest.mark.parametrize(
    "content", [None, "", "[]", "{}", '{"model_type": "gpt2"}', '{"model_type": ["bert"]}']
)
def test_where_they_are_not_known_it_says_so(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    model = Encoder(pretrained=str(tmp_path), hidden=48)
    assert with_its_sizes(model) == (
        model,
        f"the sizes of {tmp_path} are not known: those that the preset gives were taken",
    )


def test_the_known_ones_are_not_made_up() -> None:
    """Heads divide the width, as in every BERT."""
    assert all(sizes["hidden"] % sizes["heads"] == 0 for sizes in KNOWN.values())


def test_a_preset_that_reads_further_than_its_model_has_positions_is_refused(tmp_path: Path) -> None:
    preset = tmp_path / "far.yaml"
    preset.write_text(
        "name: far\ntitle: Far\nsummary: Far.\nhardware:\n  label: Any\n"
        "model:\n  family: encoder\n  pretrained: google-bert/bert-base-uncased\n  max_length: 1024\n"
    )
    with pytest.raises(PresetError) as refused:
        check_file(preset)
    assert str(refused.value) == (
        f"{preset}:9:15: model.max_length 1024 is more than the 512 positions of google-bert/bert-base-uncased; "
        "lower it, longer sessions are read in windows."
    )
