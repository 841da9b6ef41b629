from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from textual.app import App, ComposeResult
from textual.pilot import Pilot

from logbert_engine.daemon.logs import read_chunk
from logbert_engine.protocol.errors import StorageError
from logbert_engine.protocol.messages import LogChunk
from logbert_tui.widgets.log_buffer import LogBuffer
from logbert_tui.widgets.log_view import LogView


class FileReader:
    """Reads a real file as the engine does, and counts the reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reads: list[tuple[int, int]] = []

    async def __call__(self, start: int, most: int) -> LogChunk:
        self.reads.append((start, most))
        try:
            return read_chunk(self.path, start, most)
        except FileNotFoundError as error:
            raise StorageError(f"{self.path.name} is gone.") from error


class LogApp(App[None]):
    def compose(self) -> ComposeResult:
        yield LogView(empty="No line yet.")


def line(number: int, level: str = "INFO", message: str = "step") -> str:
    minute, second = number // 60 % 60, number % 60
    return f"2026-01-02 03:{minute:02d}:{second:02d} {level:<7} stage_1_10pct: {message} {number}\n"


def write(path: Path, count: int, special: dict[int, tuple[str, str]] | None = None) -> Path:
    special = special or {}
    with path.open("w") as file:
        for number in range(count):
            file.write(line(number, *special.get(number, ("INFO", "step"))))
    return path


def shown(view: LogView) -> list[str]:
    return [view.render_line(y).text.rstrip("│┃ ") for y in range(view.size.height)]


async def until(pilot: Pilot[None], condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await pilot.pause()


async def opened(pilot: Pilot[None], path: Path) -> tuple[LogView, FileReader]:
    view, reader = pilot.app.query_one(LogView), FileReader(path)
    await view.open(reader)
    await pilot.pause()
    return view, reader


async def test_a_log_opens_at_its_end_with_one_small_read(tmp_path: Path) -> None:
    path = write(tmp_path / "run.log", 200_000)
    async with LogApp().run_test(size=(100, 20)) as pilot:
        view, reader = await opened(pilot, path)
        assert len(reader.reads) == 1
        assert view.follow
        assert shown(view)[-1].endswith("step 199999")
        assert all(text.startswith("  2026-01-02") for text in shown(view))


async def test_new_lines_are_followed_and_an_unfinished_line_is_completed_in_place(tmp_path: Path) -> None:
    path = write(tmp_path / "run.log", 30)
    async with LogApp().run_test(size=(100, 10)) as pilot:
        view, _ = await opened(pilot, path)
        with path.open("a") as file:
            file.write("half a li")
        await view.poll()
        assert shown(view)[-1] == "  half a li"
        with path.open("a") as file:
            file.write("ne\nanother\n")
        await view.poll()
        assert shown(view)[-2:] == ["  half a line", "  another"]
        assert len(view.buffer.lines) == 32


async def test_scrolling_up_stops_following_and_end_takes_it_up_again(tmp_path: Path) -> None:
    path = write(tmp_path / "run.log", 100)
    async with LogApp().run_test(size=(100, 10)) as pilot:
        view, _ = await opened(pilot, path)
        view.scroll_rows_to(view.top - 1)
        assert not view.follow
        before = shown(view)
        with path.open("a") as file:
            file.write(line(100))
        await view.poll()
        assert shown(view) == before
        view.to_last()
        assert view.follow
        assert shown(view)[-1].endswith("step 100")


async def test_older_pages_are_read_when_the_view_comes_near_them_without_a_jump(tmp_path: Path) -> None:
    path = write(tmp_path / "run.log", 50_000)
    async with LogApp().run_test(size=(100, 10)) as pilot:
        view, _ = await opened(pilot, path)
        held = len(view.buffer.lines)
        view.scroll_rows_to(5)
        before = shown(view)
        await until(pilot, lambda: len(view.buffer.lines) > held)
        assert shown(view) == before
        while not view.buffer.at_start:
            held = view.buffer.start
            view.scroll_rows_to(0)
            await until(pilot, lambda held=held: view.buffer.start < held)  # type: ignore[misc]
        assert [text.split()[-1] for text in view.buffer.lines] == [str(n) for n in range(50_000)]


async def test_a_huge_log_keeps_memory_bounded_in_both_directions(tmp_path: Path) -> None:
    path = write(tmp_path / "run.log", 60_000)
    async with LogApp().run_test(size=(100, 10)) as pilot:
        view = pilot.app.query_one(LogView)
        view.buffer = LogBuffer()
        await opened(pilot, path)
        view.buffer.most_lines = 8_000
        while not view.buffer.at_start:
            held = view.buffer.start
            view.scroll_rows_to(0)
            await until(pilot, lambda held=held: view.buffer.start < held)  # type: ignore[misc]
        assert len(view.buffer.lines) < 16_000
        assert not view.buffer.at_end
        view.scroll_rows_to(0)
        await pilot.pause()
        assert shown(view)[0].endswith("step 0")
        while not view.buffer.at_end:
            end = view.buffer.end
            view.scroll_rows_to(view.last_top)
            await until(pilot, lambda end=end: view.buffer.end > end)  # type: ignore[misc]
        view.scroll_rows_to(view.last_top)
        assert shown(view)[-1].endswith("step 59999")
        assert len(view.buffer.lines) < 16_000


async def test_home_and_end_of_a_long_log_take_one_read_each(tmp_path: Path) -> None:
    path = write(tmp_path / "run.log", 100_000)
    async with LogApp().run_test(size=(100, 10)) as pilot:
        view, reader = await opened(pilot, path)
        reads = len(reader.reads)
        view.to_first()
        await until(pilot, lambda: view.buffer.at_start)
        assert shown(view)[0].endswith("step 0")
        assert len(reader.reads) == reads + 1
        view.to_last()
        await until(pilot, lambda: view.buffer.at_end)
        assert shown(view)[-1].endswith("step 99999")
        assert len(reader.reads) <= reads + 3


async def test_five_thousand_lines_a_second_are_cheap(tmp_path: Path) -> None:
    path = write(tmp_path / "run.log", 60_000)
    async with LogApp().run_test(size=(120, 40)) as pilot:
        view, _ = await opened(pilot, path)
        view.search("step .*7")
        view.to_last()
        spent = 0.0
        for poll in range(8):
            with path.open("a") as file:
                file.writelines(line(n) for n in range(1250))
            start = time.process_time()
            await view.poll()
            await pilot.pause(0)
            spent += time.process_time() - start
            assert view.buffer.at_end, poll
        assert len(view.buffer.lines) < 60_000
        assert spent < 1.0, f"{spent:.2f} s of processor for 2 s of log"


async def test_a_tail_that_is_far_behind_goes_straight_to_the_end(tmp_path: Path) -> None:
    path = write(tmp_path / "run.log", 10)
    async with LogApp().run_test(size=(100, 10)) as pilot:
        view, reader = await opened(pilot, path)
        write(path, 200_000)
        await view.poll()
        assert shown(view)[-1].endswith("step 199999")
        assert len(reader.reads) <= 3


async def test_a_log_that_was_replaced_is_read_afresh(tmp_path: Path) -> None:
    path = write(tmp_path / "run.log", 500)
    async with LogApp().run_test(size=(100, 10)) as pilot:
        view, _ = await opened(pilot, path)
        path.write_text(line(1, "INFO", "new attempt"))
        await view.poll()
        assert [text.split("pct: ")[1] for text in view.buffer.lines] == ["new attempt 1"]


async def test_a_log_that_cannot_be_read_is_said_in_one_sentence_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    async with LogApp().run_test(size=(100, 5)) as pilot:
        view, _ = await opened(pilot, path)
        assert shown(view)[0] == "  run.log is gone."
        write(path, 3)
        await view.poll()
        assert view.problem == ""
        assert shown(view)[2].endswith("step 2")


async def test_an_empty_log_says_so(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.touch()
    async with LogApp().run_test(size=(100, 5)) as pilot:
        view, _ = await opened(pilot, path)
        assert shown(view)[0] == "  No line yet."


async def test_search_counts_matches_and_goes_through_them(tmp_path: Path) -> None:
    path = write(
        tmp_path / "run.log", 300, {50: ("INFO", "Needle"), 120: ("INFO", "needle"), 290: ("INFO", "NEEDLE")}
    )
    async with LogApp().run_test(size=(100, 20)) as pilot:
        view, _ = await opened(pilot, path)
        view.search("needle")
        assert (view.mark, view.counted()) == (290, (3, 3))
        view.next_match(-1)
        await until(pilot, lambda: view.mark == 120)
        assert view.counted() == (2, 3)
        assert not view.follow
        assert any("needle 120" in text for text in shown(view))
        view.next_match(1)
        await until(pilot, lambda: view.mark == 290)
        view.next_match(1)
        await until(pilot, lambda: view.says == "No match below.")
        view.search("Needle")
        assert view.counted() == (1, 1)


async def test_search_goes_on_into_the_part_of_the_file_that_is_not_held(tmp_path: Path) -> None:
    path = write(tmp_path / "run.log", 100_000, {777: ("ERROR", "disk full"), 60_000: ("INFO", "disk found")})
    async with LogApp().run_test(size=(100, 20)) as pilot:
        view, _ = await opened(pilot, path)
        view.search("disk")
        await until(pilot, lambda: view.mark is not None)
        assert "disk found 60000" in view.buffer.lines[view.mark or 0]
        view.next_match(-1)
        await until(pilot, lambda: view.mark is not None and "disk full 777" in view.buffer.lines[view.mark])
        assert any("disk full 777" in text for text in shown(view))
        view.next_match(1)
        await until(pilot, lambda: view.mark is not None and "60000" in view.buffer.lines[view.mark])
        view.search("no such words anywhere")
        await until(pilot, lambda: view.says == "No match in this log.")


async def test_the_next_warning_or_error_is_a_key_away(tmp_path: Path) -> None:
    path = write(tmp_path / "run.log", 300, {40: ("WARNING", "memory"), 200: ("ERROR", "out of memory")})
    async with LogApp().run_test(size=(100, 20)) as pilot:
        view, _ = await opened(pilot, path)
        view.next_trouble(-1)
        await until(pilot, lambda: view.mark == 200)
        view.next_trouble(-1)
        await until(pilot, lambda: view.mark == 40)
        view.next_trouble(-1)
        await until(pilot, lambda: view.says == "No warning or error above.")
        view.next_trouble(1)
        await until(pilot, lambda: view.mark == 200)
        assert any(text.startswith("✗ 2026") for text in shown(view))


async def test_another_log_opened_during_a_read_wins(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one.log", 10), write(tmp_path / "two.log", 20)
    async with LogApp().run_test(size=(100, 10)) as pilot:
        view = pilot.app.query_one(LogView)
        release = asyncio.Event()

        async def slow(start: int, most: int) -> LogChunk:
            await release.wait()
            return await FileReader(one)(start, most)

        first = asyncio.create_task(view.open(slow))
        await pilot.pause()
        second = asyncio.create_task(view.open(FileReader(two)))
        await pilot.pause()
        release.set()
        await asyncio.gather(first, second)
        assert len(view.buffer.lines) == 20


async def test_long_lines_are_cut_with_a_mark_and_scroll_sideways(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_text("x" * 90 + "TAIL\n" + "short\n")
    async with LogApp().run_test(size=(50, 4)) as pilot:
        view, _ = await opened(pilot, path)
        assert shown(view)[0] == "  " + "x" * 47 + "›"
        view.scroll_sideways(1000)
        assert shown(view)[0].endswith("TAIL")
        assert shown(view)[0].startswith("  ‹")
        assert shown(view)[1].strip() == "‹"
        view.scroll_sideways(-1000)
        assert shown(view)[1] == "  short"


async def test_a_log_repaints_only_the_rows_that_changed(tmp_path: Path) -> None:
    path = write(tmp_path / "run.log", 3)
    async with LogApp().run_test(size=(100, 10)) as pilot:
        view, _ = await opened(pilot, path)
        await pilot.pause()
        with path.open("a") as file:
            file.write(line(3))
        await view.poll()
        assert sorted({y for region in view._repaint_regions for y in region.line_range}) == [3]
