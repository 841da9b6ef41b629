"""What the picker says of data, of runs and of the command, as rows of text: pure functions."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import date

from logbert_engine.protocol.messages import DataSummary, RunInfo
from logbert_tui.figures import NONE, ago, count, home_path, keep_last_parts, keep_start, loss, short, size
from logbert_tui.screens.picker_detail import wrapped
from logbert_tui.screens.run_panels import PHASES
from logbert_tui.widgets.cells import clean, fit
from logbert_tui.widgets.lines import Row, width_of
from logbert_tui.widgets.rows import Span

MOST_SERVICES = 12

# Data


def data_rows(data: DataSummary | None, problem: str, checking: bool, width: int) -> list[Row]:
    """What a look at the data found, in full; where there are none, what to do first."""
    if problem:
        return wrapped(f"✗ {problem}", width, "bad")
    if checking:
        return [(("… looking", "dim"),)]
    if data is None:
        first = "First name your sessions (key d): a folder, or a file .json, .jsonl or .json.gz."
        none = "None at hand? This writes some:"
        return [
            *wrapped(first, width),
            (),
            *wrapped(none, width, "dim"),
            *wrapped("logbert-engine demo-data DIR", width, "accent"),
        ]
    return [row for text, style in _found(data) for row in wrapped(text, width, style)]


def _found(data: DataSummary) -> list[tuple[str, str]]:
    """A text and its style for all that was found."""
    exact = data.peeked_all and data.files == 1
    looked = count(data.peeked_sessions)
    templates = f"{count(data.templates)} templates" if data.templates else "no templates"
    services = [f"{clean(name)} {count(number)}" for name, number in data.services.items()]
    if len(services) > MOST_SERVICES:
        services = [*services[:MOST_SERVICES], f"{count(len(services) - MOST_SERVICES)} more"]
    found = [
        (f"{files_text(data)}, {size(data.bytes)}", "strong"),
        (f"{'' if exact else '≈ '}{count(data.estimated_sessions)} sessions", "strong"),
        (f"{count(data.distinct_events)} events, {templates}", ""),
        (f"length {count(data.median_length)}, longest {count(data.longest)}", ""),
        (days_text(data), ""),
    ]
    if data.labelled:
        found.append((f"{count(data.labelled)} labels, which training never sees", ""))
    if data.rejected:
        found.append((f"▲ {count(data.rejected)} of {rejected_of(data)} rejected", "warn"))
    nothing = [
        text
        for text, number in (("no labels", data.labelled), ("none rejected", data.rejected))
        if not number
    ]
    found += [(", ".join(nothing), "dim")] if nothing else []
    found.append((", ".join(services) or "no services named", "" if services else "dim"))
    return found if exact else [*found, (f"Looked at: the first {looked}.", "dim")]


def files_text(data: DataSummary) -> str:
    """How many files."""
    return "1 file" if data.files == 1 else f"{count(data.files)} files"


def rejected_of(data: DataSummary) -> str:
    """How many records were looked at, in words."""
    return f"the first {count(data.rejected + data.peeked_sessions)} records"


def days_text(data: DataSummary) -> str:
    """The days of the files' names, and how many they span."""
    if not data.first_day:
        return "no days in the files' names"
    if data.first_day == data.last_day:
        return data.first_day
    span = (date.fromisoformat(data.last_day) - date.fromisoformat(data.first_day)).days + 1
    return f"{data.first_day} … {data.last_day}, {count(span)} days"


def data_row(data: DataSummary | None, problem: str, checking: bool, width: int, most: int = 3) -> list[Row]:
    """What the live check of the data path found; a problem takes up to ``most`` lines."""
    if problem:
        lines = textwrap.wrap(problem, max(10, width - 2), max_lines=most, placeholder=" …")
        return [(("  " if y else "✗ ", "bad"), (line, "bad")) for y, line in enumerate(lines)]
    if checking:
        return [(("… looking", "dim"),)]
    if data is None:
        return [((keep_start("folder or file: .json, .jsonl, .json.gz", width), "dim"),)]
    days = (
        f"{data.first_day} … {data.last_day}"
        if data.first_day and data.last_day != data.first_day
        else data.first_day
    )
    parts = [
        files_text(data),
        size(data.bytes),
        f"≈ {short(data.estimated_sessions)} sessions",
        f"{count(data.distinct_events)} events",
    ]
    parts += [days] if days else []
    parts += [f"{data.templates} templates"] if data.templates else []
    row: list[tuple[str, str]] = [("✓ ", "good")]
    for part in parts:
        lead = ", " if len(row) > 1 else ""
        if width_of(tuple(row)) + len(lead) + len(part) <= width:
            row.append((lead + part, ""))
    rows: list[Row] = [tuple(row)]
    if data.rejected:
        rows.append(
            (
                ("▲ ", "warn"),
                (f"{data.rejected} of {rejected_of(data)} cannot be used", "warn"),
            )
        )
    return rows


class RunRows:
    """The runs that the engine knows as rows of a list."""

    def __init__(self, runs: Sequence[RunInfo], home: str) -> None:
        self.runs, self._home = runs, home

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.runs)

    def row(self, index: int, width: int) -> Sequence[Span]:
        """State, directory, stage, loss and age, as far as there is room."""
        return run_spans(self.runs[index], width, self._home)

    def request(self, first: int, last: int, /) -> None:
        """All are there."""


def run_spans(run: RunInfo, width: int, home: str = "") -> list[Span]:
    """A row of the recent runs."""
    sign, style, _ = PHASES[run.phase]
    stage = f"{run.stage}/{run.stages}" if run.stages else ""
    best = loss(run.best_valid_loss) if run.best_valid_loss is not None else NONE
    tail = fit(stage, 6, right=True)
    if width >= 44:
        tail += fit(best, 8, right=True)
    if width >= 56:
        tail += fit(ago(run.updated_at) if run.updated_at else "", 11, right=True)
    room = width - 2 - len(tail)
    return [
        Span(f"{sign} ", style),
        Span(fit(keep_last_parts(home_path(clean(run.run_dir), home), room), room)),
        Span(tail, "dim"),
    ]


def command_rows(command: str, problem: str, width: int, height: int) -> list[Row]:
    """The command that does the same, or what stands in the way."""
    if problem:
        lines = textwrap.wrap(problem, max(10, width - 2))[:height]
        return [(("  " if y else "✗ ", "bad"), (line, "")) for y, line in enumerate(lines)]
    if not command:
        return [(("The command that does the same appears here.", "dim"),)]
    lines = [""]
    for part in clean(command).replace(" --", "\n--").split("\n"):  # an option and its value stay together
        if lines[-1] and len(lines[-1]) + 1 + len(part) > width - 2:
            lines.append("  " + part)
        else:
            lines[-1] = f"{lines[-1]} {part}" if lines[-1] else part
    lines = [
        piece for line in lines for piece in textwrap.wrap(line, max(10, width - 2), break_on_hyphens=False)
    ]
    if len(lines) > height:
        lines = textwrap.wrap(
            clean(command),
            max(10, width - 2),
            max_lines=max(1, height),
            placeholder=" …",
            break_on_hyphens=False,
        )
    return [(("  " if y else "$ ", "accent"), (line, "dim")) for y, line in enumerate(lines)]
