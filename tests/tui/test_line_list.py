from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region

from logbert_engine.protocol.errors import DataError, LogbertError
from logbert_tui.widgets.cells import clean, fit, width_of
from logbert_tui.widgets.line_list import LineList
from logbert_tui.widgets.pages import PAGE_ROWS, Pages
from logbert_tui.widgets.rows import Span

MILLION = 1_000_000


class Numbers:
    """Rows that count how often they are made."""

    def __init__(self, count: int = MILLION) -> None:
        self.count = count
        self.made = 0
        self.asked: list[tuple[int, int]] = []

    def row(self, index: int, width: int) -> Sequence[Span]:
        self.made += 1
        return [Span(fit(f"row {index}", width), "bad" if index % 2 else "")]

    def request(self, first: int, last: int) -> None:
        self.asked.append((first, last))


class ListApp(App[None]):
    def __init__(self, source: Numbers) -> None:
        super().__init__()
        self.source = source
        self.chosen: list[int] = []

    def compose(self) -> ComposeResult:
        yield LineList(self.source, empty="No session was scored.")

    def on_line_list_chosen(self, message: LineList.Chosen) -> None:
        self.chosen.append(message.index)


def text_of(line_list: LineList) -> list[str]:
    return [line_list.render_line(y).text.rstrip() for y in range(line_list.size.height)]


def dirty_rows(line_list: LineList) -> list[int]:
    return sorted({y for region in line_list._repaint_regions for y in region.line_range})


async def test_a_million_rows_open_at_once_and_only_the_visible_ones_are_made() -> None:
    source = Numbers()
    app = ListApp(source)
    start = time.perf_counter()
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.press("end")
        await pilot.pause()
        line_list = app.query_one(LineList)
        assert line_list.cursor == MILLION - 1
        assert "row 999999" in text_of(line_list)[-1]
        assert source.made < 1000
        assert source.asked[-1] == (MILLION - 20, MILLION)
    assert time.perf_counter() - start < 5


async def test_moving_the_cursor_repaints_two_rows_and_nothing_else() -> None:
    app = ListApp(Numbers())
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.pause()
        line_list = app.query_one(LineList)
        assert dirty_rows(line_list) == []
        line_list.action_cursor_down()
        assert dirty_rows(line_list) == [0, 1]
        assert all(region.width == 60 for region in line_list._repaint_regions)
        await pilot.pause()
        line_list.repaint()
        assert dirty_rows(line_list) == []


@pytest.mark.parametrize(
    ("keys", "cursor"),
    [
        (("j", "j", "k"), 1),
        (("down", "down", "up"), 1),
        (("pagedown",), 20),
        (("pagedown", "pagedown", "pageup"), 20),
        (("G",), MILLION - 1),
        (("end", "home"), 0),
        (("G", "g"), 0),
        (("k",), 0),
    ],
)
async def test_every_key_moves_the_cursor_and_keeps_it_in_view(keys: tuple[str, ...], cursor: int) -> None:
    app = ListApp(Numbers())
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.press(*keys)
        await pilot.pause()
        line_list = app.query_one(LineList)
        assert line_list.cursor == cursor
        assert line_list.top <= cursor < line_list.top + 20
        assert text_of(line_list)[cursor - line_list.top].startswith(f"▌ row {cursor}")


async def test_enter_takes_the_row_under_the_cursor() -> None:
    app = ListApp(Numbers())
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.press("j", "j", "enter")
        await pilot.pause()
        assert app.chosen == [2]


async def test_a_smaller_window_keeps_the_cursor_in_view() -> None:
    app = ListApp(Numbers())
    async with app.run_test(size=(60, 30)) as pilot:
        await pilot.press(*["j"] * 25)
        await pilot.resize_terminal(60, 10)
        await pilot.pause()
        line_list = app.query_one(LineList)
        assert line_list.cursor == 25
        assert line_list.top <= 25 < line_list.top + 10


async def test_an_empty_list_says_so_and_takes_no_key_amiss() -> None:
    app = ListApp(Numbers(0))
    async with app.run_test(size=(60, 5)) as pilot:
        await pilot.press("j", "G", "pageup", "enter")
        await pilot.pause()
        assert "No session was scored." in text_of(app.query_one(LineList))[0]
        assert app.chosen == []


async def test_without_colours_every_strip_still_has_a_style(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = ListApp(Numbers(3))
    async with app.run_test(size=(60, 10)) as pilot:
        await pilot.press("j")
        await pilot.pause()
        line_list = app.query_one(LineList)
        for strip in line_list.render_lines(Region(0, 0, 60, 10)):
            assert all(segment.style is not None for segment in strip)
        assert "▌ row 1" in text_of(line_list)[1]


async def test_pages_are_fetched_once_and_the_oldest_are_let_go() -> None:
    asked: list[int] = []
    waiting = []

    async def fetch(offset: int, most: int) -> list[int]:
        asked.append(offset)
        return list(range(offset, min(offset + most, 1000)))

    pages: Pages[int] = Pages(fetch, waiting.append, lambda: None, pytest.fail, most_pages=2)
    pages.count = 1000
    pages.request(150, 250)
    pages.request(150, 250)
    assert pages.get(150) is None
    for coroutine in waiting:
        await coroutine
    assert asked == [0, PAGE_ROWS]
    assert (pages.get(150), pages.get(249)) == (150, 249)
    waiting.clear()
    pages.request(990, 1000)
    for coroutine in waiting:
        await coroutine
    assert pages.get(999) == 999
    assert pages.get(150) is None


async def test_a_page_that_cannot_be_had_is_told_in_one_sentence_and_asked_for_again() -> None:
    told: list[LogbertError] = []
    answers = [DataError("results.json was removed: run the inference again."), None]
    waiting = []

    async def fetch(offset: int, most: int) -> list[int]:
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return list(range(offset, offset + most))

    pages: Pages[int] = Pages(fetch, waiting.append, lambda: None, told.append)
    pages.count = 10
    pages.request(0, 10)
    await waiting.pop()
    assert [str(error) for error in told] == ["results.json was removed: run the inference again."]
    pages.request(0, 10)
    await waiting.pop()
    assert pages.get(3) == 3


def test_text_from_a_log_cannot_steer_the_terminal() -> None:
    assert clean("a\x1b[2Jb\x9bc\u202ed\ud800") == "a\ufffd[2Jb\ufffdc\ufffdd\ufffd"
    assert clean("a\tb") == "a       b"


@pytest.mark.parametrize("text", ["plain", "한글 텍스트입니다", "é mixed 漢字", ""])
@pytest.mark.parametrize("width", [0, 1, 2, 5, 9, 40])
def test_a_fitted_text_takes_exactly_its_width(text: str, width: int) -> None:
    assert width_of(fit(text, width)) == width
    assert width_of(fit(text, width, right=True)) == width
