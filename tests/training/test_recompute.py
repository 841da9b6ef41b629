"""Gradient checkpointing costs time and changes no figure."""

from __future__ import annotations

import json
import logging

import torch

from logbert_engine.models.checkpoint import load_model
from logbert_engine.models.encoder import new_model, read
from logbert_engine.models.recompute import recompute_layers
from logbert_engine.models.vocabulary import Vocabulary
from logbert_engine.presets.runfile import read_config
from logbert_engine.presets.types import Encoder
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.training.origin import settings_digest
from tests.training.conftest import Train

STAGE = "stage_1_100pct"


def test_transformers_has_no_complaint() -> None:
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    model = new_model(Encoder(hidden=16, layers=1, heads=2), Vocabulary(events=[1], reserved=2), 1)
    recompute_layers(model)
    model.train()
    logger = logging.getLogger("transformers")
    logger.addHandler(handler)
    try:
        read(model, torch.ones(1, 4, dtype=torch.long), torch.tensor([[False, True, True, True]]))
    finally:
        logger.removeHandler(handler)
    assert said == []


def losses(layout: RunLayout) -> list[float]:
    found: list[float] = json.loads(layout.stage(STAGE).metrics.read_bytes())["figures"]["loss"]
    return found


def test_a_run_with_it_ends_with_the_same_weights(train_here: Train, monkeypatch) -> None:
    """Dropout included: the layers are computed again with the same draws."""
    used: list[bool] = []

    def noticed(model: torch.nn.Module) -> None:
        recompute_layers(model)
        used.append(any(getattr(part, "gradient_checkpointing", False) for part in model.modules()))

    monkeypatch.setattr("logbert_engine.training.stage.recompute_layers", noticed)
    settings = ("training.stage_steps=12", "model.hidden=16", "model.dropout=0.1", "training.log_every=1")
    plain = train_here("plain", settings)
    again = train_here("again", (*settings, "model.gradient_checkpointing=true"))
    assert used == [True]
    assert losses(plain) == losses(again)
    assert len(losses(plain)) >= 12
    weights, others = (load_model(layout.stage(STAGE).best)[0].state_dict() for layout in (plain, again))
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_it_may_be_turned_on_when_a_run_goes_on(train_here: Train) -> None:
    """What an exact state belongs to does not depend on it."""
    settings = ("training.stage_steps=1", "model.hidden=16")
    plain = train_here("plain", settings)
    again = train_here("again", (*settings, "model.gradient_checkpointing=true"))
    digests = {settings_digest(read_config(layout)) for layout in (plain, again)}
    assert len(digests) == 1
