"""The pages of the picker's pane, its data panel, the settings by hand, what is copied, and the mouse."""

from __future__ import annotations

import msgspec
import pytest
from textual.widgets import Input

from logbert_engine.protocol.messages import DataSummary
from logbert_tui.screens import picker_panels as panels
from logbert_tui.screens.picker_asking import Answer
from logbert_tui.screens.picker_detail import Chosen, detail_rows, guide_rows, yaml_rows
from logbert_tui.screens.picker_fields import Form
from logbert_tui.screens.picker_form import FieldError, merge_overrides, parse_overrides
from logbert_tui.screens.picker_pane import PAGES, DetailPane
from logbert_tui.screens.picker_presets import LIST_MARGIN, preset_header, preset_spans
from logbert_tui.widgets.text_view import TextView
from tests.tui.picking import BY_NAME, DATA, PRESETS, has_settled, picker, until


def text(rows):
    return "\n".join("".join(part for part, _ in row) for row in rows)


def one_line(rows):
    return " ".join(text(rows).split())


def page(pilot):
    return pilot.app.screen.query_one("#figures", TextView).text


# Overrides


@pytest.mark.parametrize(
    ("typed", "overrides"),
    [
        ("", []),
        ("training.batch=8", ["training.batch=8"]),
        ("training.batch=8  seed=3", ["training.batch=8", "seed=3"]),
        ("training.batch=8, seed=3,", ["training.batch=8", "seed=3"]),
        ("--set training.batch=8 --set seed=3", ["training.batch=8", "seed=3"]),
        ('model.pretrained="my model"', ['model.pretrained="my model"']),
        ("model.pretrained='a, b' seed=3", ["model.pretrained='a, b'", "seed=3"]),
        (
            "training.batch_by_ratio=[[0.1, 2], [0.5,4]] seed=3",
            ["training.batch_by_ratio=[[0.1, 2], [0.5,4]]", "seed=3"],
        ),
    ],
)
def test_overrides_stand_apart_by_spaces_or_commas_outside_quotes_and_brackets(typed, overrides):
    assert parse_overrides(typed) == overrides


@pytest.mark.parametrize(
    ("typed", "missing"), [("seed='3", "'"), ('a.b="x y', '"'), ("a.b=[1, 2", "]"), ("a.b={c: [1}", "}")]
)
def test_an_override_that_is_not_closed_is_refused_with_what_is_missing(typed, missing):
    with pytest.raises(FieldError, match="write path") as caught:
        parse_overrides(typed)
    assert f"lacks a {missing}" in str(caught.value) or "{c" in typed


def test_settings_take_the_place_of_overrides_of_the_same_keys():
    merged = merge_overrides(["a.b=1", "c.d=2"], ["a.b=3", "e.f=true"])
    assert merged == "c.d=2 a.b=3 e.f=true"


async def test_an_unknown_key_is_named_with_the_nearest_one_while_it_is_typed():
    async with picker() as pilot:
        field = pilot.app.screen.query_one("#overrides", Input)
        field.value = "training.bacth=8"
        await until(pilot, lambda: field.has_class("-wrong"))
        await until(pilot, lambda: has_settled(pilot.app))
        shown = one_line(pilot.app.screen.query_one("#command").rows)
        assert '✗ --set training.bacth=8: unknown key "bacth" in training; did you' in shown
        assert pilot.app.screen._planning.problem.endswith('did you mean "batch"?')
        await pilot.press("ctrl+s")
        assert "unknown key" in pilot.app.state.notices[-1].text
        field.value = "training.batch=8"
        await until(
            pilot, lambda: not field.has_class("-wrong") and "--set training.batch=8" in command(pilot)
        )


async def test_a_wrong_override_is_named_before_the_data_are():
    async with picker(data="") as pilot:
        field = pilot.app.screen.query_one("#overrides", Input)
        field.value = "seed=many"
        await until(pilot, lambda: field.has_class("-wrong"))
        assert "seed" in text(pilot.app.screen.query_one("#command").rows)


def command(pilot):
    return pilot.app.screen._planning.plan.command


# The pages


async def test_brackets_turn_the_pages_and_the_run_yaml_is_what_would_run(text_of):
    async with picker() as pilot:
        await pilot.press("right_square_bracket")
        assert page(pilot) == text(yaml_rows(pilot.app.screen._planning.plan.run_yaml, 53))
        assert "preset: quick" in text_of(pilot.app.screen)
        await pilot.press("right_square_bracket")
        assert "≈ 2,464,136 sessions" in page(pilot)
        await pilot.press("right_square_bracket")
        assert "With a DGX" in page(pilot)
        await pilot.press("right_square_bracket", "left_square_bracket", "left_square_bracket")
        assert pilot.app.screen.query_one(DetailPane).page == "data"


async def test_the_figures_scroll_by_key_and_wheel_and_esc_leads_back():
    async with picker() as pilot:
        await pilot.press("e", "j", "j")
        figures = pilot.app.screen.query_one("#figures", TextView)
        assert figures.top == 2
        await pilot.press("G")
        assert figures.top == figures.last_top > 2
        await pilot._post_mouse_events([_wheel_up()], figures)
        assert figures.top == figures.last_top - 3
        await pilot.press("escape")
        await pilot.pause()
        assert pilot.app.screen.focused.id == "preset-list"


def _wheel_up():
    from textual.events import MouseScrollUp

    return MouseScrollUp


async def test_on_a_very_narrow_terminal_the_figures_take_the_forms_place(text_of, uncut):
    async with picker(size=(60, 20)) as pilot:
        await pilot.press("e")
        await pilot.pause()
        assert "whole run" in text_of(pilot.app.screen)
        assert "Start training" not in text_of(pilot.app.screen)
        uncut(pilot.app.screen)
        await pilot.press("right_square_bracket")
        await pilot.pause()
        assert "preset: quick" in text_of(pilot.app.screen)
        await pilot.press("escape")
        await pilot.pause()
        assert "Start training" in text_of(pilot.app.screen)
        await pilot.press("right_square_bracket")
        await pilot.pause()
        assert "preset: quick" in text_of(pilot.app.screen)
        await pilot.press("d")
        await pilot.pause()
        assert pilot.app.screen.focused.id == "data"
        assert "Start training" in text_of(pilot.app.screen)


def test_the_guide_waits_or_tells_why_there_is_none():
    assert "asking" in text(guide_rows(Answer(waiting=True), 50))
    assert "no engine" in text(guide_rows(Answer(problem="no engine"), 50))
    advice = ("Without one: on this machine small (2 h (1 h–3 h)).",)
    assert "Without one\n  on this machine small" in text(guide_rows(Answer(advice=advice), 60))


@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: p.name)
@pytest.mark.parametrize("width", [26, 31, 55, 90])
def test_every_presets_figures_fit_their_pane(answers, preset, width):
    chosen = Chosen(preset, answers, True, None, False)
    assert all(len(row) <= width for row in text(detail_rows(chosen, width)).splitlines())


@pytest.fixture(scope="module")
def answers():
    from logbert_engine.estimates.asking import estimates_of
    from logbert_engine.estimates.learned import Learned
    from logbert_engine.estimates.machine import Machine
    from logbert_engine.protocol.estimates import EstimateQuery
    from logbert_engine.protocol.messages import RunSpec
    from tests.hardware.machines import machine

    query = EstimateQuery(spec=RunSpec(data="", run_dir=""), presets=list(BY_NAME), data=DATA)
    found = estimates_of(query, Machine(machine("m4-max-36"), Learned(None), {}))
    return Answer(
        {estimate.preset: estimate for estimate in found.estimates}, found.problems, tuple(found.advice)
    )


def test_documented_figures_are_marked_as_the_documents_own():
    shown = text(detail_rows(Chosen(BY_NAME["transfer"], Answer()), 60))
    assert "The source documents expect (theirs, not measured)" in shown
    assert shown.index("theirs") < shown.index("70–75%")
    assert "bert-base-uncased" in shown


@pytest.mark.parametrize("preset", [p for p in PRESETS if not p.trainable], ids=lambda p: p.name)
def test_a_preset_that_is_not_trainable_says_why(preset):
    assert "does not train a decoder" in one_line(detail_rows(Chosen(preset, Answer()), 60))


@pytest.mark.parametrize("width", [56, 76, 84, 120, 160])
@pytest.mark.parametrize("name", ["transfer", "m4max-large", "cloud-v100"])
def test_header_and_rows_have_the_same_columns(answers, width, name):
    header = text([preset_header(width)])
    row = "".join(span.text for span in preset_spans(BY_NAME[name], answers, width - LIST_MARGIN))
    assert len(row.rstrip()) <= width - LIST_MARGIN
    assert row[header[2:].index("here")] in "✓▲✗–"
    memory = header[2:].index("memory") + len("memory")
    assert row[:memory].endswith("GB")
    assert row[memory] == " "


# Data


def test_what_was_found_is_told_in_full():
    data = msgspec.structs.replace(DATA, labelled=1200, rejected=3)
    shown = one_line(panels.data_rows(data, "", False, 40))
    for words in (
        "286 files, 3.2 GB",
        "≈ 2,464,136 sessions",
        "1,843 events, 1,843 templates",
        "length 19, longest 512",
        "2025-01-01 … 2025-10-13, 286 days",
        "gateway 905, billing 611, search 484",
        "1,200 labels, which training never sees",
        "▲ 3 of the first 2,003 records rejected",
        "Looked at: the first 2,000.",
    ):
        assert words in shown


def test_of_one_small_file_nothing_is_guessed_and_of_many_services_the_most_frequent_are_told():
    services = {f"s{i}": 100 - i for i in range(20)}
    data = DataSummary(
        path="/d",
        files=1,
        bytes=912,
        peeked_sessions=40,
        peeked_all=True,
        estimated_sessions=40,
        services=services,
    )
    shown = one_line(panels.data_rows(data, "", False, 60))
    assert "1 file, 912 B 40 sessions" in shown
    assert "Looked at" not in shown
    assert "s11 89, 8 more" in shown
    assert "no labels, none rejected" in shown
    assert "no days in the files' names" in shown


def test_without_data_the_panel_says_what_to_do_first():
    shown = one_line(panels.data_rows(None, "", False, 26))
    assert shown.startswith("First name your sessions (key d)")
    assert "logbert-engine demo-data DIR" in shown
    assert one_line(panels.data_rows(None, "there is nothing here.", False, 26)) == "✗ there is nothing here."
    assert one_line(panels.data_rows(None, "", True, 26)) == "… looking"


# Copying and the mouse


async def test_y_copies_the_command_and_capital_y_the_run_yaml():
    async with picker() as pilot:
        await pilot.press("y")
        assert pilot.app.clipboard == command(pilot)
        await pilot.press("Y")
        assert pilot.app.clipboard == pilot.app.screen._planning.plan.run_yaml
        assert "Copied the run.yaml" in pilot.app.state.notices[-1].text
    async with picker(data="") as pilot:
        await pilot.press("Y")
        assert "name the data" in pilot.app.state.notices[-1].text


async def test_a_click_chooses_a_preset_and_a_double_click_leads_to_the_form():
    async with picker() as pilot:
        await pilot.click("#preset-list", offset=(5, 4))
        assert pilot.app.screen._preset.name == PRESETS[4].name
        await pilot.click("#preset-list", offset=(5, 4), times=2)
        await pilot.pause()
        assert pilot.app.screen.focused.id == "start"


async def test_the_frames_links_turn_pages_measure_and_copy():
    async with picker() as pilot:
        pane = pilot.app.screen.query_one(DetailPane)
        for name in PAGES[1:]:
            await _click_on(pilot, pane.region.y, name)
            assert pane.page == name
        await _click_on(pilot, pane.region.bottom - 1, "m measure")
        await until(pilot, lambda: pilot.app.link.named("measure"))
        assert pane.page == PAGES[0]
        await _click_on(pilot, pane.region.bottom - 1, "Y run.yaml")
        assert pilot.app.clipboard == pilot.app.screen._planning.plan.run_yaml


async def _click_on(pilot, y, words):
    line = pilot.app.screen._compositor.render_strips()[y].text
    await pilot.click(offset=(line.index(words) + 1, y))
    await pilot.pause()


@pytest.mark.parametrize("size", [(71, 24), (72, 24), (99, 37), (100, 30), (100, 38), (140, 45)])
@pytest.mark.parametrize("data", [DATA.path, "/srv/" + "a-very-long-folder/" * 6])
async def test_nothing_is_cut_at_sizes_between(uncut, size, data):
    async with picker("dgx-a100", size, data) as pilot:
        uncut(pilot.app.screen)
        assert pilot.app.screen.query_one(Form).query_one("#start").region.height == 1
