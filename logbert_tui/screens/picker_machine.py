"""This machine in the picker, as rows of text: one where there is little room, else a few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from logbert_engine.protocol.messages import Accelerator, Hardware
from logbert_tui.figures import megabytes
from logbert_tui.widgets.cells import clean, fit
from logbert_tui.widgets.lines import Row, Span, width_of

MOST_ROWS = 4
_NAME = 8
_LEAST = 24
"""Cells of a part that are worth reading where the rest is cut."""


def hardware_rows(hardware: Hardware | None, width: int, most: int) -> list[Row]:
    """This machine in as many rows as it has to say, and no more than ``most``."""
    if hardware is None:
        return [((" This machine: waiting for the engine …", "dim"),)]
    if most < 3:
        return [_joined(_summary(hardware), width)]
    where = f"{hardware.host}, {hardware.system}"
    disk = f"{megabytes(hardware.disk_free_mb)} free"
    rows = [
        _named(
            "chip", [(clean(hardware.processor), "strong"), (cores_text(hardware), ""), (where, "dim")], width
        ),
        _named("memory", [(memory_text(hardware), ""), (f"disk {disk}", "dim")], width),
    ]
    gpus = grouped(hardware.accelerators)
    for gpu, many in gpus[: most - 2]:
        rows.append(_named("GPU", gpu_parts(gpu, many), width))
    if not gpus:
        rows.append(_named("GPU", [("none: training runs on the processor", "dim")], width))
    return rows


def cores_text(hardware: Hardware) -> str:
    """Cores by kind, and the threads and time that they come to."""
    text = f"{hardware.cores} cores" if hardware.cores != 1 else "1 core"
    of_kinds = hardware.performance_cores or hardware.efficiency_cores
    if of_kinds and "efficiency" not in hardware.processor:  # which macOS names with them
        text += f" ({hardware.performance_cores} performance, {hardware.efficiency_cores} efficiency)"
    if hardware.threads > hardware.cores:
        text += f", {hardware.threads} threads"
    if hardware.cpu_limit is not None:
        text += f", limited to the time of {hardware.cpu_limit:g}"
    return text


def memory_text(hardware: Hardware) -> str:
    """Memory that is free, that there is, and a limit on it."""
    text = f"{megabytes(hardware.memory_available_mb)} free of {megabytes(hardware.memory_mb)}"
    if hardware.memory_limit_mb is not None and hardware.memory_limit_mb < hardware.memory_mb:
        text += f", limit {megabytes(hardware.memory_limit_mb)}"
    return text


def grouped(accelerators: Sequence[Accelerator]) -> list[tuple[Accelerator, int]]:
    """One of each kind of GPU, with how many of it there are."""
    first = {(gpu.name, gpu.memory_mb): gpu for gpu in reversed(accelerators)}
    many = Counter((gpu.name, gpu.memory_mb) for gpu in accelerators)
    return [(first[kind], number) for kind, number in many.items()]


def gpu_parts(gpu: Accelerator, many: int) -> list[Span]:
    """What is known of GPUs of a kind: the first part names them."""
    parts = [(gpu_text(gpu, many), "accent")]
    if gpu.cores:
        parts.append((f"{gpu.cores} cores", ""))
    if gpu.memory_used_mb and not gpu.unified_memory:
        parts.append((f"{megabytes(gpu.memory_used_mb)} in use", ""))
    if gpu.compute_capability:
        parts.append((f"capability {gpu.compute_capability}", ""))
    if gpu.bf16 is not None:
        parts.append(("bf16" if gpu.bf16 else "no bf16", ""))
    if gpu.driver:
        parts.append((f"driver {clean(gpu.driver)}", "dim"))
    if gpu.note:
        parts.append((clean(gpu.note), "dim"))
    return parts


def gpu_text(gpu: Accelerator, many: int) -> str:
    """Name and memory: ``4 × Tesla V100 31.7 GB``."""
    memory = f" {megabytes(gpu.memory_mb)}" if gpu.memory_mb is not None else ""
    shared = " shared" if gpu.unified_memory else ""
    return (f"{many} × " if many > 1 else "") + f"{clean(gpu.name)}{memory}{shared}"


def _summary(hardware: Hardware) -> list[Span]:
    """The most telling parts first."""
    chip = [(clean(hardware.processor), "strong"), (cores_text(hardware), "")]
    memory = (memory_text(hardware), "")
    gpus = [(gpu_text(gpu, many), "accent") for gpu, many in grouped(hardware.accelerators)]
    return [
        *([*gpus, memory, *chip] if gpus else [*chip, memory, ("no GPU", "dim")]),
        (f"disk {megabytes(hardware.disk_free_mb)} free", "dim"),
        (f"{hardware.host}, {hardware.system}", "dim"),
    ]


def _named(name: str, parts: Sequence[Span], width: int) -> Row:
    return ((f" {name:<{_NAME}}", "dim"), *_joined(parts, width - _NAME - 1)[1:])


def _joined(parts: Sequence[Span], width: int) -> Row:
    """As many parts as there is room for; the one at the edge is cut where enough of it can be read."""
    row: Row = ()
    for text, tone in parts:
        lead = ("  ·  ", "faint") if row else (" ", "")
        room = width - width_of(row) - len(lead[0])
        if row and room < min(len(text), _LEAST):
            break
        row = (*row, lead, (fit(text, max(8, room)).rstrip(), tone))
        if room < len(text):
            break
    return row
