"""Batches that follow the stages, and processes, as presets list and show tell them."""

from __future__ import annotations

import pytest

from logbert_engine.commands.dispatch import main
from logbert_engine.presets.figures import preset_info
from logbert_engine.presets.loading import load_preset

TEXT = """
name: following
title: T
summary: S
hardware: {label: Any}
model: {family: encoder}
training: {batch: 8, batch_by_ratio: [[0.1, 2], [0.5, 6]]}
workers: {nproc: 2, hang_minutes: 3}
"""


@pytest.fixture
def preset_file(tmp_path):
    path = tmp_path / "following.yaml"
    path.write_text(TEXT)
    return str(path)


def test_the_picker_gets_the_batches_and_the_processes(preset_file):
    info = preset_info(load_preset(preset_file))
    assert (info.batch, info.batch_by_ratio, info.nproc) == (8, [(0.1, 2), (0.5, 6)], 2)
    assert preset_info(load_preset("dgx")).nproc == "auto"


def test_show_tells_batches_and_processes_in_words_and_as_settings(preset_file, capsys):
    assert main(["presets", "show", preset_file]) == 0
    out = capsys.readouterr().out
    assert "Batch:      2, from 50% of the data on 6\n" in out
    assert "Processes:  2, together\n" in out
    assert "  batch_by_ratio: [[0.1, 2], [0.5, 6]]\n" in out
    assert "workers:\n  nproc: 2\n  hang_minutes: 3.0\n" in out


def test_list_has_the_range_of_batches(capsys):
    assert main(["presets", "list"]) == 0
    rows = {row.split()[0]: row for row in capsys.readouterr().out.splitlines()}
    batches = preset_info(load_preset("transfer")).batch_by_ratio
    first, last = min(b for _, b in batches), max(b for _, b in batches)
    assert f" {first}–{last} " in rows["transfer"]
    assert " 32 " in rows["full"]
