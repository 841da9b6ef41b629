"""The doctor on the machine that the tests run on, and how what it found is printed."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from logbert_engine.commands import doctor
from logbert_engine.commands.dispatch import main
from logbert_engine.diagnosis.finding import Section, notice, well, wrong
from logbert_engine.hardware.torch_answer import TorchAnswer, TorchDevice
from logbert_engine.protocol.errors import DeviceError

SECTIONS = ["Machine", "GPUs", "Memory", "Disk", "torch", "Engine", "Terminal", "Versions"]


def test_this_machine_is_examined_and_nothing_is_left_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--run-dir", str(tmp_path / "run")]) == 0
    text = capsys.readouterr().out
    assert [line for line in text.split("\n") if line in SECTIONS] == SECTIONS
    assert "✓ torch " in text
    assert "✗" not in text
    assert list(tmp_path.iterdir()) == []


def test_json_has_the_same_as_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = TorchAnswer(torch="2.13.0", devices=[TorchDevice(kind="cpu")])
    monkeypatch.setattr("logbert_engine.hardware.torch_ask.ask_torch", lambda _hardware: told)
    assert main(["doctor", "--json", "--run-dir", str(tmp_path)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["usable"]
    assert [section["title"] for section in report["sections"]] == SECTIONS
    assert report["torch"]["torch"] == "2.13.0"
    assert report["disk"]["folder"] == str(tmp_path)
    assert report["hardware"]["cores"] >= 1


def test_what_keeps_training_from_working_is_an_exit_status_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_hardware: object) -> TorchAnswer:
        raise DeviceError("torch is not installed; run: pip install torch")

    monkeypatch.setattr("logbert_engine.hardware.torch_ask.ask_torch", broken)
    assert main(["doctor", "--run-dir", str(tmp_path)]) == 1
    text = capsys.readouterr().out
    assert "  ✗ torch is not installed\n    → Run: pip install torch" in text
    assert "To be mended before training: 1." in text


def test_an_empty_run_dir_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--run-dir", ""]) == 1
    assert capsys.readouterr().err == "logbert-engine: --run-dir is empty; give a path.\n"


def test_long_findings_are_wrapped_under_themselves() -> None:
    sections = [
        Section("A", [well("one two three four five six"), notice("seven", "eight nine ten eleven twelve")]),
        Section("B", [wrong("thirteen", "fourteen")]),
    ]
    assert list(doctor.lines(sections, 24, doctor.MARKS)) == [
        "A",
        "  ✓ one two three four",
        "    five six",
        "  ▲ seven",
        "    → eight nine ten",
        "      eleven twelve",
        "",
        "B",
        "  ✗ thirteen",
        "    → fourteen",
        "",
        "To be mended before",
        "training: 1. To be",
        "looked at: 1.",
    ]


def test_an_output_that_is_not_utf_8_has_plain_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = TorchAnswer(torch="2.13.0", threads=1000, devices=[TorchDevice(kind="cpu")])
    monkeypatch.setattr("logbert_engine.hardware.torch_ask.ask_torch", lambda _hardware: told)
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    folder = tmp_path / "größer"
    folder.mkdir()
    assert main(["doctor", "--run-dir", os.fspath(folder)]) == 0
    text = raw.getvalue().decode("ascii")
    assert "\n     -> Run: export" in text
    assert "\n  ok torch 2.13.0" in text
    assert "gr??er" in text
