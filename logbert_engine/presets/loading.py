"""Preset files: where they lie, reading one, checking one."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TypeVar

import msgspec

import logbert_engine
from logbert_engine.presets import checking
from logbert_engine.presets.checking import Fault
from logbert_engine.presets.document import Document, no_file, parse
from logbert_engine.presets.types import Preset, RunConfig
from logbert_engine.protocol.errors import PresetError
from logbert_engine.rundir import reading

_SUFFIXES = (".yaml", ".yml")
T = TypeVar("T", bound=msgspec.Struct)


def preset_folder() -> Path:
    """The folder of the shipped presets: inside an installed package, or ``presets/`` of a checkout.

    Raises:
        PresetError: neither is there.
    """
    package = Path(logbert_engine.__file__).resolve().parent
    for folder in (package / "_presets", package.parent / "presets"):
        if any(folder.glob("*.yaml")):
            return folder
    raise PresetError(
        f"the presets that belong to {package} are missing; install logbert-tui again, "
        "or give --preset the path of a .yaml file."
    )


def preset_names() -> list[str]:
    """The names of the shipped presets, sorted."""
    return sorted(path.stem for path in preset_folder().glob("*.yaml"))


def list_presets() -> list[Preset]:
    """The shipped presets in the order of the picker.

    Raises:
        PresetError: one of the files does not hold.
    """
    presets = [check_file(path) for path in preset_folder().glob("*.yaml")]
    return sorted(presets, key=lambda preset: (preset.order, preset.name))


def load_preset(name_or_path: str) -> Preset:
    """A shipped preset by its name, or any by the path of its file (ending in .yaml).

    Raises:
        PresetError: no such preset, or a file that does not hold.
    """
    if name_or_path.endswith(_SUFFIXES):
        return check_file(Path(name_or_path))
    names = preset_names()
    if name_or_path in names:
        return check_file(preset_folder() / f"{name_or_path}.yaml")
    close = difflib.get_close_matches(name_or_path, names, n=1)
    suggestion = f'did you mean "{close[0]}"? The' if close else "the"
    raise PresetError(
        f'unknown preset "{name_or_path}"; {suggestion} presets are {", ".join(names)}; '
        "the path of a .yaml file works too."
    )


def check_file(path: Path) -> Preset:
    """Read and check one preset file.

    Raises:
        PresetError: unreadable, not YAML, or a setting that does not hold; names file, line and column.
    """
    try:
        content = reading.content(path.expanduser(), reading.SMALL)
    except (OSError, ValueError, RuntimeError) as error:  # also a zero byte, or ~somebody who is no user
        no_file(path, error)
    document = parse(content, str(path))
    preset = read_as(document, Preset)
    if preset.name != path.stem:
        raise document.error(
            document.place(("name",)),
            f'name is "{preset.name}" but the file is called {path.name}; make them the same.',
        )
    return preset


def read_as(document: Document, kind: type[T]) -> T:
    """A document as the declared type, checked.

    Raises:
        PresetError: with ``source:line:column`` of the setting at fault.
    """
    if document.value is None:
        raise document.error(
            document.place(()), "the file is empty; a preset has at least a name and a model."
        )
    try:
        value = checking.convert(document.value, kind)
        if isinstance(value, Preset | RunConfig):
            checking.check(value)
    except Fault as fault:
        written = [path for path in fault.paths if document.has(path)]
        place = document.place((written or fault.paths)[0], on_key=fault.on_key)
        raise document.error(place, fault.message) from fault
    return value
