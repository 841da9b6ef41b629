"""Sizes of pre-trained models, which take the place of a preset's own. Read without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from logbert_engine.presets.types import Encoder

# Sources: the models' config.json on the Hugging Face hub.
KNOWN: Mapping[str, dict[str, Any]] = {
    "bert-base-uncased": {"architecture": "bert", "hidden": 768, "layers": 12, "heads": 12},
    "bert-base-cased": {"architecture": "bert", "hidden": 768, "layers": 12, "heads": 12},
    "bert-large-uncased": {"architecture": "bert", "hidden": 1024, "layers": 24, "heads": 16},
    "distilbert-base-uncased": {"architecture": "distilbert", "hidden": 768, "layers": 6, "heads": 12},
    "distilbert-base-cased": {"architecture": "distilbert", "hidden": 768, "layers": 6, "heads": 12},
}
_NAMES = {
    "bert": ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    "distilbert": ("dim", "n_layers", "n_heads", "hidden_dim"),
}
POSITIONS = 512
"""Tokens that each of the known ones has positions for."""


@dataclass(frozen=True)
class Embedded:
    """What a pre-trained model embeds beside its words."""

    positions: int
    kinds: int
    """Of tokens: BERT tells two sentences apart."""


def with_its_sizes(model: Encoder) -> tuple[Encoder, str]:
    """The encoder with the sizes of the pre-trained model that it begins from.

    Returns:
        The encoder, and what had to be taken for granted: nothing, or that the sizes are not known.
    """
    if not model.pretrained:
        return model, ""
    known = _sizes(model.pretrained)
    if known is None:
        return model, f"the sizes of {model.pretrained} are not known: those that the preset gives were taken"
    sizes = {name: value for name, value in known.items() if name not in ("positions", "kinds")}
    room = min(model.max_length, known["positions"])
    return msgspec.structs.replace(model, **({"ffn": 0, "dropout": 0.1} | sizes | {"max_length": room})), ""


def embedded(model: Encoder) -> Embedded:
    """What an encoder embeds beside events; one that begins from nothing as many positions as it reads."""
    known = _sizes(model.pretrained) if model.pretrained else None
    if known is None:
        return Embedded(model.max_length, 1)
    return Embedded(known["positions"], known["kinds"])


def known_sizes(name: str) -> dict[str, Any] | None:
    """Sizes of a model of the hub by its id, with or without who made it; None where they are not known."""
    known = KNOWN.get(name.rpartition("/")[2])
    return None if known is None else {"positions": POSITIONS, "kinds": 2} | known


def _sizes(name: str) -> dict[str, Any] | None:
    return known_sizes(name) or _told(Path(name))


def _told(folder: Path) -> dict[str, Any] | None:
    """Sizes from the ``config.json`` of a folder; None where it has none that can be understood."""
    try:
        told = json.loads((folder / "config.json").read_bytes())
        kind = told["model_type"]
        hidden, layers, heads, ffn = (int(told[name]) for name in _NAMES[kind])
        return {
            "architecture": kind,
            "hidden": hidden,
            "layers": layers,
            "heads": heads,
            "ffn": ffn,
            "positions": int(told["max_position_embeddings"]),
            "kinds": int(told.get("type_vocab_size", 2)),
            "dropout": float(told.get("hidden_dropout_prob", told.get("dropout", 0.1))),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None
