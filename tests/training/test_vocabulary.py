"""Which events a run knows: those of all its sessions, whichever of them are held out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from logbert_engine.data.sampling import pick, split
from logbert_engine.data.sources import open_sources
from logbert_engine.models.checkpoint import read_record
from logbert_engine.presets.runfile import read_config
from logbert_engine.rundir.layout import RunLayout
from tests.training.conftest import Train

BURST = range(300, 303)
"""Sessions that hold an event which no other holds; neighbours in time, in one of 200 parts."""


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    folder = tmp_path / "bursts"
    folder.mkdir()
    records = [
        {"session_id": i, "event_sequence": [0, 1, 2, *(["burst"] if i in BURST else []), i % 3]}
        for i in range(600)
    ]
    (folder / "preprocessed_logs_2025-03-01.json").write_text(json.dumps(records))
    return folder


def burst_is_held_out(layout: RunLayout) -> bool:
    config = read_config(layout)
    store, _ = open_sources(layout, config.data, max_rejected=1.0)
    used = split(pick(store.n_sessions, config.data.sample_ratio, config.seed), config.data, config.seed)
    return bool(np.isin(list(BURST), used.valid).all())


def test_how_often_new_events_come_does_not_depend_on_what_is_held_out(
    train_here: Train, sessions: Path
) -> None:
    settings = ("data.hold_out=spread", "data.valid_share=0.3", "training.stage_steps=4", "model.hidden=16")
    held_out, unseen = [], []
    for seed in range(8):
        layout = train_here(str(seed), settings, data=str(sessions), seed=seed)
        record = read_record(layout.stage("stage_1_100pct").best)
        assert sorted(map(str, record.vocabulary.events)) == ["0", "1", "2", "burst"]
        assert record.calibration is not None
        held_out.append(burst_is_held_out(layout))
        unseen.append(record.calibration.rules["unseen"])
        if len(set(held_out)) == 2:
            break
    assert set(held_out) == {True, False}, "the seeds tell nothing"
    assert set(unseen) == {(0, 600)}, "each of the sessions with the event has neighbours that hold it too"
