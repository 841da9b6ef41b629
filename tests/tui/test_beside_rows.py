from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logbert_engine.explanation.alignment import align
from logbert_engine.protocol.results import DifferenceStep, Nearest, ResultDetail, SessionResult
from logbert_tui.widgets.beside_rows import BesideRows, nearest_words


def detail(seen: list[str], ordinary: list[str], *, distance: int = 1, sessions: int = 7) -> ResultDetail:
    steps = [
        DifferenceStep(
            kind=s.kind, at=s.seen_at, seen=list(s.seen), ordinary=list(s.normal) if s.kind != "keep" else []
        )
        for s in align(seen, ordinary)
    ]
    session = SessionResult(
        session_id=1,
        anomaly_score=1,
        is_anomaly=True,
        surprisal=1,
        length=len(seen),
        reason="odd",
        nearest=Nearest(distance=distance, sessions=sessions, steps=steps),
    )
    return ResultDetail(rank=0, session=session)


def lines(rows: BesideRows, width: int = 60) -> list[str]:
    return ["".join(span.text for span in rows.row(i, width)).rstrip() for i in range(rows.count)]


@pytest.mark.parametrize(
    ("distance", "sessions", "words"),
    [
        (0, 1, "this very sequence was seen 1 time in training"),
        (1, 2, "nearest ordinary session: 1 change, seen 2 times in training"),
        (12345, 1, "nearest ordinary session: 12,345 changes, seen 1 time in training"),
    ],
)
def test_the_nearest_session_in_words(distance: int, sessions: int, words: str) -> None:
    assert nearest_words(detail(["a"], ["a"], distance=distance, sessions=sessions)) == words


def test_long_runs_in_common_are_folded_around_the_differences() -> None:
    common = [f"c{i}" for i in range(20)]
    shown = lines(BesideRows(detail([*common, "new", *common], [*common, *common])))
    assert [line.split() for line in shown[2:]] == [
        ["…", "18", "events", "alike"],
        ["19", "c18"],
        ["20", "c19"],
        ["21", "+", "new"],
        ["22", "c0"],
        ["23", "c1"],
        ["…", "18", "events", "alike"],
    ]


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_every_difference_has_its_line(seen: list[str], ordinary: list[str]) -> None:
    rows = BesideRows(detail(seen, ordinary))
    marks = [line[5:].split()[0] for line in lines(rows)[2:] if "alike" not in line and line[5:6] in "+−≠"]
    steps = align(seen, ordinary)
    put_in = sum(max(0, len(s.seen) - len(s.normal)) for s in steps if s.kind != "keep")
    replaced = sum(min(len(s.seen), len(s.normal)) for s in steps if s.kind != "keep")
    left_out = sum(len(s.normal) for s in steps if s.kind != "keep")
    assert (marks.count("+"), marks.count("≠"), marks.count("−")) == (put_in, replaced, left_out)


@pytest.mark.parametrize("width", [1, 8, 20, 200])
def test_no_line_is_wider_than_its_room(width: int) -> None:
    assert all(len(line) <= width for line in lines(BesideRows(detail(["a"] * 9, ["b"] * 3)), width))
