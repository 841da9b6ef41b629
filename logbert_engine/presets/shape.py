"""A model's sizes, the same for encoders and decoders, and the numbers that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from logbert_engine.presets.pretrained import embedded
from logbert_engine.presets.types import Decoder, Encoder

MARKER_ROWS = 8
"""Embedding rows before the reserved ones, as in ``models.vocabulary``."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a model."""

    architecture: Literal["bert", "distilbert", "llama"]
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    rows: int
    """Of the embedding, events included."""
    positions: int
    """Learnt ones; 0 where they are computed."""
    kinds: int
    """Of tokens, with an embedding each."""
    dropout: float
    checkpointing: bool
    predicted: float
    """Share of the tokens that the head is run for, in the mean."""
    predicted_most: float
    """The same of the sequence that it is run for most."""
    masks_each: bool
    """Whether some rows have attention masks of their own, which the view ``next`` needs."""

    @property
    def is_decoder(self) -> bool:
        """Whether it is a LLaMA-like one."""
        return self.architecture == "llama"

    @property
    def kv_width(self) -> int:
        """Width of all keys of a token, or of all values."""
        return self.hidden // self.heads * self.kv_heads

    @property
    def parts(self) -> dict[str, int]:
        """Trainable numbers by part; tied ones once."""
        width = self.hidden
        if self.is_decoder:
            layer = 2 * width * width + 2 * width * self.kv_width + 3 * width * self.ffn + 2 * width
            return {"embeddings": self.rows * width, "layers": self.layers * layer, "head": width}
        kinds = self.kinds if self.architecture == "bert" else 0
        embeddings = (self.rows + self.positions + kinds) * width + 2 * width
        layer = 4 * (width * width + width) + 2 * width * self.ffn + self.ffn + width + 4 * width
        head = width * width + width + 2 * width + self.rows
        return {"embeddings": embeddings, "layers": self.layers * layer, "head": head}

    @property
    def parameters(self) -> int:
        """All of them."""
        return sum(self.parts.values())

    @property
    def multiplied(self) -> float:
        """Numbers that a token is multiplied with in the mean: the layers', and the head's where it is run."""
        return self.parts["layers"] + self.predicted * self.head_weights

    @property
    def head_weights(self) -> int:
        """Numbers of the output's matrices, the tied one included."""
        return self.rows * self.hidden + (0 if self.is_decoder else self.hidden * self.hidden)


def shape_of(model: Encoder | Decoder, events: int = 0) -> Shape:
    """The shape of a preset's model.

    Args:
        model: with its own sizes: those of a pre-trained one are put in before (``pretrained_sizes``).
        events: distinct ones of the data, which each have a row; decoders have their own vocabulary.
    """
    if isinstance(model, Decoder):
        return Shape(
            architecture="llama",
            hidden=model.hidden,
            layers=model.layers,
            heads=model.heads,
            kv_heads=model.kv_heads,
            ffn=model.ffn,
            rows=model.vocabulary,
            positions=0,
            kinds=0,
            dropout=model.dropout,
            checkpointing=model.gradient_checkpointing,
            predicted=1.0,
            predicted_most=1.0,
            masks_each=False,
        )
    all_of_it, beside, (low, high) = "next" in model.views, embedded(model), model.mask_ratio
    return Shape(
        architecture=model.architecture,
        hidden=model.hidden,
        layers=model.layers,
        heads=model.heads,
        kv_heads=model.heads,
        ffn=model.ffn or 4 * model.hidden,
        rows=MARKER_ROWS + model.reserved_events + events,
        positions=beside.positions,
        kinds=beside.kinds,
        dropout=model.dropout,
        checkpointing=model.gradient_checkpointing,
        predicted=1.0 if all_of_it else (low + high) / 2,
        predicted_most=1.0 if all_of_it else high,
        masks_each=all_of_it,
    )
