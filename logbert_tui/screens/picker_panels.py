"""What the picker says, as rows of text: pure functions of presets, hardware and data."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from logbert_engine.protocol.messages import Accelerator, DataSummary, Hardware, PresetInfo, RunInfo, RunSpec
from logbert_engine.protocol.wording import batch_schedule, batches, wanted_processes
from logbert_tui.figures import (
    NONE,
    ago,
    count,
    home_path,
    keep_last_parts,
    keep_start,
    loss,
    megabytes,
    percent,
    short,
    size,
)
from logbert_tui.screens.picker_form import stage_ratios
from logbert_tui.screens.run_panels import PHASES
from logbert_tui.widgets.cells import clean, fit
from logbert_tui.widgets.lines import Row, width_of
from logbert_tui.widgets.rows import Span

FIELD_WIDTH = 10
"""Cells of a name before its text."""

# Hardware


def hardware_row(hardware: Hardware | None, width: int) -> Row:
    """This machine in one line, the most telling parts first."""
    if hardware is None:
        return ((" This machine: waiting for the engine …", "dim"),)
    memory = f"{megabytes(hardware.memory_available_mb)} free of {megabytes(hardware.memory_mb)}"
    if hardware.memory_limit_mb is not None and hardware.memory_limit_mb < hardware.memory_mb:
        memory += f", limit {megabytes(hardware.memory_limit_mb)}"
    cores = f"{hardware.cores} cores" if hardware.cores != 1 else "1 core"
    if hardware.threads > hardware.cores:
        cores += f", {hardware.threads} threads"
    parts = [("strong", clean(hardware.processor)), ("", cores), ("", memory)]
    parts += [("accent", accelerator_text(gpu)) for gpu in grouped(hardware.accelerators)]
    if not hardware.accelerators:
        parts.append(("dim", "no GPU: CPU"))
    parts += [
        ("dim", f"disk {megabytes(hardware.disk_free_mb)} free"),
        ("dim", hardware.host),
        ("dim", hardware.system),
    ]
    row: list[tuple[str, str]] = [(" ", ""), (keep_start(parts[0][1], max(8, width - 36)), "strong")]
    for style, text in parts[1:]:
        if width_of(tuple(row)) + 5 + len(text) > width:
            break
        row += [("  ·  ", "faint"), (text, style)]
    return tuple(row)


def grouped(accelerators: Sequence[Accelerator]) -> list[Accelerator]:
    """One of each kind of GPU."""
    return list({(gpu.name, gpu.memory_mb): gpu for gpu in accelerators}.values())


def accelerator_text(gpu: Accelerator) -> str:
    """A GPU's name and memory."""
    memory = f" {megabytes(gpu.memory_mb)}" if gpu.memory_mb is not None else ""
    shared = " shared" if gpu.unified_memory else ""
    return f"{clean(gpu.name)}{memory}{shared}" + (f" ({gpu.note})" if gpu.note else "")


# Presets

_COLUMNS: tuple[tuple[str, int, int], ...] = (
    # title, cells, importance (lower is kept longer)
    ("preset", 12, 0),
    ("hardware", 12, 5),
    ("model", 17, 1),
    ("seq", 4, 8),
    ("share", 5, 3),
    ("files", 5, 7),
    ("stages", 7, 2),
    ("epoch", 5, 4),
    ("batch", 5, 6),
)
LIST_MARGIN = 3
"""Cells of a list's row that are not the preset's: the cursor's mark and the scroll mark."""
_RIGHT = {"seq", "share", "files", "epoch", "batch"}


def columns(width: int) -> list[tuple[str, int]]:
    """The columns that fit, with their cells; room that is left goes to the hardware, or to the model."""
    kept: set[str] = set()
    used = 0
    for title, cells, _ in sorted(_COLUMNS, key=lambda column: column[2]):
        if used + cells + 1 > width:
            break
        kept.add(title)
        used += cells + 1
    wide = "hardware" if "hardware" in kept else "model"
    spare = max(0, min(24, width - used))
    return [(title, cells + (spare if title == wide else 0)) for title, cells, _ in _COLUMNS if title in kept]


def preset_header(width: int) -> Row:
    """The columns' titles, after the cells of the cursor's mark; a model is width / layers / heads."""
    cells = [
        fit("model w/l/h" if title == "model" else title, room, right=title in _RIGHT)
        for title, room in columns(width - LIST_MARGIN)
    ]
    return (("  " + " ".join(cells), "dim"),)


def preset_spans(preset: PresetInfo, width: int) -> list[Span]:
    """A row of the list."""
    figures = {
        "preset": preset.name,
        "hardware": clean(preset.hardware),
        "model": preset.pretrained or f"{preset.hidden} / {preset.layers} / {preset.heads}",
        "seq": str(preset.max_length),
        "share": percent(preset.sample_ratio),
        "files": str(preset.max_files) if preset.max_files else "all",
        "stages": f"{percent(preset.start_ratio).removesuffix('%')}→{percent(preset.max_ratio)}"
        if preset.progressive
        else "one",
        "epoch": "auto" if preset.stage_steps else str(preset.epochs),
        "batch": batches(preset),
    }
    spans = []
    for title, room in columns(width):
        tone = (
            "dim"
            if not preset.trainable
            else "strong"
            if title == "preset"
            else "dim"
            if title == "hardware"
            else ""
        )
        spans.append(Span(fit(figures[title], room, right=title in _RIGHT) + " ", tone))
    return spans


class PresetRows:
    """The presets as rows of a list."""

    def __init__(self, presets: Sequence[PresetInfo]) -> None:
        self.presets = presets
        self.width = 0
        """Cells of a row, the same with and without a scroll mark, so that rows stand under the header."""

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.presets)

    def row(self, index: int, width: int) -> Sequence[Span]:
        """One preset."""
        return preset_spans(self.presets[index], self.width or width)

    def request(self, first: int, last: int, /) -> None:
        """All are there."""


def detail_rows(
    preset: PresetInfo | None,
    spec: RunSpec | None,
    data: DataSummary | None,
    hardware: Hardware | None,
    width: int,
) -> list[Row]:
    """Everything about the chosen preset."""
    if preset is None:
        return [(("The presets appear here when the engine answers.", "dim"),)]
    title = keep_start(clean(preset.title), width)
    rows: list[Row] = [((title, "strong"), (keep_start(f"  {preset.name}", width - len(title)), "dim"))]
    rows += _wrapped(preset.summary, width, "")
    if not preset.trainable:
        rows += _wrapped(f"▲ {why_not_trainable(preset)}", width, "warn")
    rows.append(())
    rows += _field("hardware", preset.hardware, width)
    rows += _field("model", model_text(preset), width)
    rows += _field("data", data_text(preset), width)
    rows += _field("training", training_text(preset), width)
    if preset.memory_budget_mb is not None:
        rows += _field("memory", memory_text(preset.memory_budget_mb, hardware), width)
    if preset.nproc != 1:
        rows += _field("processes", wanted_processes(preset.nproc), width)
    if preset.price:
        rows += _field("price", preset.price, width)
    if spec is not None:
        rows += _field("stages", stages_text(preset, spec, data), width)
    if preset.documented:
        rows.append(())
        rows += _wrapped("documented (the source documents' own figures, not measured)", width, "warn")
        for name, value in preset.documented.items():
            rows += _field(name, value, width, "dim")
    return rows


def why_not_trainable(preset: PresetInfo) -> str:
    """One sentence for a preset that is listed only."""
    kind = "decoder over text" if preset.family == "decoder" else "kind of model"
    return f"Listed for its figures: this version does not train a {kind}. Choose an encoder preset to train."


def model_text(preset: PresetInfo) -> str:
    """The model in words."""
    start = f"from {preset.pretrained}, " if preset.pretrained else ""
    sizes = f"{preset.hidden} wide, {preset.layers} layers, {preset.heads} heads, " if preset.hidden else ""
    parameters = f", {short(preset.parameters)} parameters" if preset.parameters is not None else ""
    longest = f"sequences to {count(preset.max_length)}"
    return f"{preset.architecture} {preset.family}, {start}{sizes}{longest}{parameters}"


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


def memory_text(budget_mb: float, hardware: Hardware | None) -> str:
    """The budget, and whether the machine has that much free."""
    text = f"budget {megabytes(budget_mb)}"
    if hardware is None:
        return text
    free = hardware.memory_available_mb
    if budget_mb <= free:
        return f"{text}; {megabytes(free)} is free here"
    return f"{text}; only {megabytes(free)} is free here, so watch the gauge"


def stages_text(preset: PresetInfo, spec: RunSpec, data: DataSummary | None) -> str:
    """The stages with the sessions that each would have, where the data is known."""
    ratios = stage_ratios(preset, spec)
    if data is None or not data.estimated_sessions:
        return ", ".join(percent(ratio) for ratio in ratios)
    share = spec.sample_ratio if spec.sample_ratio is not None else preset.sample_ratio
    most = spec.max_files if spec.max_files is not None else preset.max_files
    used = min(data.files, most) / data.files if most and data.files else 1.0
    sessions = data.estimated_sessions * share * used
    return (
        ", ".join(f"{percent(ratio)} ≈ {short(sessions * ratio)}" for ratio in ratios)
        + " sessions before the split"
    )


# Data and runs


def data_row(data: DataSummary | None, problem: str, checking: bool, width: int) -> list[Row]:
    """What the live check of the data path found; a problem takes up to three lines."""
    if problem:
        lines = textwrap.wrap(problem, max(10, width - 2))[:3]
        return [(("  " if y else "✗ ", "bad"), (line, "bad")) for y, line in enumerate(lines)]
    if checking:
        return [(("… looking", "dim"),)]
    if data is None:
        return [((keep_start("folder or file: .json, .jsonl, .json.gz", width), "dim"),)]
    files = "1 file" if data.files == 1 else f"{count(data.files)} files"
    days = (
        f"{data.first_day} … {data.last_day}"
        if data.first_day and data.last_day != data.first_day
        else data.first_day
    )
    parts = [
        files,
        size(data.bytes),
        f"≈ {short(data.estimated_sessions)} sessions",
        f"{data.distinct_events} events",
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
                (f"{data.rejected} of the first {data.peeked_sessions} records cannot be used", "warn"),
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
            lines[-1] = f"{lines[-1]} {part}".strip(" ") if lines[-1] else part
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


def _wrapped(text: str, width: int, style: str) -> list[Row]:
    return [((line, style),) for line in textwrap.wrap(clean(text), max(10, width))]


def _field(name: str, text: str, width: int, style: str = "") -> list[Row]:
    lines = textwrap.wrap(clean(text), max(10, width - FIELD_WIDTH)) or [""]
    return [((f"{'' if y else name:<{FIELD_WIDTH}}", "dim"), (line, style)) for y, line in enumerate(lines)]
