"""A small model with an optimizer, and the files that training makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from logbert_engine.models.checkpoint import Calibration, ModelRecord, export, load_model, save_model
from logbert_engine.models.encoder import MaskedModel, new_model
from logbert_engine.models.payload import FORMAT, newest_payload, write_payload
from logbert_engine.models.vocabulary import Vocabulary
from logbert_engine.presets.types import Encoder
from logbert_engine.protocol.runstate import EpochResult
from logbert_engine.rundir.checksums import sha256_of
from logbert_engine.rundir.layout import StageLayout
from logbert_engine.training.plan import StageMetrics, write_metrics

VOCABULARY = Vocabulary(events=[1, 2, "E3"], reserved=2)
EPOCHS = 2


def small_model(seed: int) -> MaskedModel:
    """Random weights, others for another seed."""
    sizes = Encoder(architecture="bert", hidden=8, layers=1, heads=2, max_length=8)
    return new_model(sizes, VOCABULARY, seed).eval()


def record(seed: int) -> ModelRecord:
    """What a model file tells beside the weights."""
    calibration = Calibration(median=-1.0, deviation=0.5, sessions=2, highest_event=3.0, scores=[-1.0, 1.0])
    return ModelRecord(vocabulary=VOCABULARY, calibration=calibration, seed=seed)


def save_state(stage: StageLayout, step: int) -> None:
    """An exact state: weights, and the moments of an optimizer that has made a step."""
    model = small_model(step)
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.01)
    optimizer.step()
    payload = {
        "format": FORMAT,
        "kind": "resume",
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    write_payload(stage.resume, payload, previous=stage.resume_previous)


def read_state(stage: StageLayout) -> tuple[int, list[str]]:
    """The step of the newest state that is whole, and what is wrong with newer ones."""
    payload, _, problems = newest_payload([stage.resume, stage.resume_previous], "resume")
    return int(payload["step"]), problems


def state_of(model: MaskedModel) -> dict[str, Any]:
    """Weights by name."""
    weights: dict[str, Any] = model.state_dict()
    return weights


def same_weights(path_or_model: Path | MaskedModel, seed: int) -> bool:
    """Whether a model, or that in a model file, is the one of a seed."""
    found = load_model(path_or_model)[0] if isinstance(path_or_model, Path) else path_or_model
    wanted = state_of(small_model(seed))
    return all(torch.equal(tensor, wanted[name]) for name, tensor in state_of(found).items())


def complete_stage(stage: StageLayout, seed: int, parent: str = "new") -> StageMetrics:
    """All that training leaves in a stage: the models of its epochs, the best of them, its export, its figures."""
    for epoch in range(1, EPOCHS + 1):
        save_model(stage.epoch(epoch), small_model(seed + epoch - EPOCHS), record(seed))
    save_model(stage.best, small_model(seed), record(seed))
    export(stage.exported, small_model(seed), record(seed))
    made = metrics(stage, seed, parent)
    write_metrics(stage, made)
    return made


def metrics(stage: StageLayout, seed: int, parent: str = "new") -> StageMetrics:
    """The figures of a stage whose best model lies in its place."""
    epochs = [
        EpochResult(
            epoch=epoch,
            total_step=9 * epoch,
            train_loss=0.5,
            valid_loss=0.25 / epoch,
            seconds=1.0,
            best=True,
        )
        for epoch in range(1, EPOCHS + 1)
    ]
    return StageMetrics(
        stage=stage.index,
        name=stage.name,
        ratio=0.1 * stage.index,
        sessions=100,
        unique_sequences=50,
        steps=18,
        epochs=epochs,
        best_epoch=EPOCHS,
        best_valid_loss=0.125,
        train_loss=0.5,
        seconds=2.5,
        sessions_per_second=40.0,
        peak_memory_mb=512.0,
        peak_device_mb=None,
        cpu_percent=99.0,
        device="cpu",
        precision="fp32",
        batch=8,
        parent=parent,
        checkpoint=f"{stage.name}/checkpoints/best_model.pt",
        sha256=sha256_of(stage.best),
        started_at="2025-03-01T10:00:00",
        finished_at=f"2025-03-01T10:00:{seed:02d}",
        figures={"step": [9, 18], "loss": [0.5, 0.25], "lr": [0.001, 0.0005]},
    )
