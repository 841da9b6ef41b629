"""What is said of installed packages."""

from __future__ import annotations

from logbert_engine.diagnosis.versions import findings, installed, required

ASKED = [
    "textual>=8.2,<9",
    "torch>=2.10",
    "ruff>=0.14; extra == 'dev'",
    "win>=1; sys_platform == 'win32'",
    "a b c",
]
THERE = {"python": "3.11.7", "logbert-tui": "0.1.0", "textual": "8.2.8", "torch": "2.13.0+cpu"}


def odd(there: dict[str, str]) -> list[tuple[str, str, str]]:
    found = findings(">=3.11", ASKED, there)
    return [(finding.state, finding.what, finding.mend) for finding in found if finding.state != "well"]


def test_what_fits_is_listed_and_extras_are_not_missed() -> None:
    assert odd(THERE) == []
    (all_of_it,) = findings(">=3.11", ASKED, THERE)
    assert all_of_it.what == "python 3.11.7, logbert-tui 0.1.0, textual 8.2.8, torch 2.13.0+cpu"


def test_what_is_outside_its_range_is_said_with_the_command_that_mends_it() -> None:
    ((state, what, mend),) = odd(THERE | {"textual": "9.0.1"})
    assert (state, what) == ("notice", "textual 9.0.1 is outside <9,>=8.2, so nobody has tried it")
    assert mend == 'Run: pip install "textual<9,>=8.2"'
    ((_, what, mend),) = odd(THERE | {"python": "3.10.2"})
    assert (what, mend.startswith("Install this anew")) == (
        "python 3.10.2 is outside >=3.11, so nobody has tried it",
        True,
    )


def test_what_training_needs_and_is_missing_is_wrong_and_the_rest_a_notice() -> None:
    without = [{name: told for name, told in THERE.items() if name != gone} for gone in ("torch", "textual")]
    assert [odd(there)[0][:2] for there in without] == [
        ("wrong", "torch is not installed"),
        ("notice", "textual is not installed"),
    ]


def test_a_version_that_makes_no_sense_and_programs_that_are_not_installed_are_said() -> None:
    assert odd(THERE | {"textual": "unknown"})[0][1].startswith("textual unknown is outside")
    assert odd({name: told for name, told in THERE.items() if name != "logbert-tui"})[0][1] == (
        "logbert-tui is not installed as a package"
    )
    assert findings("", [], {"python": "3.11.7", "logbert-tui": "0.1.0"})[0].state == "well"


def test_this_environment_is_listed() -> None:
    _, requirements = required()
    assert {"python", "torch", "textual"} <= installed(requirements).keys()
