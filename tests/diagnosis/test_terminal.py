"""What is said of terminals."""

from __future__ import annotations

import pytest

from logbert_engine.diagnosis.terminal import findings

GOOD = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}


def odd(
    environment: dict[str, str], size: tuple[int, int] | None = (80, 24), encoding: str = "UTF-8"
) -> list[str]:
    found = findings(environment, size, encoding)
    assert all(finding.mend for finding in found if finding.state != "well")
    assert all(finding.state != "wrong" for finding in found), "training needs no terminal"
    return [finding.what for finding in found if finding.state != "well"]


def test_a_terminal_of_today_is_well_and_none_is_not_blamed() -> None:
    assert odd(GOOD) == []
    assert odd(GOOD, None) == []
    assert odd(GOOD, (60, 20), "utf8") == []


@pytest.mark.parametrize("size", [(59, 24), (80, 19), (0, 0)])
def test_too_small_a_window_is_said(size: tuple[int, int]) -> None:
    assert odd(GOOD, size) == [f"{size[0]} columns and {size[1]} rows are too few for the console"]


def test_a_dumb_terminal_is_said() -> None:
    assert odd(GOOD | {"TERM": "dumb"}) == ["TERM is dumb, a terminal without a cursor"]
    assert odd({"COLORTERM": "24bit"}) == ["TERM is not set, a terminal without a cursor"]


def test_colours_that_are_off_or_not_promised_are_said() -> None:
    assert odd(GOOD | {"NO_COLOR": "1"}) == ["NO_COLOR is set, so the console is without colours"]
    assert odd(GOOD | {"NO_COLOR": ""}) == []
    plain = findings({"TERM": "xterm"}, (80, 24), "UTF-8")
    tmux = findings({"TERM": "tmux-256color", "TMUX": "/tmp/tmux-0/default,1,0"}, (80, 24), "UTF-8")
    assert ["tmux" in finding.mend for finding in (*plain, *tmux) if finding.mend] == [False, True]
    assert tmux[1].what == "TERM=tmux-256color, inside tmux"


@pytest.mark.parametrize("encoding", ["ANSI_X3.4-1968", "ISO-8859-1", "", "no such"])
def test_a_locale_that_cannot_draw_is_said(encoding: str) -> None:
    (found,) = odd(GOOD, encoding=encoding)
    assert "not UTF-8" in found


def test_over_ssh_training_goes_on() -> None:
    found = findings(GOOD | {"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}, (80, 24), "UTF-8")
    assert found[-1].what == "over SSH: when the connection goes, training goes on"
