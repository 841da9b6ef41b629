"""A preset as the picker shows it, with the figures that follow from its sizes."""

from __future__ import annotations

from logbert_engine.presets.shape import shape_of
from logbert_engine.presets.types import Decoder, Encoder, Preset
from logbert_engine.protocol.messages import PresetInfo


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
    if isinstance(model, Encoder) and model.pretrained is not None:
        return None
    return shape_of(model).parameters
