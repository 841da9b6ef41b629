"""A model's sizes, the same for encoders and decoders, and the numbers that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from logbert_engine.presets.types import Decoder, Encoder, View

MARKER_ROWS = 8
"""Embedding rows before the reserved ones, as in ``models.vocabulary``."""
MASKED_SHARE = 0.5
"""Of a session's events, what an encoder predicts at once in the views that hide some; in ``next`` all of them."""


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
    dropout: float
    checkpointing: bool
    predicted: float
    """Share of the tokens that the head is run for, at most."""
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
        kinds = width if self.architecture == "bert" else 0  # one type of token
        embeddings = self.rows * width + self.positions * width + kinds + 2 * width
        layer = 4 * (width * width + width) + 2 * width * self.ffn + self.ffn + width + 4 * width
        head = width * width + width + 2 * width + self.rows
        return {"embeddings": embeddings, "layers": self.layers * layer, "head": head}

    @property
    def parameters(self) -> int:
        """All of them."""
        return sum(self.parts.values())

    @property
    def multiplied(self) -> float:
        """Numbers that each token is multiplied with: those of the layers, and of the head as far as it is run."""
        head = self.rows * self.hidden + (0 if self.is_decoder else self.hidden * self.hidden)
        return self.parts["layers"] + self.predicted * head


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
            dropout=model.dropout,
            checkpointing=model.gradient_checkpointing,
            predicted=1.0,
            masks_each=False,
        )
    every: View = "next"
    return Shape(
        architecture=model.architecture,
        hidden=model.hidden,
        layers=model.layers,
        heads=model.heads,
        kv_heads=model.heads,
        ffn=model.ffn or 4 * model.hidden,
        rows=MARKER_ROWS + model.reserved_events + events,
        positions=model.max_length,
        dropout=model.dropout,
        checkpointing=model.gradient_checkpointing,
        predicted=1.0 if every in model.views else MASKED_SHARE,
        masks_each=every in model.views,
    )
