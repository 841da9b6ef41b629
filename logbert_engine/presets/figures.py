"""A preset as the picker shows it, with the figures that follow from its sizes."""

from __future__ import annotations

from logbert_engine.presets.types import Decoder, Encoder, Preset
from logbert_engine.protocol.messages import PresetInfo

MARKER_ROWS = 8
"""Embedding rows before the reserved ones, as in ``models.vocabulary``."""


def preset_info(preset: Preset) -> PresetInfo:
    """A row of the picker. Sizes are 0 where they come from a pre-trained model."""
    model, stages = preset.model, preset.stages
    pretrained = model.pretrained if isinstance(model, Encoder) else None
    known = pretrained is None
    return PresetInfo(
        name=preset.name,
        title=preset.title,
        summary=preset.summary,
        hardware=preset.hardware.label,
        family="encoder" if isinstance(model, Encoder) else "decoder",
        architecture=model.architecture if isinstance(model, Encoder) else "llama",
        pretrained=pretrained or "",
        hidden=model.hidden if known else 0,
        layers=model.layers if known else 0,
        heads=model.heads if known else 0,
        max_length=model.max_length,
        parameters=parameters(model),
        sample_ratio=preset.data.sample_ratio,
        max_files=preset.data.max_files,
        epochs=stages.epochs,
        stage_steps=preset.training.stage_steps,
        batch=preset.training.batch,
        batch_by_ratio=list(preset.training.batch_by_ratio),
        nproc=preset.workers.nproc,
        progressive=stages.progressive,
        start_ratio=stages.start_ratio,
        step_size=stages.step_size,
        max_ratio=stages.max_ratio,
        memory_budget_mb=preset.memory.max_mb,
        price=preset.hardware.price,
        documented=preset.documented,
        trainable=isinstance(model, Encoder),
    )


def parameters(model: Encoder | Decoder) -> int | None:
    """Trainable numbers, tied ones once.

    For an encoder without the events of the data, which the preset does not know: markers and reserved rows
    alone are counted. Each event adds ``hidden`` + 1. None for a pre-trained model.
    """
    if isinstance(model, Decoder):
        return _decoder(model)
    return _encoder(model) if model.pretrained is None else None


def _decoder(model: Decoder) -> int:
    """Tied embeddings; a layer is query and output, shared keys and values, SwiGLU and two RMSNorms."""
    width, shared = model.hidden, model.hidden // model.heads * model.kv_heads
    attention = 2 * width * width + 2 * width * shared
    layer = attention + 3 * width * model.ffn + 2 * width
    return model.vocabulary * width + model.layers * layer + width


def _encoder(model: Encoder) -> int:
    """As in transformers' BertForMaskedLM and DistilBertForMaskedLM, with a tied output."""
    width, ffn = model.hidden, model.ffn or 4 * model.hidden
    rows = MARKER_ROWS + model.reserved_events
    token_type = width if model.architecture == "bert" else 0  # one type of token
    embeddings = rows * width + model.max_length * width + token_type + 2 * width
    layer = 4 * (width * width + width) + 2 * width * ffn + ffn + width + 4 * width
    head = width * width + width + 2 * width + rows
    return embeddings + model.layers * layer + head
