"""Estimates as text: a page for one, a table for several."""

from __future__ import annotations

from logbert_engine.estimates.wording import dollars, duration, flop, megabytes, memory, seconds
from logbert_engine.protocol.estimates import Estimate, Estimates, Figure

_NAME = 13
_NONE = "–"


def page(estimate: Estimate) -> list[str]:
    """Everything about one run."""
    parts = ", ".join(f"{name} {count / 1e6:,.1f} M" for name, count in estimate.parameter_parts.items())
    device = estimate.device_name or estimate.device
    many = f"{estimate.devices} × " if estimate.devices > 1 else ""
    lines = [
        f"{estimate.preset} on {many}{device} ({estimate.device}, {estimate.precision})",
        "",
        _row("verdict", estimate.verdict.words),
    ]
    lines += [_row("", f"--set {setting}") for setting in estimate.verdict.settings]
    lines += [
        _row("parameters", f"{estimate.parameters / 1e6:,.1f} M ({parts})"),
        _row("memory", f"{memory(estimate.memory)}, {estimate.memory.origin}"),
        *(
            _row("", f"{name:<14}{megabytes(value):>10}")
            for name, value in estimate.memory_parts.items()
            if value >= 0.5
        ),
        *([_row("", f"{memory(estimate.fitted)} so that it fits")] if estimate.fitted is not None else []),
        _row(
            "work",
            f"{flop(estimate.flop_per_step)} a step: {estimate.batch} sequences of {estimate.tokens} tokens, "
            f"{flop(estimate.flop_per_token)} a token",
        ),
        _row("step", _time(estimate.step_s)),
    ]
    for stage in estimate.stages:
        lines.append(
            _row(
                f"stage {stage.ratio:.0%}",
                f"{stage.sessions:,.0f} sessions, {stage.steps:,.0f} steps, {_time(stage.seconds)}",
            )
        )
    lines.append(_row("whole run", _time(estimate.seconds)))
    if estimate.budget_mb is not None:
        lines.append(_row("budget", f"{megabytes(estimate.budget_mb)}, the preset's"))
    if (there := estimate.elsewhere) is not None:
        lines += ["", f"On {there.machine}, which the preset was written for (computed)"]
        if there.seconds is not None:
            lines.append(_row("whole run", duration(there.seconds)))
        if there.steps_per_s is not None:
            lines.append(_row("rate", f"{_rate(there.steps_per_s)} steps/s"))
        if there.cost is not None or there.price:
            lines.append(
                _row("cost", ", ".join(([dollars(there.cost)] if there.cost else []) + [there.price]))
            )
        if there.words:
            lines += ["", there.words]
    if estimate.documented:
        lines += ["", "The source documents expect (theirs, not measured)"]
        lines += [_row(name, text) for name, text in estimate.documented.items()]
    lines += ["", *(f"taken for granted: {words}" for words in estimate.assumed)] if estimate.assumed else []
    return lines


def table(found: Estimates) -> list[str]:
    """A line a preset, then the advice."""
    rows = [("PRESET", "PARAMETERS", "MEMORY", "A STEP", "WHOLE RUN", "COST", "HERE")]
    rows += [_line(estimate) for estimate in found.estimates]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines += [f"{name}: {problem}" for name, problem in found.problems.items()]
    return [*lines, "", *found.advice] if found.advice else lines


def _line(estimate: Estimate) -> tuple[str, str, str, str, str, str, str]:
    there = estimate.elsewhere
    return (
        estimate.preset,
        f"{estimate.parameters / 1e6:,.1f} M",
        megabytes((estimate.fitted or estimate.memory).value),
        seconds(estimate.step_s.value) if estimate.step_s is not None else _NONE,
        seconds(estimate.seconds.value) if estimate.seconds is not None else _NONE,
        dollars(there.cost) if there is not None and there.cost is not None else _NONE,
        estimate.verdict.words,
    )


def _time(figure: Figure | None) -> str:
    return f"{duration(figure)}, {figure.origin}" if figure is not None else _NONE


def _rate(figure: Figure) -> str:
    return f"{figure.value:.3g} ({figure.low:.3g}–{figure.high:.3g})"


def _row(name: str, text: str) -> str:
    return f"{name:<{_NAME}} {text}".rstrip()
