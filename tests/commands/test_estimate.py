"""``logbert-engine estimate``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from logbert_engine.commands.dispatch import main
from logbert_engine.hardware.probe import probe
from logbert_engine.hardware.torch_answer import TorchAnswer, TorchDevice, keep, key_of

SMALLER = [
    word
    for setting in (
        "model.hidden=32",
        "model.layers=1",
        "model.heads=2",
        "model.max_length=32",
        "training.batch=2",
    )
    for word in ("--set", setting)
]


@pytest.fixture(autouse=True)
def torch_has_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE", "CACHE"):
        monkeypatch.setenv(f"LOGBERT_{name}_DIR", str(tmp_path / name))
    answer = TorchAnswer(torch="2.13.0", devices=[TorchDevice(kind="cpu", flops={"fp32": 1e11})])
    keep(key_of(probe(Path.home())), answer)


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    folder = tmp_path / "sessions"
    folder.mkdir()
    records = [{"session_id": i, "event_sequence": [1, 2, 3 + i % 5, 9]} for i in range(400)]
    (folder / "preprocessed_logs_2025-03-01.json").write_text(json.dumps(records))
    return folder


def test_m4max_medium_and_the_rate_that_cannot_be_reached(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--preset", "m4max-medium"]) == 0
    told = capsys.readouterr().out
    assert "parameters    397.7 M" in told
    assert "2–3 steps/s of 131,072 tokens. That cannot be reached" in told
    assert "less than 30 h" in told.split("The source documents expect (theirs, not measured)")[1]


def test_data_give_the_run_a_time(sessions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--preset", "quick", "--device", "cpu", "--data", str(sessions), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["estimates"]
    assert found["tokens"] == 6
    assert found["stages"][0]["sessions"] == pytest.approx(280)  # three tenths are held out
    assert 0 < found["seconds"]["low"] < found["seconds"]["value"] < found["seconds"]["high"]
    assert sum(found["parameter_parts"].values()) == found["parameters"]
    assert sum(found["memory_parts"].values()) == pytest.approx(found["memory"]["value"])


def test_measuring_replaces_the_guess_and_is_kept(sessions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["estimate", "--preset", "test", "--device", "cpu", "--data", str(sessions), "--json", *SMALLER]
    origins = []
    for more in ([], ["--measure"], []):
        assert main([*words, *more]) == 0
        (found,) = json.loads(capsys.readouterr().out)["estimates"]
        origins.append((found["step_s"]["origin"], found["memory"]["origin"]))
    assert origins == [("computed", "computed"), ("measured", "measured"), ("measured", "measured")]


def test_all_presets_have_a_line_and_there_is_advice(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--all"]) == 0
    told = capsys.readouterr().out
    for name in ("quick", "transfer", "cloud-v100", "m4max-large"):
        assert f"\n{name} " in told
    assert "\nWith a budget: cloud-colab on Google Colab Pro" in told
    assert "\nWithout one: on this machine transfer" in told
    assert "\nWith a DGX: dgx on DGX Station" in told


def test_a_setting_of_one_family_is_the_problem_of_the_others_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["estimate", "--all", "--set", "model.kv_heads=2"]) == 0
    told = capsys.readouterr().out
    assert told.count('unknown key "kv_heads"') == 1
    assert "\nquick, " in told
    assert "\nm4max-medium " in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--preset", "quikc"], "quick"),
        (["--set", "model.hiden=3"], "hidden"),
        (["--preset", "small", "--set", "model.heads=7"], "heads"),
        (["--data", "/no/such/folder"], "/no/such/folder"),
        (["--all", "--set", "model.hiden=3"], "hidden"),
        (["--all", "--measure"], "one preset at a time"),
    ],
)
def test_what_does_not_hold_is_one_sentence(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["estimate", *words]) == 1
    assert said in capsys.readouterr().err


def test_what_cannot_run_here_is_not_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--preset", "m4max-medium", "--measure"]) == 1
    assert "m4max-medium cannot be measured here: it needs mps" in capsys.readouterr().err
