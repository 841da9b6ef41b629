from __future__ import annotations

import sys
from pathlib import Path

import pytest

from logbert_engine.protocol.errors import LogbertError
from logbert_engine.protocol.locations import given_path, program, resolved_path


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


def test_a_path_is_taken_as_a_person_means_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to("real")
    assert given_path("~/link", "--output") == tmp_path / "link"
    assert resolved_path("~/link", "--output") == tmp_path.resolve() / "real"
    monkeypatch.chdir(tmp_path)
    assert given_path("link", "--output") == Path("link")
    assert resolved_path(Path("link"), "--output") == tmp_path.resolve() / "real"


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="later Pythons follow such links as far as they lead")
def test_links_in_a_circle_are_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("other")
    (tmp_path / "other").symlink_to("one")
    with pytest.raises(LogbertError, match=r"^--output .*/one/x: its links lead in a circle; "):
        resolved_path(tmp_path / "one" / "x", "--output")


@pytest.mark.parametrize(("path", "says"), [("", "is empty"), ("~no-such-user/x", "there is no such user")])
def test_a_path_that_is_none_is_told_in_a_sentence(path: str, says: str) -> None:
    for take in (given_path, resolved_path):
        with pytest.raises(LogbertError, match=rf"^--output.* {says}; ?") as refused:
            take(path, "--output")
        assert "\n" not in str(refused.value)
