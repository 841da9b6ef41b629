"""Sessions, requests and complete stages for the tests of this folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from logbert_engine.data.store import Store, open_store
from logbert_engine.models.device import Compute
from logbert_engine.models.vocabulary import Vocabulary
from logbert_engine.presets.runfile import read_config
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.protocol.runstate import EpochResult
from logbert_engine.rundir.layout import RunLayout, StageLayout
from logbert_engine.training.plan import StageMetrics
from logbert_engine.training.prepare import prepare
from logbert_engine.training.recorder import Recorder
from logbert_engine.training.run import run_stages
from logbert_engine.training.team import Place, Team
from logbert_engine.training.wishes import Wishes

CompleteStage = Callable[..., StageLayout]
Request = Callable[..., RunSpec]
Train = Callable[..., RunLayout]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two small products at once cost more than one after the other."""
    torch.set_num_threads(1)


@pytest.fixture
def compute() -> Compute:
    return Compute(device=torch.device("cpu"), precision="fp32", name="CPU")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory with a session file: lengths of 1 to 30, some sessions alike."""
    rng = np.random.default_rng(8)
    folder = tmp_path / "data"
    folder.mkdir()
    events = [rng.integers(0, 6, 1 + i % 30).tolist() for i in range(60)] + [[0, 1, 2]] * 12
    records = [{"session_id": i, "event_sequence": e} for i, e in enumerate(events)]
    (folder / "preprocessed_logs_2025-03-01.json").write_text(json.dumps(records))
    return folder


@pytest.fixture
def store(data: Path) -> Store:
    return open_store(sorted(data.iterdir()))


@pytest.fixture
def vocabulary(store: Store) -> Vocabulary:
    return Vocabulary(events=store.events, reserved=2)


@pytest.fixture
def run(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path / "run")


@pytest.fixture
def request_for(data: Path, run: RunLayout) -> Request:
    """``request_for(preset=…, …)``: what a command line asks for, progressive over the data of the test."""

    def make(**changed: Any) -> RunSpec:
        given = RunSpec(data=str(data), run_dir=str(run.root), preset="test", progressive=True)
        return msgspec.structs.replace(given, **changed)

    return make


@pytest.fixture
def train_here(request_for: Request, run: RunLayout, compute: Compute) -> Train:
    """``train_here(name, settings, …)``: a run trained in this process, in a folder of that name."""

    def train(name: str, settings: Sequence[str], **changed: Any) -> RunLayout:
        layout = RunLayout(run.root / name)
        request = {"progressive": False, "sample_ratio": 1.0, "device": "cpu"} | changed
        prepare(request_for(run_dir=str(layout.root), overrides=list(settings), **request))
        recorder = Recorder(layout)
        try:
            team = Team(Place(), compute.device)
            run_stages(layout, read_config(layout), compute, recorder, Wishes(layout), team, 0)
        finally:
            recorder.close()
        return layout

    return train


@pytest.fixture
def complete_stage(run: RunLayout) -> CompleteStage:
    """``complete_stage(name, ratio, …)``: the files that make a stage complete, with figures."""

    def make(name: str, ratio: float, *, valid_loss: float | None = 0.5, **figures: Any) -> StageLayout:
        stage = run.stage(name)
        stage.checkpoints.mkdir(parents=True)
        stage.best.write_bytes(b"weights")
        epoch = EpochResult(
            epoch=1, total_step=9, train_loss=0.75, valid_loss=valid_loss, seconds=1.0, best=True
        )
        metrics = StageMetrics(
            stage=stage.index,
            name=name,
            ratio=ratio,
            sessions=1234,
            unique_sequences=56,
            steps=78,
            epochs=[epoch],
            best_epoch=1,
            best_valid_loss=valid_loss,
            train_loss=0.75,
            seconds=61.5,
            sessions_per_second=20.0,
            peak_memory_mb=512.0,
            peak_device_mb=None,
            cpu_percent=99.0,
            device="cpu",
            precision="fp32",
            batch=8,
            parent="new",
            checkpoint=f"{name}/checkpoints/best_model.pt",
            sha256="0" * 64,
            started_at="2025-03-01T10:00:00",
            finished_at="2025-03-01T10:01:01",
            figures={"step": [1], "loss": [0.75], "lr": [0.001]},
        )
        stage.metrics.write_bytes(msgspec.json.encode(msgspec.structs.replace(metrics, **figures)))
        return stage

    return make


@pytest.fixture
def team(compute: Compute) -> Team:
    """A team of one."""
    return Team(Place(), compute.device)
