"""Errors in a preset file name file, line and column, and say how to mend them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from logbert_engine.presets.document import parse
from logbert_engine.presets.loading import check_file, load_preset
from logbert_engine.protocol.errors import PresetError

GOOD = """\
name: mine
title: Mine
summary: A preset of my own.
hardware:
  label: Any machine
model:
  family: encoder
  hidden: 64
  heads: 4
training:
  batch: 8
  learning_rate: 2e-4
stages:
  start_ratio: 0.1
"""
DECODER = GOOD.replace(
    "family: encoder\n  hidden: 64\n  heads: 4", "family: decoder\n  hidden: 64\n  heads: 4"
)


@pytest.fixture
def preset_file(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


def refusal(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PresetError) as caught:
        check_file(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:")
    assert "\n" not in message
    assert message.endswith((".", "?")), message
    return message.removeprefix(f"{path}:")


def test_a_hypersphere_needs_a_view_whose_first_token_sees_the_session(preset_file: Path) -> None:
    drawn = GOOD.replace("batch: 8", "batch: 8\n  hypersphere: 0.1")
    assert refusal(preset_file, drawn.replace("heads: 4", "heads: 4\n  views: [next]")) == (
        "13:16: training.hypersphere needs a view whose first token sees the session; add order or bag to "
        "model.views, or write 0."
    )
    preset_file.write_text(drawn.replace("heads: 4", "heads: 4\n  views: [next, bag]"))
    assert load_preset(str(preset_file)).training.hypersphere == 0.1


def test_a_good_file_loads_and_scientific_notation_is_a_number(preset_file: Path) -> None:
    preset_file.write_text(GOOD)
    preset = load_preset(str(preset_file))
    assert preset.name == "mine"
    assert preset.training.learning_rate == 2e-4


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("hidden: 64", "hiden: 64", '8:3: unknown key "hiden" in model; did you mean "hidden"?'),
        ("title: Mine", "titel: Mine", '2:1: unknown key "titel"; did you mean "title"?'),
        (
            "hidden: 64",
            "hidden: wide",
            '8:11: model.hidden is "wide"; it must be a whole number, at least 1.',
        ),
        ("hidden: 64", "hidden: 0", "8:11: model.hidden is 0; it must be a whole number, at least 1."),
        ("hidden: 64", "hidden: 64.5", "8:11: model.hidden is 64.5; it must be a whole number, at least 1."),
        ("hidden: 64", "hidden:", "8:10: model.hidden is empty; it must be a whole number, at least 1."),
        (
            "hidden: 64",
            "mask_ratio: [0.2, 1.5]",
            "8:21: model.mask_ratio[1] is 1.5; it must be a number, above 0 and at most 1.",
        ),
        (
            "hidden: 64",
            "mask_ratio: [0.2]",
            "8:15: model.mask_ratio is [0.2]; it must be a list of 2, each a number, above 0 and at most 1.",
        ),
        (
            "hidden: 64",
            "mask_ratio: [0.7, 0.2]",
            "8:15: model.mask_ratio is [0.7, 0.2]; the lower share comes first.",
        ),
        (
            "heads: 4",
            "heads: 7",
            "9:10: model.heads 7 does not divide model.hidden 64; choose a number of heads that does, "
            "such as 2 or 4 or 8.",
        ),
        (
            "batch: 8",
            "batch: 8\n  micro_batch: 3",
            "12:16: training.micro_batch 3 does not divide training.batch 8; choose a divisor, or 0 for the "
            "whole batch at once.",
        ),
        (
            "start_ratio: 0.1",
            "start_ratio: 0.5\n  max_ratio: 0.3",
            "14:16: stages.start_ratio 0.5 is more than stages.max_ratio 0.3; lower the start or raise",
        ),
        (
            "start_ratio: 0.1",
            "max_ratio: 0.05",
            "14:14: stages.start_ratio 0.1 is more than stages.max_ratio 0.05; lower the start or raise",
        ),
        (
            "title: Mine\n",
            "",
            "1:1: title is missing; add it: a text, in quotes where it looks like a number.",
        ),
        ("  family: encoder\n", "", "7:3: model.family is missing; add it: one of encoder, decoder."),
        (
            "family: encoder",
            "family: encodr",
            '7:11: model.family is "encodr"; it must be one of encoder, decoder.',
        ),
        (
            "title: Mine",
            "title: 3",
            "2:8: title is 3; it must be a text, in quotes where it looks like a number.",
        ),
        (
            "title: Mine",
            "documented:\n  a: b\n  c: 3\ntitle: Mine",
            "4:6: documented.c is 3; it must be a text, in quotes where it looks like a number.",
        ),
        (
            "name: mine",
            "name: other",
            '1:7: name is "other" but the file is called mine.yaml; make them the same.',
        ),
        (
            "batch: 8",
            "batch: 8\n  batch: 9",
            "12:3: training.batch is given twice, first on line 11; remove one",
        ),
        ("batch: 8", "batch: &b 8", "11:10: anchors and aliases are not supported; write the value out"),
        ("batch: 8", "batch: 1" + "0" * 5000, '11:10: "1000'),
        ("batch: 8", "clip: .inf", '11:9: ".inf" is not a finite number; write a finite one'),
        (
            "batch: 8",
            "batch: !!python/name:os.system 8",
            "11:10: the tag tag:yaml.org,2002:python/name:os.sys",
        ),
        ("batch: 8", "\tbatch: 8", "11:3: not valid YAML: a tab where spaces belong; indent with spaces"),
        ("batch: 8", "batch: [8", "12:16: not valid YAML: "),
        ("batch: 8", "batch: 8\x07", "11:11: the character U+0007 is not allowed in YAML; remove it"),
        ("batch: 8", 'label: "\\UFFFFFFFF"', "11:"),
        ("name: mine", "--- {}\n--- {}", "2:1: "),
    ],
)
def test_an_error_names_its_place(preset_file: Path, before: str, after: str, expected: str) -> None:
    assert before in GOOD
    message = refusal(preset_file, GOOD.replace(before, after))
    assert message.startswith(expected)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("heads: 4\n  kv_heads: 3", "10:13: model.kv_heads 3 does not divide model.heads 4; "),
        (
            "heads: 4\n  max_length: 128\n  train_length: 129",
            "11:17: model.train_length 129 is more than model.max_length 128; ",
        ),
        ("heads: 64\n  kv_heads: 1", "9:10: a head is 1 wide"),
    ],
)
def test_a_decoder_is_checked_against_itself(preset_file: Path, after: str, expected: str) -> None:
    assert refusal(preset_file, DECODER.replace("heads: 4", after)).startswith(expected)


def test_accumulation_must_give_the_batch(preset_file: Path) -> None:
    text = GOOD.replace("batch: 8", "batch: 8\n  micro_batch: 2\n  accumulation: 3")
    message = refusal(preset_file, text)
    assert message.startswith(
        "13:17: training.micro_batch 2 × training.accumulation 3 is not training.batch 8"
    )


def test_bytes_that_are_not_utf8_are_named_with_their_position(preset_file: Path) -> None:
    message = refusal(preset_file, GOOD.encode().replace(b"Mine", b"Mi\xffe"))
    assert message.startswith("2:10: byte 0xff is not UTF-8")


def test_an_empty_file_says_so(preset_file: Path) -> None:
    assert refusal(preset_file, "# nothing\n").startswith("1:1: the file is empty")


def test_a_byte_order_mark_is_passed_over(preset_file: Path) -> None:
    preset_file.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert check_file(preset_file).name == "mine"


def test_an_unknown_name_lists_the_presets_and_suggests_the_nearest() -> None:
    with pytest.raises(
        PresetError, match=r'unknown preset "tranfer"; did you mean "transfer"\?.*incremental'
    ):
        load_preset("tranfer")


@pytest.mark.parametrize("path", ["no/such.yaml", "~nobody-of-this-name/x.yaml", "zero\0byte.yaml"])
def test_a_file_that_cannot_be_read_is_named(path: str) -> None:
    with pytest.raises(PresetError, match=r"cannot read .*check the path"):
        load_preset(path)


def test_texts_of_yaml_1_1_stay_texts() -> None:
    plain = parse("[no, 1:30, 2024-01-01, 0o7, 2e-4, .5, 1_000, ~, TRUE]", "here").value
    assert plain == ["no", "1:30", "2024-01-01", "0o7", 2e-4, 0.5, 1000, None, True]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(), st.binary(), st.text(alphabet="{}[]:,-#&*!|>'\"%@`\n\t ab01.e~?<=\\xuU")))
@example("[" * 3000)
@example("a: " * 3000)
@example("? " * 100)
@example('"\\ud800"')
@example("%YAML 1." + "9" * 5000 + "\n--- a")
@example("<<: {a: 1}")
def test_any_text_loads_or_is_refused_with_a_place(preset_file: Path, text: str | bytes) -> None:
    preset_file.write_bytes(text if isinstance(text, bytes) else text.encode(errors="replace"))
    with pytest.raises(PresetError) as caught:
        check_file(preset_file)
    assert re.match(rf"{re.escape(str(preset_file))}:\d+:\d+: \S", str(caught.value))


@pytest.mark.parametrize("odd", ["/dev/null", "/dev/zero", "pipe", "."])
def test_what_is_no_file_is_no_preset_and_keeps_nobody_waiting(tmp_path: Path, odd: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    preset = tmp_path / "mine.yaml"
    preset.symlink_to(odd)
    done = subprocess.run(
        [sys.executable, "-m", "logbert_engine", "presets", "show", str(preset)],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f'logbert-engine: cannot read "{preset}": it is a pipe')
    assert done.stderr.count("\n") == 1


def test_a_huge_file_is_no_preset_and_is_not_read(tmp_path: Path) -> None:
    preset = tmp_path / "mine.yaml"
    with preset.open("wb") as file:
        file.truncate(1 << 40)  # a hole
    with pytest.raises(PresetError, match="more than 1 MiB"):
        check_file(preset)
