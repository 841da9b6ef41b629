from __future__ import annotations

import sys
from pathlib import Path

import pytest

from logbert_engine.protocol.locations import program


@pytest.fixture
def beside_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment's folder with a program of ours in it, which the shell does not look into."""
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("python", "logbert-tui"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
    return folder


def test_a_program_that_the_shell_finds_is_called_by_its_name(
    beside_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(beside_python))
    assert program("logbert-tui") == "logbert-tui"


def test_one_that_it_does_not_find_is_called_by_its_path(
    beside_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert program("logbert-tui") == str(beside_python / "logbert-tui")
    monkeypatch.chdir(tmp_path)
    assert program("logbert-tui") == ".venv/bin/logbert-tui"


def test_one_that_is_nowhere_keeps_its_name(beside_python: Path) -> None:
    (beside_python / "logbert-tui").unlink()
    assert program("logbert-tui") == "logbert-tui"
