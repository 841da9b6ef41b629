"""The help screen."""

from __future__ import annotations

import pytest

from logbert_tui.screens.help import help_text
from logbert_tui.widgets.text_view import TextView


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 20)])
async def test_the_help_reads_whole_at_any_size_by_scrolling(console, text_of, uncut, size):
    async with console(size=size, screen="help") as pilot:
        screen = pilot.app.screen
        uncut(screen)
        view = screen.query_one(TextView)
        assert "Everywhere" in text_of(screen)
        seen = text_of(screen)
        while view.top < view.last_top:
            await pilot.press("pagedown")
            await pilot.pause()
            seen += text_of(screen)
        flat = " ".join(seen.split())
        for group in ("Everywhere", "Presets: start a run", "Run: watch and steer", "At a question"):
            assert group in flat
        width = view.size.width - 1
        assert all(sum(len(text) for text, _ in row) <= width for row in help_text(width))


async def test_a_line_down_and_up_by_key(console):
    async with console(size=(80, 24), screen="help") as pilot:
        view = pilot.app.screen.query_one(TextView)
        await pilot.press("j", "j", "k")
        assert view.top == 1
        await pilot.press("G")
        assert view.top == view.last_top
        await pilot.press("g")
        assert view.top == 0


async def test_escape_goes_back_to_where_the_help_was_called(console):
    async with console(screen="run") as pilot:
        await pilot.press("question_mark")
        assert pilot.app.shown == "help"
        await pilot.press("escape")
        assert pilot.app.shown == "run"
