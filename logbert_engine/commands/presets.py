"""``logbert-engine presets``: list, show or check presets, or print their JSON Schema."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from logbert_engine.presets.fields import json_schema
from logbert_engine.presets.figures import preset_info
from logbert_engine.presets.loading import check_file, list_presets, load_preset
from logbert_engine.presets.runfile import as_yaml
from logbert_engine.presets.types import Preset
from logbert_engine.protocol import wording
from logbert_engine.protocol.errors import PresetError
from logbert_engine.protocol.messages import PresetInfo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the presets, in the order of the picker")
    showing = actions.add_parser("show", help="a preset with every setting and what the documents expect")
    showing.add_argument("name", metavar="NAME", help="a preset's name, or the path of a .yaml file")
    checking = actions.add_parser("check", help="check preset files; errors name line and column")
    checking.add_argument("files", metavar="FILE", nargs="+", type=Path)
    for action in (listing, showing, checking):
        action.add_argument("--json", action="store_true", help="print JSON")
    actions.add_parser("schema", help="print the JSON Schema of a preset file")


def run(arguments: argparse.Namespace) -> int:
    """Carry it out; returns the exit status."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": _list,
        "show": _show,
        "check": _check,
        "schema": _schema,
    }
    return actions[arguments.action](arguments)


def _print_json(value: object) -> None:
    print(msgspec.json.format(msgspec.json.encode(value)).decode())


def _list(arguments: argparse.Namespace) -> int:
    presets = list_presets()
    if arguments.json:
        _print_json([msgspec.structs.asdict(preset_info(preset)) for preset in presets])
        return 0
    rows: list[tuple[str, ...]] = [("NAME", "MODEL", "PARAMETERS", "DATA", "EPOCHS", "BATCH", "HARDWARE")]
    rows += [_row(preset) for preset in presets]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _row(preset: Preset) -> tuple[str, ...]:
    info, steps = preset_info(preset), preset.training.steps
    epochs = f"{info.epochs} a stage" if info.progressive else str(info.epochs)
    return (
        info.name if info.trainable else f"{info.name} (listed only)",
        info.pretrained or f"{info.architecture} {info.hidden}/{info.layers}/{info.heads}",
        _parameters(info),
        _data(info),
        f"{steps:,} steps" if steps else epochs,
        wording.batches(info),
        info.hardware,
    )


def _parameters(info: PresetInfo) -> str:
    if info.parameters is None:
        return "pre-trained"
    events = " + events" if info.family == "encoder" else ""
    return f"{info.parameters / 1e6:,.1f} M{events}"


def _data(info: PresetInfo) -> str:
    files = f"{info.max_files} files" if info.max_files else "all files"
    share = f"{info.sample_ratio:.0%} of {files}"
    if not info.progressive:
        return share if info.max_ratio == 1 else f"{info.max_ratio:.0%} of {share}"
    return f"{share}, in stages of {info.start_ratio:.0%} to {info.max_ratio:.0%}"


def _show(arguments: argparse.Namespace) -> int:
    preset = load_preset(arguments.name)
    info = preset_info(preset)
    if arguments.json:
        _print_json(
            msgspec.to_builtins(preset) | {"parameters": info.parameters, "trainable": info.trainable}
        )
        return 0
    print(f"{preset.title}: {preset.summary}")
    if not info.trainable:
        print("This version lists the preset and cannot train it yet.")
    print(f"Parameters: {_parameters(info)}\nData:       {_data(info)}\nHardware:   {info.hardware}")
    print(f"Batch:      {wording.batch_schedule(info)}")
    print(f"Processes:  {wording.wanted_processes(info.nproc)}")
    if info.price:
        print(f"Price:      {info.price}")
    for kind, text in preset.documented.items():
        print(f"The documents expect (not measured): {kind} {text}")
    print("\nEvery setting:\n")
    print(as_yaml(_settings(preset)), end="")
    return 0


def _settings(preset: Preset) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(preset)
    return {
        k: v
        for k, v in plain.items()
        if k in ("model", "data", "training", "stages", "memory", "workers", "device", "seed")
    }


def _check(arguments: argparse.Namespace) -> int:
    outcomes: list[dict[str, object]] = []
    for path in arguments.files:
        try:
            preset = check_file(path)
            outcomes.append({"file": str(path), "ok": True, "name": preset.name})
        except PresetError as error:
            outcomes.append({"file": str(path), "ok": False, "error": str(error)})
    if arguments.json:
        _print_json(outcomes)
    else:
        for outcome in outcomes:
            if outcome["ok"]:
                print(f"{outcome['file']}: holds")
            else:
                print(outcome["error"], file=sys.stderr)
    return 0 if all(outcome["ok"] for outcome in outcomes) else 1


def _schema(arguments: argparse.Namespace) -> int:  # noqa: ARG001
    _print_json(json_schema())
    return 0
