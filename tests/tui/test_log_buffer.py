from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.daemon.logs import read_chunk
from logbert_engine.protocol.errors import LogbertError
from logbert_tui.widgets.cells import clean, crop, width_of
from logbert_tui.widgets.log_buffer import LogBuffer, parse_line
from logbert_tui.widgets.log_line import compile_pattern, line_row, matching, trouble


def line(number: int, level: str = "INFO", message: str = "step") -> str:
    minute, second = number // 60 % 60, number % 60
    return f"2026-01-02 03:{minute:02d}:{second:02d} {level:<7} stage_1_10pct: {message} {number}\n"


def test_levels_are_marked_by_shape_as_well_as_by_colour() -> None:
    rows = {
        level: line_row(line(1, level).rstrip(), 0, 80)
        for level in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    }
    assert [row[0].text for row in rows.values()] == ["· ", "  ", "▲ ", "✗ ", "✗ "]
    assert [span.tone for span in rows["WARNING"]] == ["warn", "dim", "warn", "warn"]
    assert parse_line("ValueError: no").level == "error"
    assert parse_line("Traceback (most recent call last):").level == "error"
    assert parse_line("2026-01-02 03:04:05,123 WARNING x: y").level == "warning"
    assert parse_line("an error in plain words").level == ""


def test_matches_are_shown_within_the_line() -> None:
    row = line_row("2026-01-02 03:04:05 INFO    a: loss loss", 0, 80, compile_pattern("loss"), now=True)
    assert [span.text for span in row if span.tone == "match-now"] == ["loss", "loss"]
    assert "".join(span.text for span in row) == "  2026-01-02 03:04:05 INFO    a: loss loss"


@pytest.mark.parametrize(("typed", "finds"), [("error", True), ("ERROR", False), (r"\S+rror", True)])
def test_case_counts_only_when_an_upper_case_letter_is_typed(typed: str, finds: bool) -> None:
    assert bool(compile_pattern(typed).search("An Error")) is finds


def test_a_wrong_pattern_is_explained() -> None:
    with pytest.raises(LogbertError, match=r"“\(loss” is not a regular expression: .*at character 1"):
        compile_pattern("(loss")


texts = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=20), max_size=40
)


@given(texts, st.integers(1, 300), st.integers(10, 90))
def test_reading_upwards_in_pages_gives_the_lines_of_the_file(
    lines: list[str], first: int, page: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.log"
        path.write_text("".join(line + "\n" for line in lines), newline="")
        buffer = LogBuffer()
        buffer.reset(read_chunk(path, -first, 1 << 17))
        while not buffer.at_start:
            stop = buffer.start
            buffer.prepend(read_chunk(path, max(0, stop - page), min(stop, page)))
            assert buffer.start < stop
        # Lines that hardly fit into a read come in pieces.
        if all(len(line.encode()) + 4 < min(first, page) for line in lines):
            assert buffer.lines == lines


@given(texts, st.lists(st.integers(0, 2000), max_size=20))
def test_a_file_that_grows_by_any_pieces_gives_its_lines(lines: list[str], cuts: list[int]) -> None:
    content = "".join(line + "\n" for line in lines).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.log"
        path.touch()
        buffer = LogBuffer()
        buffer.reset(read_chunk(path, -100, 100))
        written = 0
        for cut in [*sorted(min(cut, len(content)) for cut in cuts), len(content)]:
            with path.open("ab") as file:
                file.write(content[written:cut])
            written = cut
            buffer.append(read_chunk(path, buffer.end, 1 << 17))
        assert buffer.lines == lines
        assert buffer.at_end
        assert buffer.finished == len(lines)


@given(st.text(max_size=30), st.integers(0, 40), st.integers(0, 40))
def test_a_crop_never_takes_more_than_its_width(text: str, start: int, width: int) -> None:
    text = clean(text)
    piece = crop(text, start, width)
    assert width_of(piece) <= width
    if width_of(text) >= start + width:
        assert width_of(piece) == width


patterns = st.lists(
    st.sampled_from(
        [
            "a",
            "b",
            " ",
            r"\d",
            r"\s",
            r"\S",
            r"\b",
            r"\B",
            "^",
            "$",
            ".",
            "[^a]",
            "(?=b)",
            "(?<!a)",
            r"\A",
            r"\Z",
            "b*",
            "|",
        ]
    ),
    min_size=1,
    max_size=5,
)


@given(patterns, st.lists(st.text("ab 1", max_size=6), min_size=1, max_size=6))
def test_a_page_is_never_passed_over_when_a_line_of_it_matches(pieces: list[str], lines: list[str]) -> None:
    try:
        wanted = matching(compile_pattern("".join(pieces)))
    except LogbertError:
        return
    page = "".join(line + "\n" for line in lines)
    if any(wanted.in_line(line) for line in lines):
        assert wanted.in_page(page)


@pytest.mark.parametrize("level", ["WARNING", "ERROR", "CRITICAL"])
def test_a_page_with_trouble_is_never_passed_over(level: str) -> None:
    for text in (
        line(1, level),
        "ValueError: no\n",
        "torch.OutOfMemoryError\n",
        "Killed\n",
        "Fatal Python error\n",
    ):
        assert trouble().in_line(text.rstrip("\n"))
        assert trouble().in_page(line(0) + text)
    assert not trouble().in_page(line(0) + line(1))
