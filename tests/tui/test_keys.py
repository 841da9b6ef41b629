"""The table of keys: one source for bindings, key line and help."""

from __future__ import annotations

from collections import Counter

import pytest

from logbert_tui.app import LogbertApp
from logbert_tui.keys import KEYS, TITLES, bindings, help_rows, key_bar
from logbert_tui.screens.confirm import ConfirmScreen
from logbert_tui.screens.help import HelpScreen, help_text
from logbert_tui.screens.picker import PickerScreen
from logbert_tui.screens.picker_fields import Form
from logbert_tui.screens.run import RunScreen
from logbert_tui.widgets.choice import Choice
from logbert_tui.widgets.frame import KeyLine
from logbert_tui.widgets.line_list import LineList
from logbert_tui.widgets.text_field import TextField
from logbert_tui.widgets.text_view import TextView

HOLDERS = {
    "everywhere": LogbertApp,
    "picker": PickerScreen,
    "run": RunScreen,
    "stop": ConfirmScreen,
    "list": LineList,
    "text": TextView,
    "form": Form,
    "field": TextField,
    "choice": Choice,
}


def test_every_key_says_what_it_does():
    assert all(key.help.endswith(".") and key.label for key in KEYS)


def test_names_for_keymaps_are_unique():
    assert [name for name, times in Counter(key.id for key in KEYS).items() if times > 1] == []


@pytest.mark.parametrize("where", list(TITLES))
def test_no_key_does_two_things_in_one_place(where):
    names = Counter(name for key in KEYS if key.where == where for name in key.names)
    assert [name for name, times in names.items() if times > 1] == []


@pytest.mark.parametrize("where", list(HOLDERS))
def test_every_action_in_the_table_exists_where_it_is_bound(where):
    for key in KEYS:
        if key.where == where:
            holder = LogbertApp if key.action.startswith("app.") else HOLDERS[where]
            assert hasattr(holder, "action_" + key.action.removeprefix("app.").split("(")[0]), key


@pytest.mark.parametrize(("where", "holder"), list(HOLDERS.items()))
def test_what_is_bound_is_what_the_table_says(where, holder):
    assert bindings(where) == holder.BINDINGS


def test_bindings_carry_id_and_tooltip():
    assert all(binding.id and binding.tooltip for where in TITLES for binding in bindings(where))


def test_the_help_holds_every_key_of_the_table():
    text = "\n".join("".join(part for part, _ in row) for row in help_text(200))
    for key in KEYS:
        assert key.help in text
        assert key.every_display in text
    assert sum(len(keys) for _, keys in help_rows()) == len(KEYS)


def test_the_key_line_leaves_out_keys_that_the_screen_uses_otherwise():
    for where in ("picker", "run", "logs", "inference"):
        shown = [key.display for key in key_bar(where)]
        assert len(shown) == len(set(shown)), where


def test_keys_that_change_a_run_are_marked():
    marked = {key.id for key in KEYS if key.control}
    assert {"picker.start", "run.pause", "run.resume", "run.restart_stage", "run.stop"} <= marked


def test_help_screen_has_no_keys_of_its_own_but_its_text_scrolls():
    assert HelpScreen.WHERE == "help"
    assert any(key.where == "text" for key in KEYS)


@pytest.mark.parametrize("where", ["picker", "logs", "inference"])
def test_while_a_field_has_the_focus_no_key_is_offered_that_it_takes_as_text(where):
    offered = key_bar(where, typing=True)
    assert {"field.next", "field.leave"} <= {key.id for key in offered}
    assert all(
        name in ("tab", "escape", "f5") or name.startswith("ctrl+") for k in offered for name in k.names
    )


@pytest.mark.parametrize("where", ["inference", "session"])
def test_every_key_that_judges_is_in_the_bar_at_120_columns(where):
    line = KeyLine(where)
    (row,) = line.build(120, 1)
    shown = "".join(text for text, _ in row).rstrip()
    for words in ("N normal", "A anomaly", "I ignore", "S suppress", "U undo"):
        assert words in " ".join(shown.split()), shown
