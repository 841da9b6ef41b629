"""Estimates as text: a page for one, a table for several."""

from __future__ import annotations

from logbert_engine.protocol import figures_in_words as words
from logbert_engine.protocol.estimates import Estimate, Estimates

_NAME = 13


def page(estimate: Estimate) -> list[str]:
    """Everything about one run."""
    lines = [
        f"{estimate.preset} on {words.where(estimate)}",
        "",
        _row("verdict", estimate.verdict.words),
    ]
    lines += [_row("", f"--set {setting}") for setting in estimate.verdict.settings]
    lines += [
        _row("parameters", words.parameters(estimate)),
        _row("memory", f"{words.memory(estimate.memory)}, {estimate.memory.origin}"),
        *(
            _row("", f"{name:<14}{words.megabytes(value):>10}")
            for name, value in estimate.memory_parts.items()
            if value >= 0.5
        ),
        *([_row("", f"{words.memory(estimate.fitted)} so that it fits")] if estimate.fitted else []),
        _row("work", words.work(estimate)),
        _row("step", words.time(estimate.step_s)),
    ]
    for stage in estimate.stages:
        lines.append(
            _row(
                f"stage {stage.ratio:.0%}",
                f"{stage.sessions:,.0f} sessions, {stage.steps:,.0f} steps, {words.time(stage.seconds)}",
            )
        )
    lines.append(_row("whole run", words.time(estimate.seconds)))
    if estimate.budget_mb is not None:
        lines.append(_row("budget", f"{words.megabytes(estimate.budget_mb)}, the preset's"))
    if (there := estimate.elsewhere) is not None:
        lines += ["", f"On {there.machine}, which the preset was written for (computed)"]
        lines += [_row(name, text) for name, text in words.there_in_words(there)]
        if there.words:
            lines += ["", there.words]
    if estimate.documented:
        lines += ["", words.THEIRS]
        lines += [_row(name, text) for name, text in estimate.documented.items()]
    lines += ["", *(f"taken for granted: {text}" for text in estimate.assumed)] if estimate.assumed else []
    return lines


def table(found: Estimates) -> list[str]:
    """A line a preset, then the advice."""
    rows = [("PRESET", "PARAMETERS", "MEMORY", "A STEP", "WHOLE RUN", "COST", "HERE")]
    rows += [_line(estimate) for estimate in found.estimates]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    for problem in dict.fromkeys(found.problems.values()):
        names = ", ".join(name for name, told in found.problems.items() if told == problem)
        lines.append(f"{names}: {problem}")
    return [*lines, "", *found.advice] if found.advice else lines


def _line(estimate: Estimate) -> tuple[str, str, str, str, str, str, str]:
    there = estimate.elsewhere
    return (
        estimate.preset,
        f"{estimate.parameters / 1e6:,.1f} M",
        words.megabytes((estimate.fitted or estimate.memory).value),
        words.seconds(estimate.step_s.value) if estimate.step_s is not None else words.NONE,
        words.seconds(estimate.seconds.value) if estimate.seconds is not None else words.NONE,
        words.cost(there.cost) if there is not None and there.cost is not None else words.NONE,
        estimate.verdict.words,
    )


def _row(name: str, text: str) -> str:
    return f"{name:<{_NAME}} {text}".rstrip()
