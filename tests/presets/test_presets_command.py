"""``logbert-engine presets`` prints what the files say and fails when they do not hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from logbert_engine.commands.dispatch import main
from logbert_engine.presets.loading import list_presets


def test_list_prints_a_line_for_each_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "list"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.startswith("NAME")
    assert [row.split()[0] for row in rows] == [preset.name for preset in list_presets()]
    medium = next(row for row in rows if row.startswith("m4max-medium"))
    assert "397.7 M" in medium
    assert "(listed only)" in medium
    assert "200,000 steps" in medium


def test_list_as_json_carries_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["transfer"]["parameters"] is None
    assert rows["transfer"]["trainable"] is True
    assert rows["m4max-medium"]["parameters"] == 397_722_624


def test_show_marks_the_documents_figures_as_theirs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "show", "transfer"]) == 0
    out = capsys.readouterr().out
    assert "The documents expect (not measured): accuracy 70–75%" in out
    assert "  learning_rate: 5.0e-05\n" in out


def test_show_as_json_is_the_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "show", "small", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["model"]["hidden"], shown["training"]["batch"], shown["parameters"]) == (384, 4, 11_017_792)


def test_an_unknown_name_fails_with_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "show", "trasfer"]) == 1
    err = capsys.readouterr().err
    assert err.startswith('logbert-engine: unknown preset "trasfer"; did you mean "transfer"?')
    assert err.count("\n") == 1


def test_check_tells_each_file_and_fails_if_one_does_not_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    text = "title: T\nsummary: S\nhardware: {label: Any}\nmodel:\n  family: encoder\n"
    good.write_text(f"name: good\n{text}")
    bad.write_text(f"name: bad\n{text}  hiden: 3\n")
    assert main(["presets", "check", str(good)]) == 0
    assert main(["presets", "check", str(bad), str(good)]) == 1
    out, err = capsys.readouterr()
    assert out == f"{good}: holds\n{good}: holds\n"
    assert err == f'{bad}:7:3: unknown key "hiden" in model; did you mean "hidden"?\n'
    assert main(["presets", "check", "--json", str(bad)]) == 1
    assert json.loads(capsys.readouterr().out)[0]["ok"] is False


def test_the_schema_names_every_setting_with_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$ref"] == "#/$defs/Preset"
    encoder = schema["$defs"]["Encoder"]["properties"]
    assert encoder["hidden"]["minimum"] == 1
    assert encoder["ffn"]["description"] == "Width of the feed-forward part; 0 stands for 4 × hidden."
    assert schema["$defs"]["Training"]["additionalProperties"] is False


def test_the_command_starts_without_torch() -> None:
    code = (
        "import sys\nfrom logbert_engine.commands.dispatch import main\n"
        "assert main(['presets', 'list']) == 0\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=False,
    )
    assert done.returncode == 0, done.stderr
