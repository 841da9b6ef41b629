"""The picker's detail pane, as rows of text: what the chosen preset would take, and which preset is next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from logbert_engine.protocol import figures_in_words as words
from logbert_engine.protocol.estimates import Estimate, Measuring, StageEstimate
from logbert_engine.protocol.messages import PresetInfo
from logbert_engine.protocol.wording import batch_schedule, wanted_processes
from logbert_tui.figures import count, keep_start, megabytes, percent, short
from logbert_tui.screens.picker_asking import Answer
from logbert_tui.screens.picker_presets import SIGNS
from logbert_tui.widgets.cells import clean, fit
from logbert_tui.widgets.lines import Row

FIELD_WIDTH = 11
"""Cells of a name before its text."""
_WIDE = 46
"""Cells from which on times of stages have their range beside them."""
_LEAST_PART_MB = 0.5


@dataclass(frozen=True)
class Chosen:
    """The preset that the cursor is on, and what is known of it."""

    preset: PresetInfo
    answer: Answer
    has_data: bool = False
    measuring: Measuring | None = None
    is_training: bool = False
    """Whether a run takes the machine's time."""


def detail_rows(chosen: Chosen | None, width: int) -> list[Row]:
    """Everything about the chosen preset."""
    if chosen is None:
        return [(("The presets appear here when the engine answers.", "dim"),)]
    preset, answer = chosen.preset, chosen.answer
    title = keep_start(clean(preset.title), width)
    rows: list[Row] = [((title, "strong"), (keep_start(f"  {preset.name}", width - len(title)), "dim"))]
    rows += wrapped(preset.summary, width)
    if not preset.trainable:
        rows += wrapped(f"▲ {why_not_trainable(preset)}", width, "warn")
    rows.append(())
    estimate = answer.estimates.get(preset.name)
    if problem := answer.problem_of(preset.name):
        rows += wrapped(f"▲ {problem}", width, "warn")
    if chosen.measuring is not None:
        rows += measuring_rows(chosen.measuring, chosen.is_training, width)
    if estimate is not None:
        rows += _verdict(estimate, width)
        rows += _figures(estimate, chosen.has_data, width)
    elif answer.waiting and not problem:
        rows += wrapped("… asking what this machine can do", width, "dim")
    rows += [(), *_preset(preset, width)]
    if estimate is not None:
        rows += _there(estimate, width)
    if preset.documented:
        rows += [(), *wrapped(words.THEIRS, width, "warn")]
        for name, value in preset.documented.items():
            rows += field(name, value, width, "dim")
    if estimate is not None and estimate.assumed:
        rows.append(())
        for text in estimate.assumed:
            rows += wrapped(f"taken for granted: {text}", width, "dim")
    return rows


def why_not_trainable(preset: PresetInfo) -> str:
    """One sentence for a preset that is listed only."""
    kind = "decoder over text" if preset.family == "decoder" else "kind of model"
    return f"Listed for its figures: this version does not train a {kind}. Choose an encoder preset to train."


def measuring_rows(progress: Measuring, is_training: bool, width: int) -> list[Row]:
    """How far a measurement is."""
    step = f"step {progress.step} of {progress.steps}" if progress.steps else "starting"
    rows = wrapped(f"measuring {progress.preset}: {step}; m or Esc cancels", width, "accent")
    if is_training:
        rows += wrapped(
            "▲ A run is training here, which makes what is measured slower than it is.", width, "warn"
        )
    return [*rows, ()]


# What it would take


def _verdict(estimate: Estimate, width: int) -> Iterator[Row]:
    sign, tone = SIGNS[estimate.verdict.fit]
    yield from wrapped(f"{sign} {estimate.verdict.words}", width, tone)
    if estimate.verdict.settings:
        yield from wrapped(f"x sets {' '.join(estimate.verdict.settings)}", width, "accent", "  ")


def _figures(estimate: Estimate, has_data: bool, width: int) -> Iterator[Row]:
    """Memory, model, step, stages and time, each with its range and origin."""
    runs = estimate.verdict.fit != "too large"
    yield ()
    if runs:
        if estimate.seconds is None and not has_data:
            yield from field("whole run", "known once the sessions are named (d)", width, "dim")
        else:
            yield from field("whole run", words.time(estimate.seconds), width, "strong")
        yield from field("step", words.time(estimate.step_s), width)
    memory = f"{words.memory(estimate.memory)}, {estimate.memory.origin}"
    if estimate.budget_mb is not None:
        above = "above the budget of" if estimate.memory.value > estimate.budget_mb else "budget"
        memory += f"; {above} {megabytes(estimate.budget_mb)}"
    yield from field("memory", memory, width)
    parts = (f"{name} {megabytes(mb)}" for name, mb in estimate.memory_parts.items() if mb >= _LEAST_PART_MB)
    yield from field("", ", ".join(parts), width, "dim")
    yield from field("parameters", words.parameters(estimate), width)
    yield from field("device", words.where(estimate), width)
    yield from field("work", words.work(estimate), width)
    if estimate.stages:
        yield ()
        yield from _stages(estimate.stages, width, timed=runs)


def _stages(stages: Sequence[StageEstimate], width: int, *, timed: bool) -> Iterator[Row]:
    wide = width >= _WIDE
    number, room = (count, 11) if wide else (short, 7)
    yield ((f"stage{'sessions':>{room}}{'steps':>{room}}  time", "dim"),)
    for stage in stages:
        cells = f"{percent(stage.ratio):>5}{number(stage.sessions):>{room}}{number(stage.steps):>{room}}  "
        time = ""
        if stage.seconds is not None and timed:
            time = words.duration(stage.seconds) if wide else words.seconds(stage.seconds.value)
        yield ((cells, ""), (keep_start(time, width - len(cells)), ""))


def _there(estimate: Estimate, width: int) -> Iterator[Row]:
    there = estimate.elsewhere
    if there is None:
        return
    yield ()
    yield from wrapped(f"On {clean(there.machine)}, which it was made for (computed)", width, "accent")
    for name, text in words.there_in_words(there):
        yield from field(name, text, width)
    if not there.fits:
        yield from wrapped("▲ It does not fit there either.", width, "warn")
    if there.words:
        yield from wrapped(there.words, width, "warn")


def _preset(preset: PresetInfo, width: int) -> Iterator[Row]:
    """What the preset sets."""
    yield from field("made for", preset.hardware, width)
    yield from field("model", model_text(preset), width)
    yield from field("data", data_text(preset), width)
    yield from field("training", training_text(preset), width)
    if preset.nproc != 1:
        yield from field("processes", wanted_processes(preset.nproc), width)
    if preset.price:
        yield from field("price", preset.price, width)


def model_text(preset: PresetInfo) -> str:
    """The model in words."""
    start = f"from {preset.pretrained}, " if preset.pretrained else ""
    sizes = f"{preset.hidden} wide, {preset.layers} layers, {preset.heads} heads, " if preset.hidden else ""
    return f"{preset.architecture} {preset.family}, {start}{sizes}sequences to {count(preset.max_length)}"


def data_text(preset: PresetInfo) -> str:
    """What share of the data is used."""
    files = f"of {preset.max_files} files" if preset.max_files else "of all files"
    return f"{percent(preset.sample_ratio)} of the sessions {files}"


def training_text(preset: PresetInfo) -> str:
    """Stages, epochs and batch in words."""
    epochs = f"{preset.epochs} epoch" + ("s" if preset.epochs != 1 else "")
    if preset.stage_steps:
        epochs = f"about {preset.stage_steps:,} steps"
    if preset.progressive:
        span = f"{percent(preset.start_ratio)} to {percent(preset.max_ratio)}"
        return f"{span} by {percent(preset.step_size)}, {epochs} a stage, batch {batch_schedule(preset)}"
    return f"one stage, {epochs}, batch {batch_schedule(preset)}"


# The other pages


def guide_rows(answer: Answer, width: int) -> list[Row]:
    """Which preset is next, with and without a budget and with a DGX."""
    rows: list[Row] = [(("Which preset next", "strong"),), ()]
    if not answer.advice:
        return [*rows, (("… asking what this machine can do" if answer.waiting else answer.problem, "dim"),)]
    for text in answer.advice:
        situation, _, advice = clean(text).partition(": ")
        rows += [((situation, "accent"),), *wrapped(advice, width, indent="  "), ()]
    return [
        *rows,
        *wrapped("Times and costs with their range, computed unless they were measured here.", width, "dim"),
    ]


def yaml_rows(text: str, width: int) -> list[Row]:
    """The configuration that would run."""
    if not text:
        return wrapped("The run.yaml appears here once the sessions to train on are named (d).", width, "dim")
    rows: list[Row] = []
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        pieces = textwrap.wrap(
            clean(line),
            max(10, width),
            subsequent_indent=indent,
            break_on_hyphens=False,
            drop_whitespace=True,
        )
        rows += [((piece, ""),) for piece in pieces] or [()]
    return rows


def wrapped(text: str, width: int, style: str = "", indent: str = "") -> list[Row]:
    """A text over as many rows as it needs."""
    lines = textwrap.wrap(clean(text), max(10, width), initial_indent=indent, subsequent_indent=indent)
    return [((line, style),) for line in lines]


def field(name: str, text: str, width: int, style: str = "") -> list[Row]:
    """A name, and a text beside it over as many rows as it needs."""
    lines = textwrap.wrap(clean(text), max(10, width - FIELD_WIDTH)) or [""]
    return [
        ((fit("" if y else clean(name), FIELD_WIDTH - 1) + " ", "dim"), (line, style))
        for y, line in enumerate(lines)
    ]
