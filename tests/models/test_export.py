from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM

from logbert_engine.data.normals import Normals
from logbert_engine.models.checkpoint import (
    Calibration,
    ModelRecord,
    export,
    find_checkpoint,
    load_export,
    open_checkpoint,
)
from logbert_engine.models.encoder import MaskedModel
from logbert_engine.models.vocabulary import CLS, END, MASK, Vocabulary
from logbert_engine.protocol.errors import CheckpointError, StorageError
from logbert_engine.rundir.checksums import SUMS, read_sums, sha256_of

CALIBRATION = Calibration(
    median=-1.5, deviation=0.25, sessions=2, highest={"next": 7.5, "bag": 3.0}, scores=[-1.0, 2.5]
)
KEPT: dict[str, Any] = {
    "calibration": CALIBRATION,
    "views": ("next", "bag"),
    "templates": {"5": "open"},
    "room": 12,
}
NORMALS = Normals(
    tokens=np.array([11, 12, 11], dtype=np.int32), offsets=np.array([0, 1, 3]), counts=np.array([4, 1])
)


@pytest.fixture
def folder(tmp_path: Path, model: MaskedModel, vocabulary: Vocabulary) -> Path:
    path = tmp_path / "checkpoints" / "best_model"
    export(path, model, ModelRecord(vocabulary=vocabulary, **KEPT, normals=NORMALS))
    return path


def logits(model: Any, vocabulary: Vocabulary) -> torch.Tensor:
    ids = torch.tensor([[CLS, vocabulary.first, MASK, vocabulary.size - 1, END]])
    with torch.inference_mode():
        found: torch.Tensor = model.eval()(input_ids=ids).logits
    return found


def test_transformers_loads_an_export_by_itself_with_equal_logits(
    folder: Path, model: MaskedModel, vocabulary: Vocabulary
) -> None:
    theirs, report = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    assert torch.equal(logits(theirs, vocabulary), logits(model, vocabulary))
    assert theirs.get_output_embeddings().weight is theirs.get_input_embeddings().weight


def test_an_export_gives_back_model_vocabulary_calibration_and_templates(
    folder: Path, model: MaskedModel, vocabulary: Vocabulary
) -> None:
    loaded, record = load_export(folder)
    assert msgspec.structs.replace(record, normals=None) == ModelRecord(vocabulary=vocabulary, **KEPT)
    for name, values in vars(NORMALS).items():
        kept = getattr(record.normals, name)
        assert kept.dtype == values.dtype
        assert kept.tolist() == values.tolist()
    assert all(torch.equal(loaded.state_dict()[n], t) for n, t in model.state_dict().items())
    assert find_checkpoint(folder) == folder
    assert open_checkpoint(folder)[1].vocabulary == vocabulary


def test_a_new_export_takes_the_place_of_the_old_one_whole(
    folder: Path, model: MaskedModel, vocabulary: Vocabulary
) -> None:
    leftovers = [folder.with_name(".best_model.new"), folder.with_name(".best_model.old")]
    for path in leftovers:
        path.mkdir()
        (path / "half").write_text("")
    (folder / "stray").write_text("")
    export(folder, model, ModelRecord(vocabulary=vocabulary))
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "vocabulary.json",
        SUMS,
    }
    assert sorted(path.name for path in folder.parent.iterdir()) == [SUMS, "best_model"]
    assert read_sums(folder.parent) == {f"best_model/{SUMS}": {sha256_of(folder / SUMS)}}
    assert load_export(folder)[1] == ModelRecord(vocabulary=vocabulary)


FILES = ["config.json", "model.safetensors", "vocabulary.json", "calibration.json", "normals.safetensors"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("where", [0.3, 0.99])
def test_a_flipped_bit_in_an_export_is_an_error_that_names_the_file(
    folder: Path, name: str, where: float
) -> None:
    content = bytearray((folder / name).read_bytes())
    content[int(len(content) * where)] ^= 2
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged") as caught:
        load_export(folder)
    assert str(folder / name) in str(caught.value)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b"[" * 5000])
def test_a_foreign_folder_is_refused_in_one_sentence(folder: Path, name: str, content: bytes) -> None:
    (folder / SUMS).unlink()
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_export(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{"vocab_size": 99}, {"hidden_size": "wide", "dim": "wide"}])
def test_weights_that_do_not_fit_the_configuration_are_refused(folder: Path, change: dict[str, Any]) -> None:
    (folder / SUMS).unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CheckpointError) as caught:
        load_export(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_an_error_that_names_the_folder(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match="is not an exported model"):
        load_export(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocabulary.json", SUMS])
@pytest.mark.parametrize("listed", [True, False])
def test_a_pipe_in_the_place_of_a_file_is_refused(folder: Path, name: str, listed: bool) -> None:
    if not listed:
        (folder / SUMS).unlink()
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(CheckpointError, match="not a file") as refused:
        load_export(folder)
    assert str(folder / name) in str(refused.value)


def test_a_folder_that_cannot_be_written_is_a_storage_error(
    tmp_path: Path, model: MaskedModel, vocabulary: Vocabulary
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        export(tmp_path / "file" / "best_model", model, ModelRecord(vocabulary=vocabulary))


def test_a_full_disk_is_a_storage_error_and_the_old_export_stays(
    folder: Path, model: MaskedModel, vocabulary: Vocabulary
) -> None:
    resource = pytest.importorskip("resource")
    before = (folder / "model.safetensors").read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
    try:
        with pytest.raises(StorageError) as caught:
            export(folder, model, ModelRecord(vocabulary=vocabulary))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert str(folder) in str(caught.value)
    assert (folder / "model.safetensors").read_bytes() == before
