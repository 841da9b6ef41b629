"""The picker's form as a pure function: from what was typed to a ``RunSpec``, or a sentence a field."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Literal, cast

from logbert_engine.protocol.messages import PresetInfo, RunSpec
from logbert_tui.figures import percent

Device = Literal["auto", "cpu", "mps", "cuda"]
DEVICES = ("", "auto", "cpu", "mps", "cuda")
YES_NO = ("", "yes", "no")
_BRACKETS = {"[": "]", "{": "}"}
SHARES = {"start_ratio": "Start", "step_size": "Step", "max_ratio": "End", "sample_ratio": "Share"}


class FieldError(ValueError):
    """A field that cannot be understood; the message is for the user."""


def parse_share(name: str, text: str) -> float | None:
    """A share from ``10%``, ``10 %`` or ``0.1``; None when nothing was typed.

    Raises:
        FieldError: not a number above 0% and up to 100%.
    """
    typed = text.strip()
    if not typed:
        return None
    is_percent = typed.endswith("%")
    try:
        value = float(typed.removesuffix("%").strip().replace(",", "."))
    except ValueError:
        value = math.nan
    if is_percent:
        value /= 100
    if not 0 < value <= 1:
        raise FieldError(f"{name}: {typed!r} is not a share above 0% and up to 100%; write it as 10% or 0.1.")
    return value


def parse_count(name: str, text: str, least: int) -> int | None:
    """A whole number; None when nothing was typed.

    Raises:
        FieldError: not a whole number, or less than ``least``.
    """
    typed = text.strip().replace(",", "")
    if not typed:
        return None
    if typed.lower() == "all" and least == 0:
        return 0
    if not typed.isdecimal() or int(typed) < least:
        all_files = " (0 or all: every file)" if least == 0 else ""
        raise FieldError(f"{name}: {text.strip()!r} is not a whole number from {least} up{all_files}.")
    return int(typed)


def parse_megabytes(text: str) -> float | None:
    """A size in MB from ``8000`` or ``8 GB``; None when nothing was typed.

    Raises:
        FieldError: not a number above 0.
    """
    typed = text.strip()
    if not typed:
        return None
    number = typed.lower().removesuffix("b").rstrip()
    factor = 1024 if number.endswith("g") else 1
    try:
        value = float(number.rstrip("gm").strip().replace(",", "")) * factor
    except ValueError:
        value = math.nan
    if not (value > 0 and math.isfinite(value)):
        raise FieldError(f"Memory: {typed!r} is not a size above 0; write it in MB, as 8000, or as 8 GB.")
    return value


def parse_processes(text: str) -> int | Literal["auto"] | None:
    """How many processes train: a number, or ``auto``; None when nothing was typed.

    Raises:
        FieldError: neither a whole number from 1 up nor ``auto``.
    """
    if text.strip().lower() == "auto":
        return "auto"
    try:
        return parse_count("Processes", text, 1)
    except FieldError as error:
        raise FieldError(f"{str(error).removesuffix('.')}, nor auto (one for each CUDA device).") from None


def parse_overrides(text: str) -> list[str]:
    """The ``path.to.key=value`` in a text, apart by spaces or commas that stand in no quotes or brackets.

    Raises:
        FieldError: a quote or a bracket is not closed.
    """
    found, part, quote, opened = [], "", "", ""
    for char in text + " ":
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in _BRACKETS:
            opened += _BRACKETS[char]
        elif opened and char == opened[-1]:
            opened = opened[:-1]
        elif not opened and (char.isspace() or char == ","):
            found.append(part)
            part = ""
            continue
        part += char
    if missing := quote or opened[-1:]:
        raise FieldError(f"Set: {text.strip()!r} lacks a {missing} at its end; write path.to.key=value.")
    return [part for part in found if part and part != "--set"]


def merge_overrides(overrides: Sequence[str], settings: Sequence[str]) -> str:
    """Text for the field: the overrides, with other settings in the place of those of the same keys."""
    keys = {setting.partition("=")[0] for setting in settings}
    kept = [override for override in overrides if override.partition("=")[0].strip() not in keys]
    return " ".join([*kept, *settings])


def whole_path(typed: str, folder: str) -> str:
    """A path that counts from a folder, whole; one that is whole already or begins with ``~`` stays."""
    path = typed.strip()
    if not path or not folder or path.startswith(("/", "~")):
        return path
    return os.path.normpath(os.path.join(folder, path))  # noqa: PTH118 - text alone, nothing is looked up


def read_form(preset: str, typed: Mapping[str, str], folder: str = "") -> tuple[RunSpec, dict[str, str]]:
    """The run that the form describes.

    Args:
        preset: The chosen preset's name.
        typed: Text by field: data, run_dir, start_ratio, step_size, max_ratio, epochs_per_stage,
            sample_ratio, max_files, max_memory_mb, nproc, overrides, progressive (yes, no or empty), device.
        folder: What relative paths count from; empty leaves them as they are, for an engine elsewhere.

    Returns:
        The run, and a sentence for each field that cannot be understood; those are left to the preset.
    """
    problems: dict[str, str] = {}
    shares: dict[str, float | None] = {}
    counts: dict[str, int | None] = {}
    for field, label in SHARES.items():
        try:
            shares[field] = parse_share(label, typed.get(field, ""))
        except FieldError as error:
            problems[field] = str(error)
    for field, label, least in (("epochs_per_stage", "Epochs", 1), ("max_files", "Files", 0)):
        try:
            counts[field] = parse_count(label, typed.get(field, ""), least)
        except FieldError as error:
            problems[field] = str(error)
    memory: float | None = None
    nproc: int | Literal["auto"] | None = None
    try:
        memory = parse_megabytes(typed.get("max_memory_mb", ""))
    except FieldError as error:
        problems["max_memory_mb"] = str(error)
    try:
        nproc = parse_processes(typed.get("nproc", ""))
    except FieldError as error:
        problems["nproc"] = str(error)
    overrides: list[str] = []
    try:
        overrides = parse_overrides(typed.get("overrides", ""))
    except FieldError as error:
        problems["overrides"] = str(error)
    start, end = shares.get("start_ratio"), shares.get("max_ratio")
    if start is not None and end is not None and start > end:
        problems["start_ratio"] = f"Start: {percent(start)} lies above the end, {percent(end)}."
    if not typed.get("run_dir", "").strip():
        problems["run_dir"] = "Run dir: name the folder that the run is to live in."
    progressive = typed.get("progressive", "")
    spec = RunSpec(
        data=whole_path(typed.get("data", ""), folder),
        run_dir=whole_path(typed.get("run_dir", ""), folder),
        preset=preset,
        progressive=None if not progressive else progressive == "yes",
        start_ratio=shares.get("start_ratio"),
        step_size=shares.get("step_size"),
        max_ratio=shares.get("max_ratio"),
        epochs_per_stage=counts.get("epochs_per_stage"),
        sample_ratio=shares.get("sample_ratio"),
        max_files=counts.get("max_files"),
        max_memory_mb=memory,
        nproc=nproc,
        device=cast("Device | None", typed.get("device") or None),
        overrides=overrides,
    )
    return spec, problems


def placeholders(preset: PresetInfo) -> dict[str, str]:
    """What each field shows while it is empty: the preset's own value."""
    return {
        "start_ratio": percent(preset.start_ratio),
        "step_size": percent(preset.step_size),
        "max_ratio": percent(preset.max_ratio),
        "epochs_per_stage": "auto" if preset.stage_steps else str(preset.epochs),
        "sample_ratio": percent(preset.sample_ratio),
        "max_files": str(preset.max_files) if preset.max_files else "all",
        "max_memory_mb": f"{preset.memory_budget_mb:.0f}" if preset.memory_budget_mb is not None else "any",
        "nproc": str(preset.nproc),
    }
