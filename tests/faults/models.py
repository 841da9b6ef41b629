"""A small model with an optimizer, and the files that training makes of them; their states are numbers from 1."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from logbert_engine.data.normals import Normals
from logbert_engine.models.checkpoint import (
    Calibration,
    ModelRecord,
    export,
    load_export,
    load_model,
    save_model,
)
from logbert_engine.models.encoder import MaskedModel, new_model
from logbert_engine.models.payload import FORMAT, newest_payload, write_payload
from logbert_engine.models.vocabulary import Vocabulary
from logbert_engine.presets.types import Encoder
from logbert_engine.protocol.runstate import EpochResult
from logbert_engine.rundir.checksums import sha256_of
from logbert_engine.rundir.layout import StageLayout
from logbert_engine.training.plan import StageMetrics, complete, read_metrics, write_metrics

VOCABULARY = Vocabulary(events=[1, 2, "E3"], reserved=2)
NORMALS = Normals(
    tokens=np.array([10, 11, 12, 10], dtype=np.int32), offsets=np.array([0, 1, 4]), counts=np.array([2, 1])
)
EPOCHS = 2


@cache
def small_model(seed: int) -> MaskedModel:
    """Random weights, others for another seed; nobody changes them."""
    sizes = Encoder(architecture="distilbert", hidden=8, layers=1, heads=2, max_length=8)
    return new_model(sizes, VOCABULARY, seed).eval()


def record(seed: int) -> ModelRecord:
    """What a model file tells beside the weights."""
    calibration = Calibration(
        median=-1.0, deviation=0.5, sessions=2, highest={"order": 3.0}, scores=[-1.0, 1.0]
    )
    return ModelRecord(vocabulary=VOCABULARY, calibration=calibration, seed=seed, normals=NORMALS)


@cache
def exact_state(step: int) -> dict[str, Any]:
    """Weights, and the moments of an optimizer that has made a step."""
    model = copy.deepcopy(small_model(step))
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.01)
    optimizer.step()
    weights, moments = model.state_dict(), optimizer.state_dict()
    return {"format": FORMAT, "kind": "resume", "step": step, "model": weights, "optimizer": moments}


def save_state(stage: StageLayout, step: int) -> None:
    """Write an exact state, as training does."""
    write_payload(stage.resume, exact_state(step), previous=stage.resume_previous)


def read_state(stage: StageLayout) -> tuple[int, list[str]]:
    """The step of the newest state that is whole, and what is wrong with newer ones."""
    payload, _, problems = newest_payload([stage.resume, stage.resume_previous], "resume")
    return int(payload["step"]), problems


def seed_of(model: MaskedModel) -> int:
    """The seed that a model's weights are those of; 0 where they are nobody's."""
    weights = model.state_dict()
    for seed in range(1, 10):
        wanted = small_model(seed).state_dict()
        if all(torch.equal(tensor, wanted[name]) for name, tensor in weights.items()):
            return seed
    return 0


def seed_of_stage(stage: StageLayout) -> int:
    """The seed of which all of a complete stage is."""
    read_metrics(stage)
    found = {seed_of(load_model(stage.best)[0]), seed_of(load_export(stage.exported)[0])}
    return found.pop() if len(found) == 1 else 0


@cache
def digest_of(seed: int) -> str:
    """The sha256 of the model file of a seed."""
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder) / "best_model.pt", small_model(seed), record(seed))
        return sha256_of(Path(folder) / "best_model.pt")


def complete_stage(stage: StageLayout, seed: int, parent: str = "new") -> StageMetrics:
    """All that training leaves in a stage: the models of its epochs, the best of them, its export, its figures."""
    for epoch in range(1, EPOCHS + 1):
        save_model(stage.epoch(epoch), small_model(seed + epoch - EPOCHS), record(seed))
    save_model(stage.best, small_model(seed), record(seed))
    export(stage.exported, small_model(seed), record(seed))
    made = metrics(stage, seed, digest_of(seed), parent)
    write_metrics(stage, made)
    return made


def metrics(stage: StageLayout, number: int, sha256: str, parent: str = "new") -> StageMetrics:
    """Figures of a stage, which differ with the number."""
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
        sha256=sha256,
        started_at="2025-03-01T10:00:00",
        finished_at=f"2025-03-01T10:00:{number:02d}",
        figures={"step": [9, 18], "loss": [0.5, 0.25], "lr": [0.001, 0.0005]},
    )


class Saved(NamedTuple):
    """Something in a stage that is saved over and over."""

    save: Callable[[StageLayout, int], None]
    read: Callable[[StageLayout], int]
    """The number of the state that is found; 0 where there is none."""
    prepare: Callable[[StageLayout], None] = lambda stage: None
    """Makes what has to be there before."""


def _save_best(stage: StageLayout, number: int) -> None:
    save_model(stage.best, small_model(number), record(number))


def _read_best(stage: StageLayout) -> int:
    return seed_of(load_model(stage.best)[0]) if stage.best.exists() else 0


def _save_metrics(stage: StageLayout, number: int) -> None:
    write_metrics(stage, metrics(stage, number, digest_of(1)))


def _read_metrics(stage: StageLayout) -> int:
    return int(read_metrics(stage).finished_at[-2:]) if complete(stage) else 0


def _save_export(stage: StageLayout, number: int) -> None:
    export(stage.exported, small_model(number), record(number))


def _read_export(stage: StageLayout) -> int:
    """A folder that is not there, between two renames, is made again from the best model."""
    return seed_of(load_export(stage.exported)[0]) if stage.exported.exists() else 0


def _read_state(stage: StageLayout) -> int:
    """No newer state may be damaged for the one that is found."""
    if not stage.resume.exists() and not stage.resume_previous.exists():
        return 0
    step, problems = read_state(stage)
    assert problems == []
    return step


SAVES = {
    "resume.pt": Saved(save_state, _read_state),
    "best_model.pt": Saved(_save_best, _read_best),
    "training_metrics.json": Saved(_save_metrics, _read_metrics, lambda stage: _save_best(stage, 1)),
    "best_model": Saved(_save_export, _read_export),
}
