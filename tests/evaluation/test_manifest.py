from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from logbert_engine.evaluation.manifest import Manifest, check, manifest_of
from logbert_engine.protocol.errors import DataError


def written(folder: Path, **files: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return [folder / name for name in files]


def test_the_same_files_elsewhere_make_the_same_manifest(tmp_path: Path) -> None:
    manifests = []
    for place in ("one", "other"):
        inputs = [
            *written(tmp_path / place / "data" / "2024", a="sessions"),
            *written(tmp_path / place / "data" / "2025", a="more"),
        ]
        written(tmp_path / place / "run", model="weights", meta="{}")
        manifests.append(manifest_of(inputs, tmp_path / place / "run", split="later", seed=0, budget=0.001))
    assert check(*manifests) == []
    assert list(manifests[0].inputs) == ["2024/a", "2025/a"]
    assert set(manifests[0].versions) == {"logbert-engine", "torch", "numpy", "scikit-learn"}
    assert msgspec.json.decode(msgspec.json.encode(manifests[0]), type=Manifest) == manifests[0]


def test_check_names_all_that_differs(tmp_path: Path) -> None:
    data = written(tmp_path / "data", a="sessions", b="more")
    (model,) = written(tmp_path / "run", model="weights")
    one = manifest_of(data, model, split="later", seed=0, budget=0.001)
    written(tmp_path / "data", a="changed")
    written(tmp_path / "run", model="other")
    other = manifest_of([data[0]], model, split="random", seed=1, threshold=2.0, adapting=True, operator=20)
    other = msgspec.structs.replace(other, versions={**one.versions, "torch": "1.0"})
    told = check(one, other)
    assert [line.split(":")[0] for line in told] == [
        "input a has other content",
        "input b is in the first alone",
        "checkpoint",
        "split",
        "seed",
        "budget",
        "threshold",
        "adapting",
        "operator",
        "version of torch",
    ]
    assert "budget: 0.001 against none" in told
    assert check(other, one)[1] == "input b is in the second alone"


def test_a_missing_input_is_told(tmp_path: Path) -> None:
    (model,) = written(tmp_path, model="weights")
    with pytest.raises(DataError, match="gone"):
        manifest_of([tmp_path / "gone"], model, split="", seed=0)
