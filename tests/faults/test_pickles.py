"""Row 10: a malicious pickle in the place of a checkpoint, or in the compiled sessions. Refused, nothing executed."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from logbert_engine.data.compiling import COLUMNS
from logbert_engine.data.store import open_store
from logbert_engine.models.checkpoint import load_model, open_checkpoint, read_record
from logbert_engine.models.payload import FORMAT
from logbert_engine.protocol.errors import CheckpointError
from logbert_engine.protocol.events import StagePlan
from logbert_engine.rundir.checksums import forget_digests, record_digest, record_sums, sha256_of
from logbert_engine.rundir.layout import RunLayout, StageLayout
from logbert_engine.training.mending import mend
from tests.faults.models import complete_stage, exact_state, read_state, save_state, small_model

pytestmark = pytest.mark.row(10)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.sign),))


def archive(payload: Any, protocol: int = 2) -> bytes:
    written = io.BytesIO()
    torch.save(payload, written, pickle_protocol=protocol)
    return written.getvalue()


def legacy(payload: Any) -> bytes:
    written = io.BytesIO()
    torch.save(payload, written, _use_new_zipfile_serialization=False)
    return written.getvalue()


FORMS: dict[str, Callable[[Any], bytes]] = {
    "zip": archive,
    "zip with a newer pickle": lambda payload: archive(payload, 4),
    "legacy": legacy,
    "bare pickle": pickle.dumps,
}
WHERE: dict[str, Callable[[dict[str, Any], Malicious], Any]] = {
    "all of it": lambda payload, evil: evil,
    "a value beside the weights": lambda payload, evil: {**payload, "record": evil},
    "among the weights": lambda payload, evil: {**payload, "model": {**payload["model"], "x": evil}},
    "a key": lambda payload, evil: {**payload, evil: 1},
}


@pytest.fixture
def sign(tmp_path: Path) -> Path:
    """What a pickle that is executed makes."""
    return tmp_path / "executed"


def test_the_pickle_is_malicious(sign: Path) -> None:
    with pytest.raises(FileExistsError):  # the first of them makes the folder, the second finds it there
        pickle.loads(pickle.dumps([Malicious(sign), Malicious(sign)]))  # noqa: S301
    assert sign.exists()


@pytest.mark.parametrize("listed", ["its sha256", "another", "nothing"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("where", WHERE)
def test_a_model_file_is_refused(tmp_path: Path, sign: Path, form: str, where: str, listed: str) -> None:
    stage = StageLayout(tmp_path / "run" / "stage_1_10pct")
    complete_stage(stage, 1)
    model = {"format": FORMAT, "kind": "model", "config": {}, "model": small_model(1).state_dict()}
    for path in (stage.best, stage.epoch(1)):
        path.write_bytes(FORMS[form](WHERE[where](model, Malicious(sign))))
        if listed == "its sha256":
            record_digest(path, sha256_of(path))
        elif listed == "nothing":
            forget_digests(path.parent, path)
        for read in (load_model, read_record, open_checkpoint):
            with pytest.raises(CheckpointError, match=path.name) as caught:
                read(path)
            assert "\n" not in str(caught.value)
    assert not sign.exists()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("where", WHERE)
def test_an_exact_state_is_refused_and_the_one_before_is_used(
    tmp_path: Path, sign: Path, form: str, where: str
) -> None:
    stage = StageLayout(tmp_path / "run" / "stage_1_10pct")
    for step in (1, 2):
        save_state(stage, step)
    stage.resume.write_bytes(FORMS[form](WHERE[where](exact_state(2), Malicious(sign))))
    record_digest(stage.resume, sha256_of(stage.resume))
    step, (problem,) = read_state(stage)
    assert step == 1
    assert str(stage.resume) in problem
    assert not sign.exists()


@pytest.mark.parametrize("form", FORMS)
def test_mending_a_run_executes_nothing(tmp_path: Path, sign: Path, form: str) -> None:
    run = RunLayout(tmp_path / "run")
    stage = run.stage("stage_1_10pct")
    complete_stage(stage, 1)
    save_state(stage, 1)
    for path in stage.checkpoints.glob("*.pt"):
        path.write_bytes(FORMS[form](Malicious(sign)))
        record_digest(path, sha256_of(path))
    (said,) = mend(run, [StagePlan(index=1, name=stage.name, ratio=0.1, epochs=1)])
    assert str(stage.best) in said
    assert "trained again" in said
    assert not sign.exists()


@pytest.mark.parametrize("column", ["tokens", "counts", "time"])
def test_an_array_of_objects_in_the_compiled_sessions_is_never_unpickled(
    tmp_path: Path, sign: Path, column: str
) -> None:
    assert column in COLUMNS
    file = tmp_path / "sessions.json"
    file.write_text(json.dumps([{"session_id": i, "event_sequence": [1, 2, 3]} for i in range(9)]))
    store = open_store([file])
    evil = store.path.with_name("evil")
    shutil.copytree(store.path, evil)
    np.save(evil / f"{column}.npy", np.array([Malicious(sign)], dtype=object), allow_pickle=True)
    record_sums(evil)
    shutil.rmtree(store.path)
    evil.rename(store.path)
    again = open_store([file])
    assert again.n_sessions == 9
    assert getattr(again, column).dtype != object
    assert not sign.exists()
