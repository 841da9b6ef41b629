"""What the run screen says in sentences: what is to be noticed while a run trains, and how it ended."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from logbert_engine.protocol import wording
from logbert_engine.protocol.runstate import RunState
from logbert_tui.figures import clock, loss
from logbert_tui.screens.run_panels import PHASES
from logbert_tui.widgets.cells import clean
from logbert_tui.widgets.lines import Row

FINDINGS = {"rising": ("▲", "warn"), "stalling": ("▬", "warn")}
"""A shape and a style for each; ``wording.FINDINGS`` has the words."""
MOST_NOTES = 6
"""Rows of what is to be noticed."""
CARD_LEAST = 6
"""Rows of the card in the smallest terminal: what happened, the reason in two, the resume in two, the keys."""
SHORT_ROWS, TALL_ROWS = 13, 20
"""Rows that are not to be had for sentences: the frame, headline, stages and a low chart."""
CURVE_ROWS = 6
"""Rows of the lowest chart with its frame; in the smallest terminals it gives way to how the run ended."""
SHORT_LATEST, TALL_LATEST, LEAST_LATEST = 5, 9, 3
"""Rows of the latest lines with their frame, as many as there is room for; without the least they are left out."""


@dataclass(frozen=True)
class Words:
    """The sentences of the run screen, and what has to give way to them."""

    noted: list[Row]
    card: list[Row]
    latest: int
    """Rows of the latest lines; 0: none."""
    curve: bool
    """Whether the curve is shown."""


def arrange(run: RunState | None, width: int, height: int, *, tall: bool, tiny: bool) -> Words:
    """Divide the screen: how a run ended comes before what was to be noticed, and that before the latest lines.

    Args:
        run: the run; None while none is open.
        width: cells of the screen.
        height: its rows, without those of a message.
        tall: whether there is room around the panels.
        tiny: whether the machine is told in one line below the curve.
    """
    room = height - (TALL_ROWS if tall else SHORT_ROWS) - tiny
    wanted = len(card_rows(run, width - 6)) if run is not None else 0
    curve = not (tiny and wanted and wanted + 1 > room)
    room += 0 if curve else CURVE_ROWS
    noted = note_rows(run, width - 4, max(1, min(MOST_NOTES, room - wanted))) if run is not None else []
    card = card_rows(run, width - 6, max(CARD_LEAST, room - len(noted))) if run is not None else []
    rest = room - len(noted) - len(card)
    full = TALL_LATEST if tall else SHORT_LATEST - tiny
    return Words(noted, card, min(full, rest) if rest >= LEAST_LATEST else 0, curve)


def note_rows(run: RunState, width: int, most: int) -> list[Row]:
    """What is to be noticed: the loss, memory that ran short, and that this is not the first attempt.

    Args:
        run: the run.
        width: cells.
        most: rows; a sentence that does not fit is cut with a mark.
    """
    short: list[Row] = []
    if run.back_off is not None:
        words = wording.micro_batch(run)
        short += _paragraph("▲", "warn", words[:1].upper() + words[1:], "", width, 2)
    if run.active and run.attempt > 1:
        resumed = f": resumed at {clean(run.resumes)}" if run.resumes else ""
        short += _paragraph("›", "accent", f"Attempt {run.attempt}", resumed, width, 1)
    if run.health is None or most < 1:
        return short[:most]
    sign, style = FINDINGS[run.health.finding]
    word = wording.FINDINGS[run.health.finding]
    message = f": {clean(run.health.message)}"
    room = max(1, most - len(short))
    return (_paragraph(sign, style, word[:1].upper() + word[1:], message, width, room) + short)[:most]


def card_rows(run: RunState, width: int, most: int = 1000) -> list[Row]:
    """What happened and what a resume would do, when no worker is at work; nothing while one is.

    Args:
        run: the run.
        width: cells.
        most: rows, ``CARD_LEAST`` or more; a longer reason is cut, and the card says where it stands whole.
    """
    if run.phase not in ("paused", "failed", "stopped", "finished") and not (
        run.phase == "new" and run.reason
    ):
        return []
    sign, style, _ = PHASES[run.phase]
    word = wording.phase(run)
    when = f" at {clock(run.updated_at)}" if run.updated_at else ""
    attempt = f", in attempt {run.attempt}" if run.attempt > 1 and run.phase != "finished" else ""
    head: Row = ((f"{sign} {word[:1].upper()}{word[1:]}", style), (f"{when}{attempt}", "dim"))
    after = _how(run) + (_best(run) if run.phase == "finished" else _way_on(run, width))
    reason = textwrap.wrap(clean(run.reason), max(10, width)) if run.reason else []
    room = max(1, most - 1 - len(after))
    if len(reason) > room:
        more = " … (whole: logbert-engine status RUN_DIR)"
        reason = [*reason[: room - 1], reason[room - 1][: max(0, width - len(more))].rstrip() + more]
    return [head, *(((line, ""),) for line in reason), *after]


def _how(run: RunState) -> list[Row]:
    """How the process of a failed run ended, unless the reason says it or says more."""
    ended = run.ended
    if run.phase != "failed" or ended is None:
        return []
    how = f"signal {ended.signal}" if ended.signal else ""
    if ended.exit_code and not run.reason:
        how = f"exit status {ended.exit_code}"
    if not how or how in run.reason:
        return []
    return [((f"The process ended with {how}; the logs (l) say more.", "dim"),)]


def _best(run: RunState) -> list[Row]:
    best = min((s.best_valid_loss for s in run.stages if s.best_valid_loss is not None), default=None)
    return [
        (("best validation loss ", "dim"), (loss(best), "strong"), ("   i: score sessions with it", "dim"))
    ]


def _way_on(run: RunState, width: int) -> list[Row]:
    rows: list[Row] = []
    if run.resumes:
        rows += [
            ((line, ""),) for line in textwrap.wrap("A resume: " + clean(run.resumes), max(10, width))[:2]
        ]
    keys: Row = (
        ("r", "accent"),
        (" resume   ", "dim"),
        ("R", "accent"),
        (" restart the stage   ", "dim"),
        ("n", "accent"),
        (" new run", "dim"),
    )
    return [*rows, keys]


def _paragraph(sign: str, style: str, head: str, rest: str, width: int, most: int) -> list[Row]:
    """A sentence wrapped with its sign in front; its head stands out by the style."""
    lines = textwrap.wrap(head + rest, max(10, width - 2))
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1][: max(1, width - 4)].rstrip() + " …"]
    rows: list[Row] = []
    for number, line in enumerate(lines):
        if number:
            rows.append((("  ", ""), (line, "")))
        else:
            rows.append(((f"{sign} ", style), (line[: len(head)], style), (line[len(head) :], "")))
    return rows
