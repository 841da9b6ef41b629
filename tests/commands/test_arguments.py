"""What a command line says that makes no sense is refused before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from logbert_engine.commands.dispatch import main
from logbert_engine.commands.scoring import share


@pytest.mark.parametrize("seed", ["-1", "1.5", "x", "9" * 30])
def test_a_seed_of_the_bootstrap_is_a_whole_number(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--checkpoint", "c", "--input", "i", f"--seed={seed}"])
    assert "--seed" in capsys.readouterr().err.splitlines()[-1]


SCORE = {"--checkpoint": "c", "--input": "i"}


@pytest.mark.parametrize("path", ["", "~no-such-user/x"])
@pytest.mark.parametrize(
    ("command", "given", "flag"),
    [
        (command, given, flag)
        for command, given in (("infer", {**SCORE, "--output": "o"}), ("evaluate", {**SCORE, "--html": "h"}))
        for flag in given
    ],
)
def test_a_path_that_is_none_is_refused_by_name(
    command: str, given: dict[str, str], flag: str, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for pair in {**given, flag: path}.items() for word in pair]
    assert main([command, *words]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"logbert-engine: {flag} ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("command", ["demo-data", "demo"])
def test_demo_data_go_to_a_directory_with_a_name(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, ""]) == 1
    assert "is empty" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "resume", "pause", "stop", "restart-stage"])
def test_a_run_directory_of_nobody_or_in_a_circle_of_links_is_one_sentence(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    for path in ("~no-such-user/run", str(tmp_path / "a")):
        assert main([command, path]) == 1
        said = capsys.readouterr().err
        assert said.startswith("logbert-engine: ")
        assert path in said
        assert said.count("\n") == 1


@pytest.mark.parametrize("command", ["infer", "evaluate"])
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("0.5", "0.5: a share, 50% of the sessions, or a percentage? Write 0.5% or 50%"),
        ("0.05", "0.05: a share, 5% of the sessions, or a percentage? Write 0.05% or 5%"),
        (".07", ".07: a share, 7% of the sessions, or a percentage? Write .07% or 7%"),
        ("5", "'5' is not a share such as 0.5% or 0.005"),
        ("100%", "'100%' is not a share such as 0.5% or 0.005"),
        ("nan%", "'nan%' is not a share such as 0.5% or 0.005"),
        ("half", "'half' is not a share such as 0.5% or 0.005"),
    ],
)
def test_a_budget_that_could_be_a_share_or_a_percentage_is_refused(
    command: str, typed: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--checkpoint", "c", "--input", "i", f"--alert-budget={typed}"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"argument --alert-budget: {said}")


@pytest.mark.parametrize(
    ("typed", "value"),
    [("0.001", 0.001), ("0.0499", 0.0499), ("0.7%", 0.007), ("0.5%", 0.005), ("50%", 0.5), ("1e-5", 1e-5)],
)
def test_a_small_share_needs_no_sign(typed: str, value: float) -> None:
    assert share(typed) == value


def test_two_dashes_are_no_value(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["infer", "--checkpoint", "a", "--input", "b", "--output", "c", "--alert-budget=--"])
    assert ended.value.code == 2
    assert "argument --alert-budget: expected one argument" in capsys.readouterr().err
