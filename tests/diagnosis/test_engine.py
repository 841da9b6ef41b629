"""What is said of the engine: its socket, the rights on it, its answer."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from logbert_engine import __version__
from logbert_engine.diagnosis.engine import EngineSeen, findings, look

PRIVATE = EngineSeen(socket="/run/user/7/logbert-tui/engine.sock", folder_mode=0o700)


def states(seen: EngineSeen) -> list[str]:
    return [finding.state for finding in findings(seen, "1.0")]


def test_no_engine_is_well_as_the_console_starts_it(own_folders: Path) -> None:
    seen = look()
    assert (seen.socket, seen.version, seen.refusal) == (str(own_folders / "runtime" / "engine.sock"), "", "")
    assert states(seen) == ["well", "well"]


def test_looking_makes_no_folder(own_folders: Path) -> None:
    (own_folders / "runtime").rmdir()
    assert look().folder_mode is None
    assert not (own_folders / "runtime").exists()


def test_a_socket_that_nobody_listens_at_is_said_with_what_to_do(own_folders: Path) -> None:
    path = own_folders / "runtime" / "engine.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    found = findings(look())[-1]
    assert (found.state, found.what) == ("notice", f"no engine answers at {path}")
    assert "logbert-engine serve" in found.mend


def test_another_version_is_said_and_the_same_is_well() -> None:
    assert (
        findings(EngineSeen(socket="/s", version="1.0", pid=7), "1.0")[-1].what
        == "process 7 answers, version 1.0"
    )
    found = findings(EngineSeen(socket="/s", version="0.9", pid=7), "1.0")[-1]
    assert (found.state, found.what) == ("notice", "process 7 answers with version 0.9, and this is 1.0")
    assert "logbert-engine stop" in found.mend


@pytest.mark.parametrize(
    ("seen", "state", "words"),
    [
        (
            EngineSeen(socket="/r/engine.sock", folder_mode=0o755, socket_mode=0o600),
            "notice",
            "others may enter /r",
        ),
        (
            EngineSeen(socket="/r/engine.sock", folder_mode=0o700, socket_mode=0o666),
            "notice",
            "others may open",
        ),
        (EngineSeen(socket="/r/engine.sock", folder_mode=0o700, folder_ours=False), "wrong", "another user"),
        (EngineSeen(socket="/tmp/engine.sock", folder_mode=0o1777), "wrong", "all users share"),
    ],
)
def test_rights_that_let_others_in_are_said(seen: EngineSeen, state: str, words: str) -> None:
    (found,) = [finding for finding in findings(seen, "1.0") if finding.state != "well"]
    assert found.state == state
    assert words in found.what


def test_a_folder_that_an_engine_will_make_private_is_not_blamed() -> None:
    assert states(EngineSeen(socket="/r/engine.sock", folder_mode=0o755)) == ["well", "well"]
    assert states(PRIVATE) == ["well", "well"]


def test_a_path_too_long_for_a_socket_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOGBERT_RUNTIME_DIR", str(tmp_path / ("long" * 30)))
    place = findings(look())[0]
    assert (place.state, "too long for a socket" in place.what) == ("notice", True)
    assert "shorter" in place.mend


def test_the_rights_of_a_real_socket_are_seen(own_folders: Path) -> None:
    path = own_folders / "runtime" / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(0o606)
        seen = look()
    assert (seen.socket_mode, seen.folder_mode) == (0o606, stat.S_IMODE(path.parent.stat().st_mode))
    assert findings(seen, __version__)
