"""One session of the results: its events in order, how surprising each was, and what was expected instead."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType

from logbert_engine.protocol import results
from logbert_engine.protocol.errors import LogbertError
from logbert_tui.background import in_background
from logbert_tui.figures import count
from logbert_tui.keys import Where, bindings
from logbert_tui.screens.judging import JudgingScreen
from logbert_tui.widgets.beside_rows import BesideRows, nearest_words
from logbert_tui.widgets.cells import clean, fit, width_of
from logbert_tui.widgets.frame import KeyLine, NoticeLine, TopLine
from logbert_tui.widgets.heat_strip import HeatStrip
from logbert_tui.widgets.line_list import MARK_WIDTH, LineList, Texts
from logbert_tui.widgets.lines import Lines, Row
from logbert_tui.widgets.session_rows import SessionRows

READING = "Reading …"
UNREAD = "This session cannot be read. Esc goes back to the list."
LONGEST_COPY = 10_000
"""Characters. Terminals refuse more than some 75 kB."""


def header_rows(detail: results.ResultDetail, total: int, width: int) -> list[Row]:
    """Rank, id, score and verdict; the reason; what else is known of the session."""
    session = detail.session
    verdict = ("✗ anomaly", "bad") if session.is_anomaly else ("normal", "good")
    if detail.verdict:
        words = {"ignore": "ignored", "suppress": "silent"}.get(detail.verdict, f"judged {detail.verdict}")
        verdict = (words, {"normal": "good", "anomaly": "bad"}.get(detail.verdict, "dim"))
    name = clean(str(session.session_id))
    place = f" {count(detail.rank + 1)} of {count(total)}  "
    score = f"  score {session.anomaly_score:.2f}  "
    limit = f"  p {session.p_value:.2g}"
    if session.threshold is not None:
        limit = f"  threshold {session.threshold:.2f}"
    room = width - len(place) - len(score) - len(verdict[0]) - 1
    if width_of(name) + len(limit) > room:
        limit = ""
    first: list[tuple[str, str]] = [
        (place, "dim"),
        (fit(name, max(6, room)).rstrip() if width_of(name) > room else name, "strong"),
        (score, "bad" if session.is_anomaly else ""),
        verdict,
        (limit, "dim"),
    ]
    facts = [
        session.service_name,
        session.timestamp,
        f"{count(session.length)} events",
        f"mean {session.surprisal:.2f} nats",
        f"{count(session.identical)} alike" if session.identical > 1 else "",
        f"{count(session.unseen_events)} never seen in training" if session.unseen_events else "",
        f"label {session.label}" if session.label is not None else "",
        session.file,
    ]
    beside = nearest_words(detail)
    meta = " · ".join(clean(fact) for fact in facts if fact)
    return [
        tuple(first),
        ((" " + fit(clean(session.reason), width - 2).rstrip(), "warn" if session.is_anomaly else ""),),
        ((" " + fit(meta, width - 2).rstrip(), "dim"),),
        *(
            [((" " + fit(f"{beside}; b lays them side by side", width - 2).rstrip(), "dim"),)]
            if beside
            else []
        ),
    ]


class Heading(Lines):
    """The titles above the events."""

    source: SessionRows | None = None

    def build(self, width: int, _height: int, /) -> Sequence[Row]:
        """One row, behind the room for the cursor's mark."""
        if self.source is None:
            return []
        return [((" " * MARK_WIDTH, ""), *self.source.heading(width - MARK_WIDTH))]


class Header(Lines):
    """The first rows."""

    detail: results.ResultDetail | None = None
    total = 0

    def build(self, width: int, _height: int, /) -> Sequence[Row]:
        """Three rows, or four."""
        return [] if self.detail is None else header_rows(self.detail, self.total, width)


class Why(Lines):
    """What stands out at the cursor."""

    source: SessionRows | None = None
    index = 0

    def build(self, width: int, height: int, /) -> Sequence[Row]:
        """As many rows as there is room for."""
        return [] if self.source is None else self.source.explain(self.index, width, height)


class SessionScreen(JudgingScreen):
    """Shows a session of a results file, and goes on to the next."""

    WHERE: ClassVar[Where] = "session"
    BINDINGS: ClassVar[list[BindingType]] = bindings("session")
    CSS_PATH = "session.tcss"
    AUTO_FOCUS = "LineList"

    def __init__(self) -> None:
        super().__init__()
        self._output = ""
        self._total = 0
        self.rank = 0
        """The session that is shown, or on its way; the highest score has 0."""
        self.detail: results.ResultDetail | None = None
        self._beside = False
        """Whether the comparison is shown in place of the events."""

    def compose(self) -> ComposeResult:
        """The frame of the inference screen, to which the session belongs."""
        yield TopLine(self.state, "inference")
        yield KeyLine(self.WHERE)
        yield NoticeLine(self.state)
        yield Header()
        yield HeatStrip()
        yield Lines(id="missing")
        yield Heading()
        yield LineList(empty=READING)
        yield Why()

    def open(self, output: str, rank: int, total: int) -> None:
        """Show a session by its rank, from 0. May be called before the screen is on."""
        self._output, self.rank, self._total = output, rank, total
        self.detail = None  # what is still shown is another session, and not the one to judge
        if self.is_mounted:
            self._load()

    def on_mount(self) -> None:
        """Read what was asked for."""
        if self._output:
            self._load()

    def _load(self) -> None:
        in_background(self, self._read, self._output, self.rank, group="session", exclusive=True)

    async def _read(self, output: str, rank: int) -> None:
        try:
            detail: results.ResultDetail = await self.link.call(
                "read_result", results.ReadResult(output=output, rank=rank)
            )
        except LogbertError as error:
            self.state.notice(str(error), "error")
            self._show_nothing()
            return
        self._show(detail)

    def _show_nothing(self) -> None:
        """The session cannot be had: leave no other in its place."""
        self.detail = None
        header, heading, why = self.query_one(Header), self.query_one(Heading), self.query_one(Why)
        header.detail, heading.source, why.source = None, None, None
        self.query_one(HeatStrip).display = False
        self.query_one("#missing", Lines).display = False
        for lines in (header, heading, why):
            lines.update()
        line_list = self.query_one(LineList)
        line_list.empty = UNREAD
        line_list.set_source(Texts())

    def _show(self, detail: results.ResultDetail) -> None:
        self.detail = detail
        rows = SessionRows(detail)
        header = self.query_one(Header)
        header.detail, header.total = detail, self._total
        header.styles.height = len(header_rows(detail, self._total, 80))
        header.update()
        strip = self.query_one(HeatStrip)
        strip.display = bool(rows.surprisals)
        strip.show(rows.surprisals)
        missing = self.query_one("#missing", Lines)
        missing.display = not rows.complete
        width = max(20, self.size.width - 4)
        wrapped = textwrap.wrap(rows.missing, width)
        missing.styles.height = max(1, len(wrapped))
        missing.show([((f" {line}", "warn"),) for line in wrapped])
        heading = self.query_one(Heading)
        heading.source = rows
        heading.update()
        line_list = self.query_one(LineList)
        line_list.empty = "No event of this session was kept."
        why = self.query_one(Why)
        why.source = rows
        if self._beside:
            self._lay_beside(detail)
        else:
            self._list_events(rows)
        self.call_after_refresh(self._settle)

    def _list_events(self, rows: SessionRows) -> None:
        self.remove_class("-beside")
        line_list = self.query_one(LineList)
        line_list.set_source(rows, rows.first_high())
        self._point(line_list.cursor)

    def _lay_beside(self, detail: results.ResultDetail) -> None:
        self.add_class("-beside")
        self.query_one(LineList).set_source(BesideRows(detail))

    def _settle(self) -> None:
        """Once the rows below the header have their size."""
        self.query_one("#missing", Lines).update()
        self.query_one(LineList).rows_arrived()
        self.query_one(LineList).move_to(self.query_one(LineList).cursor)

    def _point(self, index: int) -> None:
        if self._beside:
            return
        why = self.query_one(Why)
        why.index = index
        why.update()
        if why.source is not None and why.source.surprisals:
            self.query_one(HeatStrip).point(index)

    @on(LineList.Moved)
    def _moved(self, event: LineList.Moved) -> None:
        self._point(event.index)

    def take_back(self) -> bool:
        """Esc leaves the comparison for the events."""
        if self._beside:
            self.action_beside()
            return True
        return False

    # Verdicts

    def judged_session(self) -> tuple[str, int] | None:
        """The one that is shown."""
        return (self._output, self.detail.rank) if self.detail is not None else None

    def after_verdict(self) -> None:
        """Read it again."""
        self._load()

    # Keys

    def action_step(self, by: int) -> None:
        """Next or previous session."""
        rank = self.rank + by
        if not 0 <= rank < self._total:
            words = "That was the last session." if by > 0 else "This is the first session."
            self.state.notice(words)
            return
        self.state.dismiss()
        self.rank = rank
        self._load()

    def action_beside(self) -> None:
        """Lay the session beside the ordinary one that it is most like, and back."""
        if self.detail is None:
            return
        self._beside = not self._beside
        self._show(self.detail)

    def action_surprise(self, step: int) -> None:
        """Next or previous of the most surprising events."""
        if self._beside:
            self.action_beside()
        rows, line_list = self.query_one(Why).source, self.query_one(LineList)
        index = rows.next_high(line_list.cursor, step) if rows is not None else None
        if index is None:
            self.state.notice(f"No surprising event {'below' if step > 0 else 'above'}.")
        else:
            line_list.move_to(index)

    def action_copy(self) -> None:
        """The session id to the clipboard."""
        if self.detail is not None:
            name = str(self.detail.session.session_id)[:LONGEST_COPY]
            self.app.copy_to_clipboard(name)
            self.state.notice(f"Sent {clean(name)} to the terminal's clipboard.")
