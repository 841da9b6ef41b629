"""Small stores and models for the tests of this folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from logbert_engine.data.contract import EventId
from logbert_engine.data.store import Store, open_store
from logbert_engine.models.encoder import MaskedModel, new_model
from logbert_engine.models.vocabulary import Vocabulary
from logbert_engine.presets.types import Encoder

StoreOf = Callable[[Sequence[Sequence[EventId]]], Store]
EVENTS: list[EventId] = [0, "E1", 5, 22, "7a", 9]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two small products at once cost more than one after the other."""
    torch.set_num_threads(1)


@pytest.fixture
def store_of(tmp_path: Path) -> StoreOf:
    """``store_of(sequences)``: a store compiled from a session file with a session each."""

    def make(sequences: Sequence[Sequence[EventId]]) -> Store:
        file = tmp_path / "sessions" / "preprocessed_logs_2025-03-01.json"
        file.parent.mkdir(exist_ok=True)
        records = [{"session_id": i, "event_sequence": list(events)} for i, events in enumerate(sequences)]
        file.write_text(json.dumps(records))
        return open_store([file])

    return make


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary(events=list(EVENTS), reserved=3)


@pytest.fixture(params=["bert", "distilbert"])
def model(request: pytest.FixtureRequest, vocabulary: Vocabulary) -> MaskedModel:
    """Both architectures, in evaluation mode, with weights large enough to tell positions apart."""
    sizes = Encoder(architecture=request.param, hidden=16, layers=2, heads=2, max_length=14)
    made = new_model(sizes, vocabulary, 3)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.3, generator=generator)
    return made.eval()
