"""The picker: its form as a function, its screen at every size, and with a real engine."""

from __future__ import annotations

import json
import time

import pytest
from textual.widgets import Input

from logbert_engine.presets.figures import preset_info
from logbert_engine.presets.loading import list_presets
from logbert_engine.protocol.messages import Hardware, RunInfo
from logbert_tui.app import LogbertApp
from logbert_tui.screens import picker_panels as panels
from logbert_tui.screens.picker_fields import Form
from logbert_tui.screens.picker_form import placeholders, read_form
from logbert_tui.widgets.choice import Choice
from logbert_tui.widgets.line_list import LineList
from logbert_tui.widgets.text_view import TextView

SIZES = [(120, 40), (80, 24), (60, 20)]
PRESETS = [preset_info(preset) for preset in list_presets()]
BY_NAME = {preset.name: preset for preset in PRESETS}
HARDWARE = Hardware(
    host="train-01",
    system="Linux",
    processor="AMD EPYC 9B14",
    cores=2,
    threads=4,
    memory_mb=15990.0,
    memory_available_mb=14100.0,
    disk_free_mb=41000.0,
)


def text(rows):
    return "\n".join("".join(part for part, _ in row) for row in rows)


def offered(state):
    state.set_presets(PRESETS)
    state.set_hardware(HARDWARE)
    state.set_runs(
        [RunInfo(run_dir="/home/ana/runs/a", phase="paused", stage=3, stages=10, updated_at=time.time())]
    )


# The form as a function


@pytest.mark.parametrize(
    ("typed", "share"), [("10%", 0.1), ("0.1", 0.1), (" 12,5 % ", 0.125), ("1", 1.0), ("", None)]
)
def test_a_share_is_read_as_percentage_or_fraction(typed, share):
    spec, problems = read_form("test", {"run_dir": "r", "start_ratio": typed})
    assert problems == {}
    assert spec.start_ratio == share


@pytest.mark.parametrize("typed", ["10", "0", "0%", "101%", "-5%", "ten", "nan", "inf", "1e400"])
def test_a_share_that_is_none_is_refused_with_its_text_and_the_way_to_write_it(typed):
    spec, problems = read_form("test", {"run_dir": "r", "start_ratio": typed})
    assert spec.start_ratio is None
    assert typed in problems["start_ratio"]
    assert "10% or 0.1" in problems["start_ratio"]


@pytest.mark.parametrize(
    ("field", "typed", "value"),
    [
        ("epochs_per_stage", "3", 3),
        ("max_files", "all", 0),
        ("max_files", "0", 0),
        ("max_files", "1,000", 1000),
    ],
)
def test_counts_are_read(field, typed, value):
    spec, problems = read_form("test", {"run_dir": "r", field: typed})
    assert (problems, getattr(spec, field)) == ({}, value)


@pytest.mark.parametrize(
    ("field", "typed"),
    [("epochs_per_stage", "0"), ("epochs_per_stage", "2.5"), ("max_files", "-1"), ("max_files", "²")],
)
def test_counts_that_are_none_are_refused(field, typed):
    _, problems = read_form("test", {"run_dir": "r", field: typed})
    assert typed in problems[field]


def test_an_untouched_form_leaves_everything_to_the_preset():
    spec, problems = read_form("transfer", {"run_dir": "r", "data": "/d"})
    assert problems == {}
    assert {
        name
        for name in spec.__struct_fields__
        if name not in ("data", "run_dir", "preset", "overrides") and getattr(spec, name) is not None
    } == set()


def test_a_start_above_the_end_and_a_missing_run_directory_are_named():
    _, problems = read_form("test", {"run_dir": " ", "start_ratio": "50%", "max_ratio": "20%"})
    assert "above the end" in problems["start_ratio"]
    assert "Run dir" in problems["run_dir"]


def test_relative_paths_count_from_where_the_console_was_started():
    spec, _ = read_form("test", {"data": "logs/../sessions", "run_dir": "~/runs/a"}, "/home/ana/data")
    assert (spec.data, spec.run_dir) == ("/home/ana/data/sessions", "~/runs/a")
    spec, _ = read_form("test", {"data": "sessions", "run_dir": "/r"})
    assert (spec.data, spec.run_dir) == ("sessions", "/r")


def test_the_fields_show_the_presets_own_values():
    assert placeholders(BY_NAME["transfer"]) == {
        "start_ratio": "10%",
        "step_size": "10%",
        "max_ratio": "100%",
        "epochs_per_stage": "2",
        "sample_ratio": "10%",
        "max_files": "20",
        "max_memory_mb": "8000",
        "nproc": "1",
    }


# Panels


def test_a_command_keeps_options_and_their_values_together():
    command = "logbert-engine train --data /data/logs --run-dir /runs/a --preset transfer"
    rows = text(panels.command_rows(command, "", 40, 6)).splitlines()
    assert any("--data /data/logs" in row for row in rows)
    assert any("--run-dir /runs/a" in row for row in rows)


def test_a_command_that_has_no_room_is_cut_with_a_mark():
    command = (
        "logbert-engine train --data /data/a-long-name --run-dir /runs/another-long-name --preset transfer"
    )
    rows = text(panels.command_rows(command, "", 40, 2)).splitlines()
    assert len(rows) == 2
    assert rows[-1].endswith("…")
    assert all(len(row) <= 40 for row in rows)


# The screen


@pytest.mark.parametrize("size", SIZES)
async def test_the_picker_is_whole_at_every_size(console, text_of, uncut, settle, size):
    async with console(size=size, screen="picker") as pilot:
        offered(pilot.app.state)
        await settle(pilot)
        shown = text_of(pilot.app.screen)
        uncut(pilot.app.screen)
        for word in ("transfer", "data", "run dir", "stages", "Start training", "AMD EPYC"):
            assert word in shown


async def test_recent_runs_stand_beside_the_presets_or_take_their_place(console, text_of, uncut, settle):
    async with console(size=(120, 40), screen="picker") as pilot:
        offered(pilot.app.state)
        await settle(pilot)
        assert "‖ ~/runs/a" in text_of(pilot.app.screen)
    async with console(size=(80, 24), screen="picker") as pilot:
        offered(pilot.app.state)
        await settle(pilot)
        assert "~/runs/a" not in text_of(pilot.app.screen)
        await pilot.press("v")
        await settle(pilot)
        assert "‖ ~/runs/a" in text_of(pilot.app.screen)
        uncut(pilot.app.screen)
        assert pilot.app.screen.focused.id == "run-list"
        await pilot.press("escape")
        await settle(pilot)
        assert "transfer" in text_of(pilot.app.screen)


async def test_the_figures_follow_the_cursor_and_can_be_scrolled(console, settle):
    async with console(size=(80, 24), screen="picker") as pilot:
        offered(pilot.app.state)
        await settle(pilot)
        presets = pilot.app.screen.query_one("#preset-list", LineList)
        presets.move_to([p.name for p in PRESETS].index("transfer"))
        await settle(pilot)
        figures = pilot.app.screen.query_one("#figures", TextView)
        assert "Transfer learning" in figures.text
        assert pilot.app.screen.query_one("#start_ratio", Input).placeholder == "10%"
        figures.focus()
        await pilot.press("G")
        assert figures.top == figures.last_top > 0


async def test_starting_without_data_leads_to_the_field(console, settle):
    async with console(screen="picker") as pilot:
        offered(pilot.app.state)
        await settle(pilot)
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert "Name the sessions" in pilot.app.state.notices[-1].text
        assert pilot.app.screen.focused.id == "data"


async def test_a_preset_that_cannot_be_trained_is_not_started(console, settle):
    async with console(screen="picker") as pilot:
        offered(pilot.app.state)
        await settle(pilot)
        names = [p.name for p in PRESETS]
        pilot.app.screen.query_one("#preset-list", LineList).move_to(names.index("m4max-medium"))
        await settle(pilot)
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert "does not train a decoder" in pilot.app.state.notices[-1].text


async def test_a_wrong_option_is_marked_and_named_and_nothing_typed_is_lost(console, text_of, settle):
    async with console(screen="picker") as pilot:
        offered(pilot.app.state)
        await settle(pilot)
        await pilot.press("o", "5", "0", "0", "%")
        await settle(pilot)
        field = pilot.app.screen.query_one("#start_ratio", Input)
        assert field.has_class("-wrong")
        assert "'500%' is not a share" in text_of(pilot.app.screen)
        await pilot.press("tab", "tab", "tab", "tab", "right")
        assert pilot.app.screen.query_one("#progressive", Choice).value == "yes"
        assert field.value == "500%"


async def test_letters_typed_into_a_field_are_text_not_keys(console, settle):
    async with console(screen="picker") as pilot:
        offered(pilot.app.state)
        await settle(pilot)
        await pilot.press("d", *"quit123")
        assert pilot.app.screen.query_one("#data", Input).value == "quit123"
        assert pilot.app.shown == "picker"


async def test_with_an_engine_the_path_is_checked_and_the_command_shown(tmp_path, text_of, until_seen):
    data = tmp_path / "sessions.json"
    data.write_text(json.dumps([{"session_id": i, "event_sequence": [1, 2, 3]} for i in range(50)]))
    app = LogbertApp(data=str(data))
    async with app.run_test(size=(120, 40)) as pilot:
        await until_seen(pilot, "✓ 1 file")
        await until_seen(pilot, "$ logbert-engine train")
        shown = text_of(app.screen)
        assert "50 sessions" in shown
        app.screen.query_one("#preset-list").focus()
        await pilot.press("c")
        await until_seen(pilot, "Copied: logbert-engine train")
        assert f"--data {data}" in app.clipboard
        assert "3 events" in shown
        app.screen.query_one(Form).query_one("#data", Input).value = str(tmp_path / "nowhere")
        await until_seen(pilot, "✗")
        assert "nowhere" in text_of(app.screen)
        await app.link.call("shutdown")


def test_a_recent_run_keeps_the_last_part_of_its_path():
    run = RunInfo(run_dir="/home/ana/projects/runs/monday", phase="paused")
    for width, path in (
        (60, "~/projects/runs/monday"),
        (26, "…/runs/monday"),
        (18, "…/monday"),
        (14, "monday"),
    ):
        assert panels.run_spans(run, width, "/home/ana")[1].text.strip() == path


@pytest.mark.parametrize("size", SIZES)
async def test_the_key_bar_offers_what_works_in_a_field_and_esc_leaves_it_first(
    console, text_of, settle, size
):
    async with console(size=size, events=None) as pilot:
        await pilot.app.show("picker")
        offered(pilot.app.state)
        await settle(pilot)
        before = text_of(pilot.app.screen).splitlines()[-1]
        assert "data path" in before
        await pilot.press("d")
        await settle(pilot)
        bar = text_of(pilot.app.screen).splitlines()[-1].split()
        assert bar == ["^S", "start", "Tab", "next", "Esc", "leave", "field"]
        await pilot.press("escape")
        await settle(pilot)
        assert pilot.app.shown == "picker"
        assert pilot.app.screen.focused.id == "preset-list"
        assert text_of(pilot.app.screen).splitlines()[-1] == before
        await pilot.press("escape")
        await settle(pilot)
        assert pilot.app.shown == "run"


async def test_esc_leaves_a_field_before_it_dismisses_a_message(console, settle):
    async with console(screen="picker") as pilot:
        offered(pilot.app.state)
        await pilot.press("d")
        pilot.app.state.notice("the disk is full", "error")
        await settle(pilot)
        await pilot.press("escape")
        await settle(pilot)
        assert pilot.app.screen.focused.id == "preset-list"
        assert len(pilot.app.state.notices) == 1
        await pilot.press("escape")
        assert pilot.app.state.notices == []


async def test_enter_behind_the_data_path_goes_to_the_button_and_elsewhere_to_the_next_field(console, settle):
    async with console(screen="picker") as pilot:
        offered(pilot.app.state)
        await settle(pilot)
        await pilot.press("d", *"logs", "enter")
        await settle(pilot)
        assert pilot.app.screen.focused.id == "start"
        await pilot.press("o", "enter")
        assert pilot.app.screen.focused.id == "max_ratio"


async def test_a_run_directory_longer_than_its_field_shows_its_end(console, text_of, settle):
    async with console(size=(120, 40), screen="picker") as pilot:
        offered(pilot.app.state)
        field = pilot.app.screen.query_one("#run_dir", Input)
        pilot.app.screen.query_one(Form).suggest_run_dir("/home/ana/" + "a-long-folder/" * 6 + "the-run")
        for size in ((120, 40), (80, 24), (60, 20)):
            await pilot.resize_terminal(*size)
            await settle(pilot)
            line = next(line for line in text_of(pilot.app.screen).splitlines() if "run dir" in line)
            assert "/the-run" in line
        field.focus()
        await pilot.press("home")
        await settle(pilot)
        assert "/the-run" not in text_of(pilot.app.screen)
        await pilot.press("tab")
        await settle(pilot)
        assert "/the-run" in text_of(pilot.app.screen)
