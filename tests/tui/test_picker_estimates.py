"""The picker's estimates and measurements: what is asked, when, and what is made of the answers."""

from __future__ import annotations

import json
import re

import pytest
from textual.widgets import Input

from logbert_engine.protocol.errors import EngineError
from logbert_engine.protocol.estimates import MeasureQuery, Measuring
from logbert_engine.protocol.messages import RunInfo, RunSpec
from logbert_tui.app import LogbertApp
from logbert_tui.link import EngineLink
from logbert_tui.screens.picker_fields import Form
from logbert_tui.widgets.frame import KeyLine
from logbert_tui.widgets.line_list import LineList
from logbert_tui.widgets.text_view import TextView
from tests.tui.picking import DATA, PRESETS, has_settled, picker, until

NAMES = [preset.name for preset in PRESETS]


async def put(pilot, field, text):
    pilot.app.screen.query_one(Form).query_one(f"#{field}", Input).value = text
    await pilot.pause()


async def choose(pilot, name):
    pilot.app.screen.query_one("#preset-list", LineList).move_to(NAMES.index(name))
    await pilot.pause()


def figures(pilot):
    return pilot.app.screen.query_one("#figures", TextView).text


def one_line(text):
    return " ".join(text.split())


def settled(pilot):
    return lambda: has_settled(pilot.app)


async def test_all_presets_are_asked_about_at_once_with_the_data_and_not_again_for_another_row():
    async with picker() as pilot:
        (query,) = pilot.app.link.named("estimate")
        assert (query.presets, query.data) == (NAMES, DATA)
        await choose(pilot, "full")
        await until(pilot, settled(pilot))
        assert len(pilot.app.link.named("estimate")) == 1


async def test_the_forms_settings_are_asked_about_when_typing_rests_and_the_run_directory_does_not_matter():
    async with picker() as pilot:
        for text in ("5", "50", "50%"):
            await put(pilot, "sample_ratio", text)
        await put(pilot, "overrides", "training.micro_batch=2")
        await until(pilot, settled(pilot))
        first, last = pilot.app.link.named("estimate")
        assert (first.spec.sample_ratio, last.spec.sample_ratio) == (None, 0.5)
        assert last.spec.overrides == ["training.micro_batch=2"]
        await put(pilot, "run_dir", "/elsewhere")
        await until(pilot, settled(pilot))
        assert len(pilot.app.link.named("estimate")) == 2


async def test_one_question_at_a_time_and_an_answer_to_an_older_one_is_dropped(text_of):
    async with picker(hold=True) as pilot:
        link, screen = pilot.app.link, pilot.app.screen
        await until(pilot, lambda: link.at_once)
        await put(pilot, "max_ratio", "20%")
        await until(pilot, lambda: link.named("plan_run") and link.named("plan_run")[-1].max_ratio == 0.2)
        assert len(link.named("estimate")) == 1
        seen = []
        shown = screen._estimating._changed
        screen._estimating._changed = lambda: (seen.append(screen._estimating.answer), shown())
        link.gate.set()
        await until(pilot, settled(pilot))
        answered = [answer for answer in seen if not answer.waiting]
        assert [answer.estimates["small"].stages[-1].ratio for answer in answered] == [0.2]
        assert link.most_at_once == 1
        assert "✓ fits" in text_of(screen)


async def test_until_the_first_answer_comes_the_columns_wait_and_the_rest_works(text_of):
    async with picker(hold=True) as pilot:
        await until(pilot, lambda: pilot.app.link.at_once)
        shown = text_of(pilot.app.screen)
        row = next(line for line in shown.splitlines() if "m4max-medium" in line)
        assert row.count("…") == 5
        assert "estimating …" in shown
        assert "asking what this machine can do" in shown
        await pilot.press("j")
        assert pilot.app.screen.query_one("#preset-list", LineList).cursor == 1
        pilot.app.link.gate.set()
        await until(pilot, settled(pilot))
        assert "estimating" not in text_of(pilot.app.screen)


async def test_an_engine_that_cannot_estimate_says_why_and_is_asked_again_with_the_next_change(text_of):
    async with picker(hold=True) as pilot:
        pilot.app.link.problem = "the probe of this machine failed."
        pilot.app.link.gate.set()
        await until(pilot, lambda: "the probe of this machine failed." in text_of(pilot.app.screen))
        pilot.app.link.problem = ""
        await put(pilot, "max_files", "3")
        await until(pilot, settled(pilot))
        assert "✓ fits" in text_of(pilot.app.screen)
        assert "the probe" not in text_of(pilot.app.screen)


async def test_a_setting_that_one_preset_cannot_have_is_that_presets_problem_alone():
    async with picker() as pilot:
        await put(pilot, "overrides", "training.duplicate_weight=2")
        await until(pilot, lambda: len(pilot.app.link.named("estimate")) == 2)
        await until(pilot, settled(pilot))
        await put(pilot, "overrides", "model.hidden=130")
        await until(pilot, lambda: len(pilot.app.link.named("estimate")) == 3)
        await until(pilot, settled(pilot))
        await choose(pilot, "small")
        assert "▲" in figures(pilot)
        assert "130" in figures(pilot)


async def test_the_figures_have_a_range_and_say_where_they_come_from():
    async with picker("m4-max-36") as pilot:
        await choose(pilot, "full")
        text = one_line(figures(pilot))
        assert re.search(r"whole run \S+ h \(\S+ h–\d+ h\), computed", text)
        assert "computed; " not in text.partition("memory")[0]
        for part in ("weights", "optimizer", "activations", "parameters", "embeddings", "FLOP a step"):
            assert part in text
        assert "stage sessions steps time 100%" in text
        await choose(pilot, "m4max-medium")
        text = one_line(figures(pilot))
        assert "On Apple M4 Max, 14 cores, 32-core GPU, 36 GB, which it was made for (computed)" in text
        assert "That cannot be reached" in text
        assert (
            text.index("That cannot be reached") < text.index("theirs, not measured") < text.index("below 15")
        )
        assert text.endswith("taken for granted: sequences of text fill the training length")


async def test_a_preset_that_is_too_large_has_no_time_and_one_above_its_budget_says_so():
    async with picker("m4-pro-24") as pilot:
        await choose(pilot, "m4max-large")
        text = one_line(figures(pilot))
        assert "✗ does not fit on Apple M4 Pro" in text
        assert "whole run" not in text.partition("On Apple M4 Max")[0]
        await put(pilot, "max_memory_mb", "1000")
        await until(pilot, settled(pilot))
        await choose(pilot, "transfer")
        assert "above the budget of 1.0 GB" in one_line(figures(pilot))


# Settings that make it fit


async def test_x_puts_the_verdicts_settings_into_the_form_beside_others_and_then_it_fits(text_of):
    async with picker("m4-pro-24") as pilot:
        keys = pilot.app.screen.query_one(KeyLine)
        assert "make it fit" not in keys.text
        await choose(pilot, "full")
        await put(pilot, "overrides", "training.micro_batch=32 seed=3")
        await until(pilot, lambda: "make it fit" in keys.text)
        await until(pilot, settled(pilot))
        assert "x make it fit" in text_of(pilot.app.screen)
        await pilot.press("x")
        await until(pilot, settled(pilot))
        value = pilot.app.screen.query_one("#overrides", Input).value
        assert value == "seed=3 training.micro_batch=8"
        assert pilot.app.screen._chosen.verdict.fit == "fits"
        assert "--set training.micro_batch=8" in pilot.app.screen._planning.plan.command


async def test_x_on_a_preset_that_fits_as_it_is_says_so():
    async with picker() as pilot:
        await pilot.press("x")
        assert "Nothing to set: quick fits on" in pilot.app.state.notices[-1].text


# Measuring


async def measuring(pilot, **told):
    await pilot.press("m")
    await until(pilot, lambda: pilot.app.link.named("measure"))
    pilot.app.state.set_measuring(Measuring(id=7, preset="quick", **told))
    pilot.app.screen.tick()
    await pilot.pause()


async def test_m_measures_the_chosen_preset_and_shows_how_far_it_is():
    async with picker() as pilot:
        await measuring(pilot, step=7, steps=20)
        (query,) = pilot.app.link.named("measure")
        assert (query.spec.preset, query.data) == ("quick", DATA)
        assert "measuring quick: step 7 of 20; m or Esc cancels" in one_line(figures(pilot))
        assert "A run is training" not in figures(pilot)


async def test_what_is_measured_replaces_the_estimate():
    async with picker() as pilot:
        await measuring(pilot, step=20, steps=20)
        pilot.app.state.set_measuring(Measuring(id=7, preset="quick", state="finished"))
        await until(pilot, lambda: len(pilot.app.link.named("estimate")) == 2)
        await until(pilot, settled(pilot))
        assert "measuring" not in figures(pilot)
        assert pilot.app.state.notices[-1].text == "Quick was measured on this machine."


async def test_the_end_of_a_measurement_may_be_heard_before_its_beginning_is_answered():
    async with picker() as pilot:
        pilot.app.state.set_measuring(Measuring(id=7, preset="quick", state="failed", message="no room."))
        await pilot.press("m")
        await until(pilot, lambda: pilot.app.state.notices)
        assert pilot.app.state.notices[-1].text == "Measuring quick failed: no room."
        assert "measuring quick" not in figures(pilot)


@pytest.mark.parametrize("key", ["m", "escape"])
async def test_m_or_esc_cancels_a_measurement(key):
    async with picker() as pilot:
        await measuring(pilot, step=3, steps=20)
        await pilot.press(key)
        await until(pilot, lambda: pilot.app.link.named("cancel_measure"))
        assert pilot.app.link.named("cancel_measure")[0].id == 7
        assert pilot.app.shown == "picker"
        ended = Measuring(id=7, preset="quick", state="failed", message="cancelled.")
        pilot.app.state.set_measuring(ended)
        await until(pilot, lambda: pilot.app.state.notices)
        assert "nothing was learnt" in pilot.app.state.notices[-1].text
        assert "measuring quick" not in figures(pilot)


async def test_a_measurement_that_is_cancelled_before_it_has_begun_is_ended_when_it_has():
    async with picker() as pilot:
        pilot.app.link.gate.clear()
        await pilot.press("m")
        await until(pilot, lambda: pilot.app.link.named("measure"))
        await pilot.press("escape")
        assert pilot.app.link.named("cancel_measure") == []
        pilot.app.link.gate.set()
        await until(pilot, lambda: pilot.app.link.named("cancel_measure"))


async def test_on_a_very_narrow_terminal_a_measurement_is_shown_in_the_forms_place(text_of):
    async with picker(size=(60, 20)) as pilot:
        await measuring(pilot, step=7, steps=20)
        assert "step 7 of 20" in text_of(pilot.app.screen)


async def test_an_engine_that_refuses_to_measure_says_why():
    async with picker() as pilot:
        pilot.app.link.problem = "a measurement is under way already; cancel it, or wait for its end."
        await pilot.press("m")
        await until(pilot, lambda: pilot.app.state.notices)
        assert "under way already" in pilot.app.state.notices[-1].text
        assert pilot.app.state.notices[-1].severity == "error"


async def test_a_measurement_while_a_run_trains_says_what_that_does_to_it():
    busy = [RunInfo(run_dir="/home/ana/runs/b", phase="training", stage=1, stages=2)]
    async with picker(runs=busy) as pilot:
        await measuring(pilot, step=1, steps=20)
        assert "A run is training here" in one_line(figures(pilot))


async def test_a_measurement_that_the_engine_took_with_it_is_over(text_of):
    async with picker() as pilot:
        await measuring(pilot, step=1, steps=20)
        pilot.app.state.disconnected("The engine went away.")
        await until(pilot, lambda: "measuring quick" not in figures(pilot))
        assert "connection to the engine was lost" in pilot.app.state.notices[-1].text


async def test_a_read_only_console_may_not_measure():
    async with picker() as pilot:
        pilot.app.state.read_only = True
        with pytest.raises(EngineError, match="read-only"):
            await EngineLink(pilot.app.state).call("measure", MeasureQuery(spec=RunSpec(data="", run_dir="")))


# With an engine


async def test_an_engine_estimates_the_presets_and_measures_one(tmp_path, text_of):
    data = tmp_path / "sessions.json"
    sessions = [{"session_id": i, "event_sequence": [1, 2, 3, i % 7]} for i in range(300)]
    data.write_text(json.dumps(sessions))
    app = LogbertApp(data=str(data))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "✓ fits" in text_of(app.screen), 60)
        await choose(pilot, "demo")
        await pilot.press("m")
        await until(pilot, lambda: any("was measured" in n.text for n in app.state.notices), 120)
        await until(pilot, lambda: "whole run" in figures(pilot) and ", measured" in figures(pilot), 60)
        await app.link.call("shutdown")
