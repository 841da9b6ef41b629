"""What the run screen says, as rows of text: pure functions of the console's state."""

from __future__ import annotations

from logbert_engine.protocol import wording
from logbert_engine.protocol.expectation import Figure, peak_mb
from logbert_engine.protocol.messages import Accelerator, Resources
from logbert_engine.protocol.runstate import RunState
from logbert_tui.figures import (
    NONE,
    clock,
    count,
    duration,
    keep_start,
    loss,
    megabytes,
    percent,
    rate,
    short,
)
from logbert_tui.state import ConsoleState
from logbert_tui.widgets.cells import clean
from logbert_tui.widgets.chart import ChartData, Window
from logbert_tui.widgets.gauge import BUDGET, EXPECTED, PEAK, Gauge, bar, gauge_row
from logbert_tui.widgets.lines import Row, spread, width_of

PHASES: dict[str, tuple[str, str, str]] = {
    "new": ("○", "dim", "no attempt yet"),
    "preparing": ("◌", "accent", "preparing"),
    "training": ("▶", "accent", "training"),
    "finished": ("✓", "good", "finished"),
    "paused": ("‖", "warn", "paused"),
    "stopped": ("■", "warn", "stopped"),
    "failed": ("✗", "bad", "failed"),
}
SLOW_STEP_S = 3.0
"""Above which the time of a step is told: the figures stand still that long."""
LEVELS = {"debug": ("·", "dim"), "info": ("·", "dim"), "warning": ("▲", "warn"), "error": ("✗", "bad")}


def headline(run: RunState, width: int) -> Row:
    """State, stage, epoch and step at the left; preset and device at the right as far as there is room."""
    sign, style, word = PHASES[run.phase]
    if run.phase == "paused":
        word = wording.phase(run)
    left: list[tuple[str, str]] = [(f"{sign} {word}", style)]
    stage = run.current()
    more: list[tuple[str, str]] = []
    if stage is not None:
        more.append((f"  stage {run.stage} of {len(run.stages)}", "strong"))
        more.append((f" ({percent(stage.plan.ratio)})", "dim"))
        if run.phase != "finished":
            more.append((f"  epoch {max(1, stage.epoch)} of {stage.plan.epochs}", ""))
            if stage.plan.steps:
                more.append((f"  step {count(stage.step)} of {count(stage.plan.steps)}", ""))
    elif run.phase == "preparing":
        more.append(("  before the first stage", "dim"))
    for span in more:
        if width_of(tuple(left)) + len(span[0]) <= width:
            left.append(span)
    ranks = wording.processes(run.world_size)
    choices = (
        (run.preset, ranks, run.device_name or run.device, run.precision),
        (run.preset, ranks, run.device, run.precision),
        (run.preset, ranks),
        (ranks or run.preset,),
    )
    candidates = ["  ".join(part for part in choice if part) for choice in choices]
    used = width_of(tuple(left))
    right = next((text for text in candidates if used + len(text) + 2 <= width), "")
    return spread(tuple(left), ((right, "dim"),), width)


def progress_row(run: RunState, width: int) -> Row:
    """How far the stage, or what comes before it, has got, and the time left."""
    if run.progress is not None and run.active:
        progress = run.progress
        share = progress.done / progress.total if progress.total > 0 else 0.0
        figures = f" {short(progress.done)} of {short(progress.total)} {progress.unit}".rstrip()
        text = f" {share:4.0%}{figures}"
        phase = keep_start(clean(progress.phase), max(8, width - len(text) - 5)) + " "
        return ((phase, ""), *bar(share, 1.0, max(4, width - len(phase) - len(text))), (text, "dim"))
    stage = run.current()
    if stage is None:
        return (("The stages follow when the sessions have been read.", "dim"),) if run.active else ()
    share = stage.step / stage.plan.steps if stage.plan.steps else (1.0 if stage.phase == "done" else 0.0)
    if run.phase == "training":
        stage_left, run_left = run.time_left()
        head, stage_words, run_words = "left", duration(stage_left), duration(run_left)
        if stage_left is None and stage.expected is not None:  # no step has been measured yet
            head, stage_words, run_words = (
                "expected",
                *map(_about, (stage.expected.seconds, run.expected_left)),
            )
        long = f" {share:4.0%}   {head}: stage {stage_words}, run {run_words}"
        step_s = stage.step_s if stage_left is not None else None
        if step_s is not None and step_s >= SLOW_STEP_S and width >= 110:
            long += f", a step {duration(step_s)}"
        text = long if width >= 76 else f" {share:4.0%}  {stage_words} / {run_words}"
    else:
        spent = sum(s.seconds for s in run.stages)
        done = sum(s.phase == "done" for s in run.stages)
        share = done / len(run.stages) if run.phase == "finished" or not stage.step else share
        text = f" {share:4.0%}   {done} of {len(run.stages)} stages done, {duration(spent)} of training"
        if len(text) + 8 > width:
            text = f" {share:4.0%}  {done}/{len(run.stages)} stages"
    style = PHASES[run.phase][1]
    return (*bar(share, 1.0, max(4, width - len(text)), "accent" if style == "dim" else style), (text, ""))


def _about(figure: Figure | None) -> str:
    return duration(figure.value if figure is not None else None)


def gauges(state: ConsoleState) -> list[Gauge]:
    """Worker memory, host memory, CPU and each GPU, as far as they are known."""
    run, resources = state.run or RunState(), state.resources
    made = _worker_gauges(run, resources)
    if resources is None:
        return made
    made.append(
        Gauge(
            "host",
            resources.memory_used_mb,
            resources.memory_mb,
            f"{megabytes(resources.memory_used_mb)}",
        )
    )
    cpu = resources.cpu_percent
    made.append(Gauge("CPU", cpu, 100.0, f"{cpu:.0f}%", full_is_well=True))
    for index, gpu in enumerate(resources.accelerators):
        made.extend(_gpu_gauges(gpu, index if len(resources.accelerators) > 1 else None))
    return made


def _worker_gauges(run: RunState, resources: Resources | None) -> list[Gauge]:
    """The memory that the budget is held against; on a GPU with memory of its own the process's as well."""
    last = run.last if run.active else None
    resident = resources.worker_rss_mb if resources is not None and run.active else None
    if resident is None and last is not None:
        resident = last.rss_mb
    host_mb = resources.memory_mb if resources is not None else None
    if run.device != "cuda":
        value = resident
        if resident is not None and last is not None:
            value = peak_mb(run.device, resident, last.device_mb)
        return [_budgeted("worker", run, value, host_mb)]
    of_gpus = [gpu.memory_mb for gpu in resources.accelerators] if resources is not None else []
    room = next((mb for mb in of_gpus if mb is not None), None)
    on_gpu = _budgeted("on GPU", run, last.device_mb if last is not None else None, room)
    return [on_gpu, Gauge("worker", resident, host_mb, megabytes(resident))]


def _budgeted(label: str, run: RunState, value: float | None, room_mb: float | None) -> Gauge:
    budget, figure = run.memory_budget_mb, run.expected_memory
    expected = figure.value if figure is not None else None
    limit = room_mb
    if budget is not None:
        limit = max(budget * 1.15, run.peak_mb, expected or 0.0)
    elif limit is None and run.peak_mb:
        limit = max(run.peak_mb, expected or 0.0) * 1.25
    peak = max(run.peak_mb, value or 0.0)  # the journal's is some steps old
    return Gauge(label, value, limit, megabytes(value), peak or None, budget, expected)


def _gpu_gauges(gpu: Accelerator, index: int | None) -> list[Gauge]:
    name = gpu.kind.upper() if gpu.kind == "mps" else "GPU"
    label = name if index is None else f"{name} {index}"
    made = []
    if gpu.utilization_percent is not None:
        text = f"{gpu.utilization_percent:.0f}%"
        made.append(Gauge(label, gpu.utilization_percent, 100.0, text, full_is_well=True))
    if gpu.memory_used_mb is not None:
        made.append(Gauge(f"{label} mem", gpu.memory_used_mb, gpu.memory_mb, megabytes(gpu.memory_used_mb)))
    return made or [Gauge(label, None, None, NONE)]


def machine_rows(state: ConsoleState, width: int, height: int) -> list[Row]:
    """The gauges with what their marks mean, then the figures of training."""
    run = state.run or RunState()
    first, *others = gauges(state)
    rows = [gauge_row(first, width), *_mark_rows(first, width)]
    rows += [gauge_row(gauge, width) for gauge in others]
    figures = figure_rows(run, width)
    if len(rows) + 1 + len(figures) <= height:
        rows.append(())
    elif len(rows) + len(figures) > height:  # too low for all: loss and rate matter most
        figures = figures[: max(2, height - len(rows))]
        rows = rows[: max(1, height - len(figures))]
    return (rows + figures)[:height]


def _mark_rows(gauge: Gauge, width: int) -> list[Row]:
    """What the marks on a gauge stand for, in as many rows as it takes."""
    marks = (
        (PEAK, "warn", "peak", gauge.peak),
        (BUDGET, "bad", "budget", gauge.budget),
        (EXPECTED, "strong", "expected", gauge.expected),
    )
    rows: list[Row] = []
    for sign, style, name, value in marks:
        if value is None:
            continue
        said: Row = ((f"{sign} ", style), (f"{name} {megabytes(value)}", "dim"))
        if rows and width_of(rows[-1]) + 2 + width_of(said) <= width:
            rows[-1] = (*rows[-1], ("  ", ""), *said)
        else:
            rows.append(said)
    return rows


def figure_rows(run: RunState, width: int) -> list[Row]:
    """Loss, validation, rate, and what the optimizer does."""
    last, stage = run.last, run.current()
    best = stage.best_valid_loss if stage is not None else None
    live = last if run.phase == "training" else None
    pairs: list[tuple[str, str, str]] = [
        ("loss", loss(last.loss if last is not None else None), "strong"),
        ("validation", loss(best) + (" best" if best is not None else ""), "warn"),
        ("events", rate(live.events_per_s if live is not None else None), ""),
        ("sessions", rate(live.sessions_per_s if live is not None else None), ""),
    ]
    if last is not None:
        pairs.append(("learn rate", f"{last.lr:.2e}", ""))
        pairs.append(("gradient", NONE if last.grad_norm is None else f"{last.grad_norm:.3g}", ""))
    if run.micro_batch:
        most = max(run.micro_batch, run.largest_micro_batch)
        short_of_memory = run.back_off is not None
        at_once = f"{run.micro_batch} of {most} sessions" + (" ▲" if short_of_memory else "")
        pairs.append(("at once", at_once, "warn" if short_of_memory else ""))
    step_s = stage.step_s if stage is not None and live is not None else None
    if step_s is not None and step_s >= SLOW_STEP_S:
        pairs.append(("a step", f"takes {duration(step_s)}", ""))
    if run.model is not None:
        pairs.append(("parameters", short(run.model.parameters), ""))
    if run.data is not None:
        pairs.append(("trains on", f"{short(run.data.train)} sessions", ""))
    return [((f"{name:<11}", "dim"), (value[: max(0, width - 11)], style)) for name, value, style in pairs]


def brief_row(state: ConsoleState, width: int) -> Row:
    """The machine in one line, for terminals too narrow for gauges."""
    run, resources = state.run or RunState(), state.resources
    parts: list[tuple[str, str]] = []
    for gauge in gauges(state)[:3] if resources is not None else gauges(state)[:1]:
        style = gauge.level()
        parts += [(gauge.label + " ", "dim"), (gauge.text + "  ", "" if style == "accent" else style)]
    if run.phase == "training" and run.last is not None:
        parts += [("loss ", "dim"), (loss(run.last.loss) + "  ", "strong"), (rate(run.last.events_per_s), "")]
    kept: list[tuple[str, str]] = []
    for span in parts:
        if width_of(tuple(kept)) + len(span[0]) <= width:
            kept.append(span)
    return tuple(kept)


def chart_data(run: RunState | None) -> ChartData:
    """The curve of losses with its stages."""
    if run is None:
        return ChartData(empty="No run is open.")
    empty = "The loss appears here with the first steps."
    if run.phase in ("paused", "failed", "stopped"):
        empty = "No step was trained."
    curve = run.curve
    starts: list[tuple[float, str]] = []
    total = 0
    for stage in run.stages[: max(1, run.stage)]:
        starts.append((total, percent(stage.plan.ratio)))
        total += stage.plan.steps
    return ChartData(
        x=curve.step,
        y=curve.loss,
        points_x=curve.valid_step,
        points_y=curve.valid_loss,
        boundaries=starts if len(run.stages) > 1 else [],
        empty=empty,
    )


def stage_window(run: RunState) -> Window:
    """The part of the curve that belongs to the current stage."""
    stage = run.current()
    if stage is None:
        return Window()
    before = sum(s.plan.steps for s in run.stages[: run.stage - 1])
    return Window(before, before + max(1, stage.plan.steps))


def idle_keys(run: RunState | None) -> set[str]:
    """The keys of the screen that do nothing in a run's present phase; they are bound all the same."""
    if run is None:
        return {"run.pause", "run.resume", "run.restart_stage", "run.stop", "run.scale", "run.zoom"}
    if run.active:
        return {"run.resume"}
    if run.phase == "finished":
        return {"run.pause", "run.resume", "run.restart_stage", "run.stop"}
    return {"run.pause", "run.stop"}


def log_rows(run: RunState | None, width: int, height: int) -> list[Row]:
    """The latest lines of record that fit, oldest first."""
    if run is None or not run.logs:
        return [(("The run's lines of record appear here; l shows its log files.", "dim"),)]
    rows: list[Row] = []
    for log in run.logs[-height:]:
        sign, style = LEVELS[log.level]
        head = f"{clock(log.t)} "
        message = log.message if log.source == "worker" else f"{log.source}: {log.message}"
        text = keep_start(clean(message), max(1, width - len(head) - 2))
        rows.append(
            ((head, "dim"), (sign + " ", style), (text, style if log.level in ("warning", "error") else ""))
        )
    return rows
