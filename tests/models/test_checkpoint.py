from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from logbert_engine.data.normals import Normals
from logbert_engine.models.checkpoint import (
    NORMALS,
    Calibration,
    ModelRecord,
    find_checkpoint,
    load_model,
    open_checkpoint,
    read_record,
    save_model,
)
from logbert_engine.models.encoder import MaskedModel
from logbert_engine.models.payload import (
    FORMAT,
    crc_holds,
    is_whole,
    newest_payload,
    read_payload,
    write_payload,
)
from logbert_engine.models.vocabulary import Vocabulary
from logbert_engine.protocol.errors import CheckpointError
from logbert_engine.rundir import checksums
from logbert_engine.rundir.checksums import SUMS, HashedFile, read_sums, sha256_of

CALIBRATION = Calibration(
    median=-1.5,
    deviation=0.25,
    sessions=3,
    highest={"next": 7.5, "bag": 4.0},
    scores=[-1.0, 0.0, 2.5],
    statistics={"order.mean": [0.1, 0.2, 0.9], "bag.rms": [0.1, 1 / 3, 0.5]},
    rules={"unseen": (0, 9), "counts": (2, 9)},
    evidence=[0.25, 0.5, 1.0],
    left_out=[1, 1, 3],
    tails={"order.mean": 0.75},
)


def same(one: ModelRecord, other: ModelRecord) -> bool:
    """Equal, the arrays of the ordinary sessions too."""
    plain = [msgspec.structs.replace(record, normals=None) for record in (one, other)]
    return plain[0] == plain[1] and all(
        getattr(one.normals, name).dtype == getattr(other.normals, name).dtype
        and np.array_equal(getattr(one.normals, name), getattr(other.normals, name))
        for name in NORMALS
    )


@pytest.fixture
def record(vocabulary: Vocabulary) -> ModelRecord:
    return ModelRecord(
        vocabulary=vocabulary,
        views=("next", "bag"),
        rotations=3,
        centres={"bag": [0.1, -1 / 3]},
        calibration=CALIBRATION,
        templates={"5": "open <*>", "E1": "schließen …"},
        stage=2,
        ratio=0.2,
        epoch=1,
        valid_loss=0.125,
        seed=2**63,
        normals=Normals(
            tokens=np.arange(11, 31, dtype=np.int32),
            offsets=np.array([0, 7, 20]),
            counts=np.array([3, 2**40]),
        ),
    )


@pytest.fixture
def saved(tmp_path: Path, model: MaskedModel, record: ModelRecord) -> Path:
    path = tmp_path / "checkpoints" / "best_model.pt"
    save_model(path, model, record)
    return path


def test_a_model_file_gives_back_model_and_record(
    saved: Path, model: MaskedModel, record: ModelRecord
) -> None:
    loaded, kept = load_model(saved)
    assert same(kept, record)
    assert same(read_record(saved), record)
    assert type(loaded) is type(model)
    assert loaded.config.to_dict() == model.config.to_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight


def test_a_model_file_holds_tensors_and_plain_data_only(saved: Path) -> None:
    payload = torch.load(saved, weights_only=True)
    msgspec.json.encode({name: value for name, value in payload.items() if name not in ("model", "normals")})
    for part in ("model", "normals"):
        assert {type(tensor) for tensor in payload[part].values()} == {torch.Tensor}


def test_tied_weights_are_stored_once(saved: Path, model: MaskedModel, record: ModelRecord) -> None:
    numbers = sum(parameter.numel() for parameter in model.parameters())
    with zipfile.ZipFile(saved) as archive:
        stored = sum(info.file_size for info in archive.infolist() if "/data/" in info.filename)
    normals = sum(getattr(record.normals, name).nbytes for name in NORMALS)
    assert stored == 4 * numbers + normals


def test_a_model_in_half_precision_is_stored_in_full(
    tmp_path: Path, model: MaskedModel, record: ModelRecord
) -> None:
    save_model(tmp_path / "half.pt", model.to(torch.bfloat16), record)
    loaded, _ = load_model(tmp_path / "half.pt")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_its_digest_lies_beside_it(saved: Path) -> None:
    assert read_sums(saved.parent) == {"best_model.pt": {sha256_of(saved)}}


def flipped(path: Path, place: int, bit: int = 3) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def places(path: Path) -> dict[str, int]:
    """A byte of each kind: of the archive's own, of the pickle, of every tensor's record."""
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        found = {"end of the archive": len(content) - 10, "directory": archive.start_dir + 20}
        for info in archive.infolist():
            found[f"name of {info.filename}"] = info.header_offset + 32
            if "/data" in info.filename:
                found[info.filename] = content.index(archive.read(info), info.header_offset) + (
                    info.file_size // 2
                )
    return found


def test_a_flipped_bit_anywhere_is_an_error_that_names_the_file(saved: Path) -> None:
    whole = saved.read_bytes()
    kinds = places(saved)
    assert len(kinds) > 40
    for kind, place in kinds.items():
        flipped(saved, place)
        with pytest.raises(CheckpointError, match=r"best_model\.pt is damaged") as caught:
            load_model(saved)
        assert str(saved) in str(caught.value), kind
        saved.write_bytes(whole)
    load_model(saved)


def test_a_flipped_bit_in_a_copy_without_its_digest_never_changes_what_is_loaded(
    saved: Path, tmp_path: Path, model: MaskedModel, record: ModelRecord
) -> None:
    copy = tmp_path / "mailed.pt"
    rng = np.random.default_rng(1)
    size = saved.stat().st_size
    refused = 0
    for place in [*places(saved).values(), *rng.integers(0, size, 150).tolist()]:
        shutil.copyfile(saved, copy)
        flipped(copy, place, int(rng.integers(8)))
        try:
            loaded, kept = load_model(copy)
        except CheckpointError:
            refused += 1
        else:
            state = loaded.state_dict()
            assert same(kept, record)
            assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    assert refused > 100


@pytest.mark.parametrize("digest_too", [True, False])
def test_a_truncated_file_is_an_error_that_names_it(saved: Path, digest_too: bool) -> None:
    whole = saved.read_bytes()
    if not digest_too:
        (saved.parent / SUMS).unlink()
    for length in (0, 1, 30, 1000, len(whole) // 2, len(whole) - 1):
        saved.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"best_model\.pt is"):
            load_model(saved)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("form", ["archive", "legacy", "bare pickle"])
def test_a_malicious_pickle_is_refused_and_not_executed(
    tmp_path: Path, model: MaskedModel, form: str
) -> None:
    path, sign = tmp_path / "best_model.pt", tmp_path / "executed"
    payload = {"format": FORMAT, "kind": "model", "record": Malicious(sign), "model": model.state_dict()}
    if form == "bare pickle":
        path.write_bytes(pickle.dumps(payload))
    else:
        torch.save(payload, path, _use_new_zipfile_serialization=form == "archive")
    with pytest.raises(CheckpointError, match=r"best_model\.pt is not a checkpoint that can be loaded"):
        load_model(path)
    assert not sign.exists()
    with pytest.raises(CheckpointError):
        read_record(path)
    assert not sign.exists()


@pytest.mark.parametrize(
    "payload",
    [
        [1, 2],
        {},
        {"kind": "resume", "format": FORMAT},
        {"kind": "model"},
        {"kind": "model", "format": FORMAT + 1},
        {"kind": "model", "format": FORMAT - 1},
        {"kind": "model", "format": FORMAT},
        {"kind": "model", "format": FORMAT, "record": {}, "config": {}, "model": {}},
        {"kind": "model", "format": FORMAT, "record": {"vocabulary": {"events": [1], "reserved": 0}}},
    ],
)
def test_a_file_of_something_else_is_refused_in_one_sentence(tmp_path: Path, payload: Any) -> None:
    path = tmp_path / "other.pt"
    torch.save(payload, path)
    with pytest.raises(CheckpointError, match=r"other\.pt") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("config", {"hidden_size": "wide"}),
        ("config", {"hidden_size": 7}),
        ("config", ["bert"]),
        ("config", {"model_type": "bert", "vocab_size": 5}),
        ("model", []),
        ("model", {"another": torch.zeros(3)}),
        ("record", {"vocabulary": 3}),
        ("record", {"vocabulary": {"events": [1], "reserved": 0}, "views": ["sideways"]}),
        ("normals", 3),
        ("normals", {"tokens": torch.zeros(3)}),
        ("normals", {"tokens": [1], "offsets": [0, 1], "counts": [1]}),
    ],
)
def test_parts_that_do_not_fit_are_refused_in_one_sentence(saved: Path, part: str, value: Any) -> None:
    path = saved.with_name("foreign.pt")
    torch.save({**torch.load(saved, weights_only=True), part: value}, path)
    with pytest.raises(CheckpointError, match=r"foreign\.pt") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def stage_with_model(run: Path, name: str, saved: Path, *, complete: bool = True) -> Path:
    folder = run / name / "checkpoints"
    folder.mkdir(parents=True)
    for file in (saved, saved.parent / SUMS):
        shutil.copy(file, folder)
    if complete:
        (run / name / "training_metrics.json").write_text("{}")
    return folder / "best_model.pt"


def test_a_path_stands_for_the_last_complete_stage_the_stage_or_the_file(saved: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    second = stage_with_model(run, "stage_2_20pct", saved)
    tenth = stage_with_model(run, "stage_10_100pct", saved)
    eleventh = stage_with_model(run, "stage_11_100pct", saved, complete=False)
    assert find_checkpoint(run) == tenth
    assert find_checkpoint(run / "stage_2_20pct") == second
    assert find_checkpoint(eleventh) == eleventh
    assert open_checkpoint(run)[2] == tenth


def test_without_a_complete_stage_the_last_one_with_a_model_is_taken(saved: Path, tmp_path: Path) -> None:
    first = stage_with_model(tmp_path / "run", "stage_1_10pct", saved, complete=False)
    (tmp_path / "run" / "stage_2_20pct").mkdir()
    assert find_checkpoint(tmp_path / "run") == first


def test_no_checkpoint_is_said_with_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file or directory"):
        find_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="give a run directory with a trained stage"):
        find_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_model(tmp_path / "nowhere.pt")


def payload(step: int) -> dict[str, Any]:
    return {"format": FORMAT, "kind": "resume", "step": step, "weights": torch.full((1000,), float(step))}


@pytest.fixture
def states(tmp_path: Path) -> list[Path]:
    """The newest exact state, of step 3, and the one before it."""
    newest, previous = tmp_path / "resume.pt", tmp_path / "resume.previous.pt"
    for step in (1, 2, 3):
        write_payload(newest, payload(step), previous=previous)
    return [newest, previous]


def test_the_newest_state_is_loaded_and_the_one_before_it_kept(states: list[Path]) -> None:
    found, path, problems = newest_payload(states, "resume")
    assert (found["step"], path, problems) == (3, states[0], [])
    assert torch.equal(found["weights"], payload(3)["weights"])
    assert read_payload(states[1], "resume")["step"] == 2


def test_a_damaged_state_is_named_and_the_one_before_it_loaded(states: list[Path]) -> None:
    flipped(states[0], 700)
    found, path, problems = newest_payload(states, "resume")
    assert (found["step"], path) == (2, states[1])
    assert problems == [
        f"{states[0]} is damaged: its content does not have the sha256 recorded in SHA256SUMS; "
        "resume.previous.pt is used in its place"
    ]
    states[0].unlink()
    found, path, problems = newest_payload(states, "resume")
    assert (found["step"], problems) == (
        2,
        [f"no checkpoint at {states[0]}; resume.previous.pt is used in its place"],
    )


def test_where_no_state_is_whole_all_are_named(states: list[Path]) -> None:
    for path in states:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError) as caught:
        newest_payload(states, "resume")
    assert all(str(path) in str(caught.value) for path in states)
    assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        newest_payload([path.with_name("nowhere") for path in states], "resume")


def test_states_whose_list_of_digests_is_lost_are_checked_by_the_checksums_inside(
    states: list[Path],
) -> None:
    (states[0].parent / SUMS).unlink()
    assert newest_payload(states, "resume")[0]["step"] == 3
    for place in places(states[0]).values():
        flipped(states[0], place)
        assert newest_payload(states, "resume")[0]["step"] in (2, 3)
        flipped(states[0], place)
    flipped(states[0], places(states[0])["archive/data/0"])
    assert newest_payload(states, "resume")[0]["step"] == 2


def test_a_payload_is_written_from_its_beginning_to_its_end_and_never_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its digest is that of what was written: a file of gigabytes is not read for it."""
    asked = set()

    class Watched(HashedFile):
        def __getattribute__(self, name: str) -> Any:
            asked.add(name)
            return super().__getattribute__(name)

    monkeypatch.setattr(checksums, "HashedFile", Watched)
    monkeypatch.setattr(checksums, "sha256_of", None)
    path = tmp_path / "resume.pt"
    for step in (1, 2):
        write_payload(path, payload(step), previous=tmp_path / "resume.previous.pt")
    monkeypatch.undo()
    assert {name for name in asked if not name.startswith("_")} == {"write", "flush", "digest"}
    assert read_sums(tmp_path)["resume.pt"] == {sha256_of(path)}


def test_the_best_model_is_the_same_file_as_that_of_its_epoch(
    saved: Path, model: MaskedModel, record: ModelRecord
) -> None:
    """So that one can be put in the place of the other by its sha256."""
    save_model(saved.with_name("epoch_1.pt"), model, record)
    assert sha256_of(saved.with_name("epoch_1.pt")) == sha256_of(saved)


def test_a_model_file_is_whole_by_its_digest_or_else_by_its_own_checksums(saved: Path) -> None:
    assert is_whole(saved)
    place = next(place for name, place in places(saved).items() if "/data/" in name)
    flipped(saved, place)
    assert not is_whole(saved)
    (saved.parent / SUMS).unlink()
    assert not is_whole(saved)
    assert not crc_holds(saved)
    flipped(saved, place)
    assert is_whole(saved)
    assert not is_whole(saved.with_name("nowhere.pt"))
