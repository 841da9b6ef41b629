from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from logbert_engine.daemon.logs import read_chunk
from logbert_engine.protocol import messages as m
from logbert_engine.protocol.errors import StorageError
from logbert_engine.rundir.layout import RunLayout
from logbert_tui.app import LogbertApp
from logbert_tui.link import EngineLink
from logbert_tui.screens.logs import FileLine, StatusLine, file_labels, file_row
from logbert_tui.state import ConsoleState
from logbert_tui.widgets.log_view import LogView


class FilesLink(EngineLink):
    """Answers the calls of the logs screen from the run directory itself."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(state)
        self.calls: list[str] = []

    def start(self) -> None:
        """There is no engine to connect to."""

    async def call(self, method: str, params: msgspec.Struct | None = None) -> Any:
        self.calls.append(method)
        if isinstance(params, m.RunRef):
            root = Path(params.run_dir)
            files = RunLayout(root).log_files()
            return m.LogFiles(
                files=[
                    m.LogFile(name=str(path.relative_to(root)), size=path.stat().st_size) for path in files
                ]
            )
        assert isinstance(params, m.ReadLog)
        path = Path(params.run_dir) / params.name
        if not path.exists():
            raise StorageError(f"{params.name} is gone.")
        return read_chunk(path, params.start, params.most)


def entry(number: int, level: str = "INFO", message: str = "loss 0.5") -> str:
    return (
        f"2026-01-02 03:{number // 60:02d}:{number % 60:02d} {level:<7} stage_1_10pct: {message} {number}\n"
    )


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    layout = RunLayout(tmp_path / "run")
    layout.logs.mkdir(parents=True)
    for index, ratio in ((1, 10), (2, 20)):
        stage = layout.stage(f"stage_{index}_{ratio}pct")
        stage.logs.mkdir(parents=True)
        stage.new_log(1_767_000_000 + index).write_text("".join(entry(n) for n in range(5)))
    special = {20: ("WARNING", "memory at 93%"), 40: ("ERROR", "disk full")}
    lines = [entry(n, *special.get(n, ("INFO", "loss 0.5"))) for n in range(100)]
    layout.new_log(1_767_000_000).write_text("".join(lines))
    return layout.root


def app_of(run_dir: Path | None) -> LogbertApp:
    app = LogbertApp()
    app.link = FilesLink(app.state)
    if run_dir is not None:
        app.state.follow(str(run_dir))
    return app


def screen_text(app: LogbertApp) -> list[str]:
    return [strip.text for strip in app.screen._compositor.render_strips()]


async def until(pilot: Pilot[Any], condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "\n".join(strip for strip in screen_text(pilot.app))  # type: ignore[arg-type]
        await pilot.pause()


async def on_logs(
    run_dir: Path, size: tuple[int, int], act: Callable[[Pilot[Any], LogView], Awaitable[None]]
) -> None:
    app = app_of(run_dir)
    async with app.run_test(size=size) as pilot:
        await app.show("logs")
        await pilot.pause()
        view = app.screen.query_one(LogView)
        await until(pilot, lambda: view.buffer.lines)
        await act(pilot, view)


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 20)])
async def test_every_log_of_the_run_is_named_and_the_latest_lines_are_shown(
    run_dir: Path, size: tuple[int, int]
) -> None:
    async def act(pilot: Pilot[Any], view: LogView) -> None:
        text = screen_text(pilot.app)  # type: ignore[arg-type]
        assert text[1].split() == ["1/3", "run", "stage", "1", "10%", "stage", "2", "20%"]
        assert text[-3].rstrip("│┃ ").endswith("loss 0.5 99")
        assert text[-2].startswith(" ● following")
        assert all(len(line) == size[0] for line in text)
        row = next(line for line in text if "loss 0.5 98" in line)
        assert row.startswith("  2026-01-02 03:01:38 INFO")

    await on_logs(run_dir, size, act)


async def test_lines_written_now_appear_by_themselves(run_dir: Path) -> None:
    async def act(pilot: Pilot[Any], view: LogView) -> None:
        with RunLayout(run_dir).log_files()[0].open("a") as file:
            file.write(entry(7, "INFO", "fresh line"))
        await until(pilot, lambda: any("fresh line 7" in line for line in screen_text(pilot.app)))  # type: ignore[arg-type]

    await on_logs(run_dir, (100, 20), act)


async def test_brackets_go_from_log_to_log_and_round(run_dir: Path) -> None:
    async def act(pilot: Pilot[Any], view: LogView) -> None:
        files = pilot.app.screen.query_one(FileLine)
        for key, place in (("]", 1), ("]", 2), ("]", 0), ("[", 2)):
            await pilot.press({"]": "right_square_bracket", "[": "left_square_bracket"}[key])
            await until(pilot, lambda place=place: files.current == place)  # type: ignore[misc]
        await until(pilot, lambda: len(view.buffer.lines) == 5)
        assert "stage_2_20pct/logs/stage_2_20pct_" in pilot.app.screen.query_one(StatusLine).text

    await on_logs(run_dir, (120, 20), act)


async def test_a_search_by_keyboard_counts_and_goes_from_match_to_match(run_dir: Path) -> None:
    async def act(pilot: Pilot[Any], view: LogView) -> None:
        status = pilot.app.screen.query_one(StatusLine)
        await pilot.press("slash", *"disk|MEM", "enter")
        await pilot.pause()
        await until(pilot, lambda: "match 1 of 1" in status.text)
        await pilot.press("E")
        await until(pilot, lambda: " 1 match " in status.text)
        await pilot.press("e")
        await until(pilot, lambda: "match 1 of 1" in status.text)
        await pilot.press("slash", "ctrl+u", *"disk|mem", "enter")
        await until(pilot, lambda: "match 2 of 2" in status.text)
        await pilot.press("N")
        await until(pilot, lambda: "match 1 of 2" in status.text)
        assert view.mark == 20
        assert "held" in status.text
        await pilot.press("n", "n")
        await until(pilot, lambda: "No match below." in status.text)
        await pilot.press("escape")
        await until(pilot, lambda: "match" not in status.text.lower())
        await pilot.press("G")
        await until(pilot, lambda: "following" in status.text)

    await on_logs(run_dir, (120, 20), act)


async def test_a_wrong_pattern_is_explained_and_can_be_mended(run_dir: Path) -> None:
    async def act(pilot: Pilot[Any], view: LogView) -> None:
        await pilot.press("slash", "(", "enter")
        await until(pilot, lambda: any("is not a regular expression" in t for t in screen_text(pilot.app)))  # type: ignore[arg-type]
        box = pilot.app.screen.query_one("#search", Input)
        assert box.has_focus
        await pilot.press("backspace", *"full", "enter")
        await until(pilot, lambda: view.mark == 40)
        assert not pilot.app.screen.query_one("#search-row").display

    await on_logs(run_dir, (100, 20), act)


async def test_e_and_shift_e_go_to_warnings_and_errors(run_dir: Path) -> None:
    async def act(pilot: Pilot[Any], view: LogView) -> None:
        await pilot.press("E")
        await until(pilot, lambda: view.mark == 40)
        await pilot.press("E")
        await until(pilot, lambda: view.mark == 20)
        await pilot.press("e")
        await until(pilot, lambda: view.mark == 40)
        assert any(line.startswith("✗ 2026") for line in screen_text(pilot.app))  # type: ignore[arg-type]
        assert any("▲ 2026" in line or "✗ 2026" in line for line in screen_text(pilot.app))  # type: ignore[arg-type]

    await on_logs(run_dir, (100, 20), act)


async def test_keys_scroll_and_f_holds_the_view(run_dir: Path) -> None:
    async def act(pilot: Pilot[Any], view: LogView) -> None:
        for keys, top in ((["k"], -1), (["pageup"], None), (["home"], 0), (["j", "j"], 2), (["space"], None)):
            last = view.last_top
            before = view.top
            await pilot.press(*keys)
            await pilot.pause()
            if top is not None:
                assert view.top == (top if top >= 0 else last + top)
            else:
                assert abs(view.top - before) == view.page - 1
            assert not view.follow
        await pilot.press("f")
        assert view.follow
        assert view.top == view.last_top
        await pilot.press("f")
        assert not view.follow
        await pilot.press("l", "right", "h")
        assert view.left in (0, 8)

    await on_logs(run_dir, (60, 20), act)


async def test_without_a_run_the_screen_says_what_to_do() -> None:
    app = app_of(None)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show("logs")
        await pilot.pause()
        assert any("No run is open. 1 chooses a preset" in line for line in screen_text(app))


async def test_a_run_without_logs_says_when_they_come(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    app = app_of(tmp_path / "new")
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show("logs")
        await until(pilot, lambda: any("No log yet: the run writes" in line for line in screen_text(app)))
        layout = RunLayout(tmp_path / "new")
        layout.logs.mkdir()
        layout.new_log().write_text(entry(1))
        app.state.touch("run")
        await until(pilot, lambda: any("loss 0.5 1" in line for line in screen_text(app)))


async def test_nothing_is_read_while_another_screen_is_shown(run_dir: Path) -> None:
    async def act(pilot: Pilot[Any], view: LogView) -> None:
        app = pilot.app
        assert isinstance(app, LogbertApp)
        assert isinstance(app.link, FilesLink)
        await app.show("help")
        await app.workers.wait_for_complete()
        before = len(app.link.calls)
        await pilot.pause(0.6)
        assert len(app.link.calls) == before

    await on_logs(run_dir, (100, 20), act)


def test_logs_of_several_attempts_carry_their_time_and_the_current_one_stays_in_view() -> None:
    names = ["logs/progressive_training_20260102_030405.log", "logs/progressive_training_20260101_030405.log"]
    names += [f"stage_{n}_{n * 10}pct/logs/stage_{n}_{n * 10}pct_20260102_030405.log" for n in range(1, 11)]
    files = [m.LogFile(name=name, size=1) for name in [*names, "logs/worker.err"]]
    labels = file_labels(files)
    assert labels[:3] == ["run 01-02 03:04:05", "run 01-01 03:04:05", "stage 1 10%"]
    assert labels[-1] == "worker.err"
    for current in range(len(files)):
        row = file_row(files, current, 60)
        assert (f" {labels[current]} ", "mark") in row
        assert sum(len(text) for text, _ in row) <= 60
