"""The strip of stages, 10% to 100%: state, time and loss of each, by symbol and by colour."""

from __future__ import annotations

from collections.abc import Sequence

from logbert_engine.protocol.runstate import RunPhase, RunState, StageState
from logbert_tui.figures import NONE, percent
from logbert_tui.widgets.gauge import bar
from logbert_tui.widgets.lines import Lines, Row

NARROWEST = 5
"""Cells that a stage needs."""
SYMBOLS = {
    "done": ("✓", "good"),
    "running": ("▶", "accent"),
    "paused": ("‖", "warn"),
    "stopped": ("■", "warn"),
    "failed": ("✗", "bad"),
    "planned": ("·", "dim"),
}


def symbol(stage: StageState, phase: RunPhase) -> tuple[str, str]:
    """The sign of a stage and its style; an interrupted stage shows how its run ended."""
    if stage.phase == "interrupted":
        return SYMBOLS[phase if phase in ("failed", "stopped") else "paused"]
    return SYMBOLS[stage.phase]


def compact_duration(seconds: float) -> str:
    """A duration in five characters: ``42s``, ``12m``, ``1h05``, ``2d04``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}"


def visible(stages: int, current: int, width: int) -> range:
    """The stages that fit side by side, the current one among them.

    Args:
        stages: How many there are.
        current: Index from 0 of the one that must be seen.
        width: Cells.
    """
    fit = max(1, min(stages, width // NARROWEST))
    first = min(max(0, current - fit // 2), stages - fit)
    return range(first, first + fit)


def _cell_widths(count: int, width: int) -> list[int]:
    each, more = divmod(width, count)
    return [each + (1 if index < more else 0) for index in range(count)]


def _time(stage: StageState) -> str:
    return compact_duration(stage.seconds) if stage.seconds else ""


def _loss(stage: StageState, width: int) -> str:
    value = stage.best_valid_loss if stage.best_valid_loss is not None else stage.loss
    if value is None:
        return "" if stage.phase == "planned" else NONE
    text = f"{value:.4f}" if width >= 9 else f"{value:.3f}"
    return text if len(text) < width else f"{value:.2f}"


def timeline_rows(run: RunState, width: int, height: int) -> list[Row]:
    """Bars, names, times and losses of the stages; the bars go first where room is short."""
    if not run.stages:
        return [(("The stages appear here when the run has been planned.", "dim"),)]
    shown = visible(len(run.stages), max(0, run.stage - 1), width)
    cells = list(zip(_cell_widths(len(shown), width), (run.stages[i] for i in shown), strict=True))
    bars: list[tuple[str, str]] = []
    names: list[tuple[str, str]] = []
    times: list[tuple[str, str]] = []
    losses: list[tuple[str, str]] = []
    for room, stage in cells:
        sign, style = symbol(stage, run.phase)
        current = stage.plan.index == run.stage
        share = 1.0 if stage.phase == "done" else stage.step / stage.plan.steps if stage.plan.steps else 0.0
        bars += [*bar(share, 1.0, room - 1, style), (" ", "")]
        head = f"{sign} " if room >= 7 else sign
        name = f"{percent(stage.plan.ratio):<{room}}"[: room - len(head)]
        names += [(head, style), (name, "strong" if current else "")]
        if stage.phase == "running" and room >= 11:
            time = f"{_time(stage)} {share:4.0%}"
        else:
            time = _time(stage)
        times.append((f"{time:<{room}}"[:room], "dim"))
        losses.append(
            (f"{_loss(stage, room):<{room}}"[:room], "" if stage.phase == "done" or current else "dim")
        )
    rows: list[Row] = [tuple(bars), tuple(names), tuple(losses), tuple(times)]
    if height < len(rows):
        rows = rows[1:]
    return rows[:height]


class Timeline(Lines):
    """The strip of the run that is followed."""

    DEFAULT_CSS = """
    Timeline { height: 4; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._run: RunState | None = None

    def draw(self, run: RunState | None) -> None:
        """Show a run's stages as they are now."""
        self._run = run
        self.update()

    def build(self, width: int, height: int, /) -> Sequence[Row]:
        """The strip."""
        return timeline_rows(self._run if self._run is not None else RunState(), width, height)
