"""Model files: tensors and plain data only, loadable with ``weights_only=True``; and the export to a folder."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM, DistilBertConfig, DistilBertForMaskedLM

from logbert_engine.data.normals import Normals
from logbert_engine.models.encoder import MaskedModel
from logbert_engine.models.payload import FORMAT as FORMAT
from logbert_engine.models.payload import UNUSABLE as UNUSABLE
from logbert_engine.models.payload import newest_payload as newest_payload
from logbert_engine.models.payload import read_payload as read_payload
from logbert_engine.models.payload import reading
from logbert_engine.models.payload import write_payload as write_payload
from logbert_engine.models.vocabulary import Vocabulary
from logbert_engine.presets.types import View
from logbert_engine.protocol.errors import CheckpointError, StorageError
from logbert_engine.rundir.atomic import storage_error, sync_file, sync_folder
from logbert_engine.rundir.checksums import (
    SUMS,
    admit_digest,
    read_sums,
    record_digest,
    record_sums,
    sha256_of,
    sums_are_whole,
    verify,
)
from logbert_engine.rundir.layout import RunLayout, StageLayout
from logbert_engine.rundir.reading import opened

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
VOCABULARY_FILE, CALIBRATION_FILE, NORMALS_FILE = "vocabulary.json", "calibration.json", "normals.safetensors"
NORMALS = ("tokens", "offsets", "counts")
_EXPORTED = (CONFIG_FILE, WEIGHTS_FILE, VOCABULARY_FILE, CALIBRATION_FILE, NORMALS_FILE)


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """How ordinary sessions that were held out from training lie; what turns surprisals into verdicts."""

    median: float
    """Of the log of the sessions' mean surprisal."""
    deviation: float
    """Robust standard deviation of the same."""
    sessions: int
    highest: dict[str, float]
    """View to the highest surprisal of a single event among them, nats."""
    scores: list[float]
    """Sorted robust z-scores of the sessions (a sample of at most 10,000), for false-alarm rates."""
    statistics: dict[str, list[float]] = {}
    """Statistic to its sorted values among the sessions (a sample of at most 10,000)."""
    rules: dict[str, tuple[int, int]] = {}
    """Rule to the ordinary sessions that it alarms on when each in turn is left out, and to how many there are."""
    evidence: list[float] = []
    """Sorted evidence of the sessions (a sample of at most 10,000): log10 of the product of each one's two lowest
    p-values."""
    left_out: list[int] = []
    """Sorted: in which place each stands among the others where those alone judge it; 1 is the oddest."""
    parts: list[int] = []
    """The part of time that each of ``left_out`` lies in; empty where they are taken for independent."""
    tails: dict[str, float] = {}
    """Statistic to how badly an exponential law fits its tail, where there are enough values to tell."""


class ModelRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a model file tells beside the weights."""

    vocabulary: Vocabulary
    views: tuple[View, ...] = ("order",)
    """How it was trained to read sessions."""
    rotations: int = 1
    """Divisions of the events among masks that its surprisals are averaged over."""
    centres: dict[View, list[float]] = {}
    """View to the centre of the hypersphere that ordinary sessions were drawn to, where they were."""
    calibration: Calibration | None = None
    templates: dict[str, str] = {}
    room: int = 0
    """Longest input in tokens that it was trained and calibrated with; 0: the model's own longest."""
    stage: int = 0
    ratio: float = 0.0
    epoch: int = 0
    valid_loss: float | None = None
    seed: int = 0
    normals: Normals | None = None
    """The ordinary sessions: what training and calibration saw."""


def cpu_state(model: torch.nn.Module) -> dict[str, Tensor]:
    """The weights on the CPU in fp32; tensors that are tied stay one."""
    seen: dict[int, Tensor] = {}
    state = {}
    for name, tensor in model.state_dict().items():
        key = tensor.data_ptr()
        if key not in seen:
            seen[key] = (
                tensor.detach().to("cpu", torch.float32, copy=True)
                if tensor.is_floating_point()
                else tensor.cpu()
            )
        state[name] = seen[key]
    return state


def save_model(path: Path, model: MaskedModel, record: ModelRecord) -> None:
    """Write a model file in place of the old one, with its checksum.

    Raises:
        StorageError: no room, no permission. The old file is then as it was.
    """
    payload = {
        "format": FORMAT,
        "kind": "model",
        "config": json.loads(model.config.to_json_string(use_diff=False)),
        "record": _plain(record),
        "normals": _tensors(record.normals),
        "model": cpu_state(model),
    }
    write_payload(path, payload)


def _plain(record: ModelRecord) -> Any:
    return msgspec.to_builtins(msgspec.structs.replace(record, normals=None))


def _tensors(normals: Normals | None) -> dict[str, Tensor]:
    if normals is None:
        return {}
    return {name: torch.from_numpy(getattr(normals, name)) for name in NORMALS}


def _normals(tensors: dict[str, Tensor]) -> Normals | None:
    return Normals(**{name: tensors[name].numpy() for name in NORMALS}) if tensors else None


def model_from(config: dict[str, Any], weights: dict[str, Tensor], where: Path) -> MaskedModel:
    """Build the encoder that a configuration describes, with its weights.

    Raises:
        CheckpointError: the weights do not fit the configuration.
    """
    model = _empty_model(config)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights in {where} do not fit its configuration; use another checkpoint."
        ) from error
    return model


def _empty_model(config: dict[str, Any]) -> MaskedModel:
    model: MaskedModel
    if config.get("model_type") == "distilbert":
        model = DistilBertForMaskedLM(DistilBertConfig(**config))
    else:
        model = BertForMaskedLM(BertConfig(**config))
    return model


def load_model(path: Path) -> tuple[MaskedModel, ModelRecord]:
    """The model and record of a model file.

    Raises:
        CheckpointError: as ``read_payload``.
    """
    payload = read_payload(path, "model")
    with reading(path):
        record = _record_in(payload)
        return model_from(payload["config"], payload["model"], path), record


def read_record(path: Path) -> ModelRecord:
    """Only what a model file tells beside the weights.

    Raises:
        CheckpointError: as ``read_payload``.
    """
    payload = read_payload(path, "model")
    with reading(path):
        return _record_in(payload)


def _record_in(payload: dict[str, Any]) -> ModelRecord:
    record = msgspec.convert(payload["record"], ModelRecord)
    return msgspec.structs.replace(record, normals=_normals(payload["normals"]))


def export(folder: Path, model: MaskedModel, record: ModelRecord) -> None:
    """Write a Hugging Face folder: configuration and weights, vocabulary, calibration, ordinary sessions, SHA256SUMS.

    The folder appears whole: it is written beside, put on the disk and renamed. The digest of its SHA256SUMS is
    recorded in the one beside it, so that a folder that is another model's is found.

    Raises:
        StorageError: no room, no permission.
    """
    fresh, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    try:
        for leftover in (fresh, old):
            shutil.rmtree(leftover, ignore_errors=True)
        fresh.mkdir(parents=True)
        (fresh / CONFIG_FILE).write_text(model.config.to_json_string())
        weights = {name: tensor.contiguous() for name, tensor in cpu_state(model).items()}
        tied = set(getattr(model, "all_tied_weights_keys", {}) or {})
        save_file(
            {name: tensor for name, tensor in weights.items() if name not in tied},
            fresh / WEIGHTS_FILE,
            metadata={"format": "pt"},
        )
        if record.normals is not None:
            save_file(_tensors(record.normals), fresh / NORMALS_FILE)
        kept = _Kept(
            vocabulary=record.vocabulary,
            views=record.views,
            rotations=record.rotations,
            centres=record.centres,
            templates=record.templates,
            room=record.room,
        )
        (fresh / VOCABULARY_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(kept)))
        if record.calibration is not None:
            (fresh / CALIBRATION_FILE).write_bytes(msgspec.json.encode(record.calibration))
        for path in fresh.iterdir():
            with path.open("rb") as file:
                sync_file(file.fileno())
        record_sums(fresh)
        digest = sha256_of(fresh / SUMS)
        admit_digest(folder / SUMS, digest, folder.parent)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
        sync_folder(folder.parent)
        record_digest(folder / SUMS, digest, folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except SafetensorError as error:  # what its file operations raise in place of OSError
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise StorageError(f"cannot write {folder}: {error}.") from error
        code = int(number[1])
        raise storage_error(folder, OSError(code, os.strerror(code))) from error
    except OSError as error:
        raise storage_error(folder, error) from error


def check_export(folder: Path) -> None:
    """Check every file of an exported folder against its SHA256SUMS, and that one against the digest beside it.

    Raises:
        CheckpointError: a file is damaged, or not listed; says which.
        OSError: a file is missing or cannot be read.
    """
    sums = read_sums(folder)
    verify(folder / SUMS, folder.parent)
    if not sums_are_whole(folder):
        raise CheckpointError(f"{folder / SUMS} is damaged: it is not as it was written.")
    for name in _EXPORTED:
        if name not in sums and (folder / name).is_file():
            raise CheckpointError(f"{folder / SUMS} is damaged: it does not list {name}.")
    for name in sums:
        verify(folder / name)


def load_export(folder: Path) -> tuple[MaskedModel, ModelRecord]:
    """The model and record of an exported folder.

    Raises:
        CheckpointError: a file is missing, damaged or does not fit.
    """
    try:
        if (folder / SUMS).exists():  # not in a folder that was made elsewhere
            check_export(folder)
        for path in (folder / name for name in _EXPORTED):
            if path.exists():
                opened(path).close()  # a pipe would keep those waiting who read it
        config = json.loads((folder / CONFIG_FILE).read_text())
        weights = load_file(folder / WEIGHTS_FILE)
        kept = msgspec.json.decode((folder / VOCABULARY_FILE).read_bytes(), type=_Kept)
        calibration_path = folder / CALIBRATION_FILE
        calibration = None
        if calibration_path.exists():
            calibration = msgspec.json.decode(calibration_path.read_bytes(), type=Calibration)
        normals = None
        if (folder / NORMALS_FILE).exists():
            normals = _normals(load_file(folder / NORMALS_FILE))
    except UNUSABLE as error:
        raise CheckpointError(f"{folder} is not an exported model of logbert-engine: {error}.") from error
    with reading(folder):
        model = _empty_model(config)
        missing, unexpected = model.load_state_dict(weights, strict=False)
    tied = set(getattr(model, "all_tied_weights_keys", {}) or {})
    if unexpected or set(missing) - tied:
        raise CheckpointError(f"the weights in {folder} do not fit its config.json; use another checkpoint.")
    model.tie_weights()
    return model, ModelRecord(
        vocabulary=kept.vocabulary,
        views=kept.views,
        rotations=kept.rotations,
        centres=kept.centres,
        calibration=calibration,
        templates=kept.templates,
        room=kept.room,
        normals=normals,
    )


class _Kept(msgspec.Struct, kw_only=True):
    vocabulary: Vocabulary
    views: tuple[View, ...] = ("order",)
    rotations: int = 1
    centres: dict[View, list[float]] = {}
    templates: dict[str, str] = {}
    room: int = 0


def find_checkpoint(path: Path) -> Path:
    """The model file or exported folder that a path stands for.

    Args:
        path: a run directory (its last complete stage), a stage directory, a ``.pt`` file, an exported folder.

    Raises:
        CheckpointError: there is none.
    """
    if path.is_file():
        return path
    if (path / VOCABULARY_FILE).exists():
        return path
    if StageLayout(path).best.exists():
        return StageLayout(path).best
    stages = [stage for stage in RunLayout(path).stages() if stage.best.exists()]
    complete = [stage for stage in stages if stage.metrics.exists()]
    if complete or stages:
        return (complete or stages)[-1].best
    if not path.exists():
        raise CheckpointError(f"no checkpoint at {path}: there is no such file or directory.")
    raise CheckpointError(
        f"no checkpoint in {path}: give a run directory with a trained stage, a stage directory, "
        "a best_model.pt or an exported folder."
    )


def open_checkpoint(path: Path) -> tuple[MaskedModel, ModelRecord, Path]:
    """Find and load a checkpoint; returns the model, its record and the path that was loaded."""
    found = find_checkpoint(path)
    model, record = load_export(found) if found.is_dir() else load_model(found)
    return model, record, found
