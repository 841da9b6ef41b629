"""The form's memory limit and processes: from what is typed to the command line."""

from __future__ import annotations

import json

import pytest
from textual.widgets import Input

from logbert_engine.presets.figures import preset_info
from logbert_engine.presets.loading import list_presets
from logbert_tui.app import LogbertApp
from logbert_tui.screens.inference_fields import InferenceForm
from logbert_tui.screens.picker_asking import Answer
from logbert_tui.screens.picker_detail import Chosen, detail_rows, training_text
from logbert_tui.screens.picker_fields import FIELDS, Form
from logbert_tui.screens.picker_form import placeholders, read_form
from logbert_tui.widgets.form import FieldForm

BY_NAME = {preset.name: preset_info(preset) for preset in list_presets()}


def text(rows):
    return "\n".join("".join(part for part, _ in row) for row in rows)


@pytest.mark.parametrize(
    ("typed", "megabytes"),
    [
        ("8000", 8000.0),
        ("8,000 MB", 8000.0),
        ("8 GB", 8192.0),
        ("1.5g", 1536.0),
        (" 512mb ", 512.0),
        ("", None),
    ],
)
def test_memory_is_read_in_megabytes_or_gigabytes(typed, megabytes):
    spec, problems = read_form("test", {"run_dir": "r", "max_memory_mb": typed})
    assert (problems, spec.max_memory_mb) == ({}, megabytes)


@pytest.mark.parametrize("typed", ["0", "-1", "much", "nan", "inf", "8 TB", "g"])
def test_memory_that_is_no_size_is_refused_with_its_text_and_the_way_to_write_it(typed):
    spec, problems = read_form("test", {"run_dir": "r", "max_memory_mb": typed})
    assert spec.max_memory_mb is None
    assert repr(typed) in problems["max_memory_mb"]
    assert "8 GB" in problems["max_memory_mb"]


@pytest.mark.parametrize(("typed", "nproc"), [("2", 2), (" Auto ", "auto"), ("", None)])
def test_processes_are_a_number_or_auto(typed, nproc):
    spec, problems = read_form("test", {"run_dir": "r", "nproc": typed})
    assert (problems, spec.nproc) == ({}, nproc)


@pytest.mark.parametrize("typed", ["0", "-2", "1.5", "all", "²"])
def test_processes_that_are_neither_are_refused(typed):
    spec, problems = read_form("test", {"run_dir": "r", "nproc": typed})
    assert spec.nproc is None
    assert repr(typed) in problems["nproc"]
    assert "auto" in problems["nproc"]


def test_empty_fields_show_the_presets_own():
    shown = placeholders(BY_NAME["dgx"])
    assert (shown["nproc"], shown["max_memory_mb"]) == ("auto", "any")
    assert placeholders(BY_NAME["transfer"])["max_memory_mb"] == "8000"


def test_a_preset_tells_its_processes_and_the_batches_that_follow_its_stages():
    assert "one for each CUDA device" in text(detail_rows(Chosen(BY_NAME["dgx"], Answer()), 60))
    assert "processes" not in text(detail_rows(Chosen(BY_NAME["full"], Answer()), 60))
    transfer = BY_NAME["transfer"]
    (_, first), (share, second) = transfer.batch_by_ratio
    assert f"batch {first}, from {share:.0%} of the data on {second}" in training_text(transfer)


@pytest.mark.parametrize(("size", "there"), [((120, 40), True), ((80, 24), True), ((60, 20), False)])
async def test_the_fields_stand_below_the_others_where_there_is_room(
    console, text_of, uncut, settle, size, there
):
    async with console(size=size, screen="picker") as pilot:
        await settle(pilot)
        uncut(pilot.app.screen)
        shown = text_of(pilot.app.screen)
        assert any("memory" in line and "processes" in line for line in shown.splitlines()) is there
        assert ("path.to.key=value" in shown) is there
        assert "Start training" in shown


async def test_down_leads_through_every_field_of_the_form_and_up_leads_back(console, settle):
    async with console(screen="picker") as pilot:
        await settle(pilot)
        form = pilot.app.screen.query_one(Form)
        form.focus_field("data")
        await settle(pilot)
        order = []
        while (focused := pilot.app.screen.focused) is not None and focused.id != "start":
            order.append(focused.id)
            assert len(order) < 20
            await pilot.press("down")
        assert set(FIELDS) <= set(order)
        assert order[-3:] == ["max_memory_mb", "nproc", "overrides"]
        for name in reversed(order):
            await pilot.press("up")
            assert pilot.app.screen.focused.id == name


async def test_both_forms_move_by_the_same_code_and_enter_ends_each_its_own_way(console, settle):
    assert issubclass(Form, FieldForm)
    assert issubclass(InferenceForm, FieldForm)
    async with console(screen="inference") as pilot:
        await settle(pilot)
        form = pilot.app.screen.query_one(InferenceForm)
        form.focus_field("inputs")
        await settle(pilot)
        await pilot.press("down")
        assert pilot.app.screen.focused.id == "output"
        await pilot.press("up", "enter")
        assert pilot.app.screen.focused.id == "output"


async def test_what_was_typed_is_in_the_command_that_is_copied(tmp_path, text_of, until_seen):
    data = tmp_path / "sessions.json"
    data.write_text(json.dumps([{"session_id": i, "event_sequence": [1, 2, 3]} for i in range(50)]))
    app = LogbertApp(data=str(data))
    async with app.run_test(size=(120, 40)) as pilot:
        await until_seen(pilot, "$ logbert-engine train")
        form = app.screen.query_one(Form)
        form.query_one("#max_memory_mb", Input).value = "6 GB"
        form.query_one("#nproc", Input).value = "2"
        await until_seen(pilot, "--nproc 2")
        app.screen.query_one("#preset-list").focus()
        await pilot.press("c")
        await until_seen(pilot, "Copied: logbert-engine train")
        assert app.clipboard.endswith("--max-memory-mb 6144 --nproc 2")
        form.query_one("#nproc", Input).value = "none"
        await until_seen(pilot, "Processes: 'none' is not a whole number")
        assert form.query_one("#nproc", Input).has_class("-wrong")
        await app.link.call("shutdown")
