"""A trained-looking checkpoint and the sessions it is for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from logbert_engine.data.batches import pieces_of
from logbert_engine.data.contract import EventId
from logbert_engine.data.normals import normals_of
from logbert_engine.data.store import Store, open_store
from logbert_engine.detection.calibration import calibrate
from logbert_engine.detection.evidence import statistics_of
from logbert_engine.detection.nearest import Nearest
from logbert_engine.detection.rules import Rules
from logbert_engine.models.checkpoint import ModelRecord, save_model
from logbert_engine.models.encoder import MaskedModel, new_model
from logbert_engine.models.surprisal import Scorer
from logbert_engine.models.vocabulary import Vocabulary
from logbert_engine.presets.types import Encoder, View

EVENTS: list[EventId] = [0, "E1", 5, 22, "7a", 9]
ROOM = 14
Write = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two small products at once cost more than one after the other."""
    torch.set_num_threads(1)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``write(name, sequences, **columns)``: a session file; a column gives a value for every session."""

    def make(name: str, sequences: Sequence[Sequence[EventId]], **columns: Sequence[Any]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        records = [
            {"session_id": i, "event_sequence": list(events), **{k: v[i] for k, v in columns.items()}}
            for i, events in enumerate(sequences)
        ]
        path.write_text(json.dumps(records))
        return path

    return make


@pytest.fixture
def ordinary() -> list[list[EventId]]:
    """Sessions of every length about a window, a third of them alike."""
    rng = np.random.default_rng(4)
    drawn = [[EVENTS[i] for i in rng.integers(0, 6, n)] for n in [1, 2, 3, 5, 8, 12, 13, 17, 24, 30] * 3]
    return [*drawn, *[[0, "E1", 5]] * 15]


@pytest.fixture
def store(write: Write, ordinary: list[list[EventId]]) -> Store:
    return open_store([write("calibration/preprocessed_logs_2025-03-01.json", ordinary)])


@pytest.fixture
def model() -> MaskedModel:
    made = new_model(
        Encoder(hidden=16, layers=1, heads=2, max_length=ROOM), Vocabulary(events=EVENTS, reserved=2), 3
    )
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.2, generator=generator)
    return made


@pytest.fixture(params=[("order",), ("next", "bag")], ids=["order", "next and bag"])
def views(request: pytest.FixtureRequest) -> tuple[View, ...]:
    """How the model reads sessions."""
    chosen: tuple[View, ...] = request.param
    return chosen


@pytest.fixture
def record(model: MaskedModel, store: Store, views: tuple[View, ...]) -> ModelRecord:
    """What a run would keep: calibrated on ordinary sessions."""
    vocabulary = Vocabulary(events=EVENTS, reserved=2)
    everything = np.arange(store.n_sessions, dtype=np.int64)
    scorer = Scorer(model, vocabulary, store, torch.device("cpu"))
    found = {view: scorer.score(pieces_of(store, everything, ROOM), view) for view in views}
    normals = normals_of(store, everything, vocabulary.lookup(store.events))
    rules = Rules(normals)
    calibration = calibrate(
        np.mean([surprisals.means() for surprisals in found.values()], axis=0),
        np.asarray(store.counts),
        {view: float(surprisals.values.max()) for view, surprisals in found.items()},
        statistics_of(found, Nearest(normals).distances(normals.tokens, normals.offsets)),
        rules.find(normals.tokens, normals.offsets),
        rules.left_out(),
    )
    return ModelRecord(
        vocabulary=vocabulary,
        views=views,
        calibration=calibration,
        templates={"5": "open <*> file"},
        normals=normals,
    )


@pytest.fixture
def checkpoint(tmp_path: Path, model: MaskedModel, record: ModelRecord) -> Path:
    path = tmp_path / "checkpoints" / "best_model.pt"
    save_model(path, model, record)
    return path
