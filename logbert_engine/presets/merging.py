"""From a request to the configuration of a run: the preset, then the flags, then the overrides."""

from __future__ import annotations

import math
import os
from pathlib import PurePath
from typing import Any, NamedTuple

import msgspec

from logbert_engine import __version__
from logbert_engine.presets import checking
from logbert_engine.presets.checking import Fault
from logbert_engine.presets.document import KeyPath, is_unicode, parse, sentence, shorten, show_path
from logbert_engine.presets.fields import is_text, keys_of, may_be_null, nearest, type_at, type_of
from logbert_engine.presets.loading import load_preset
from logbert_engine.presets.types import Encoder, RunConfig
from logbert_engine.protocol.errors import LogbertError, PresetError
from logbert_engine.protocol.locations import given_path
from logbert_engine.protocol.messages import RunSpec


class Flag(NamedTuple):
    """A flag of ``logbert-engine train`` that stands for one setting."""

    name: str
    field: str
    """Of ``RunSpec``."""
    path: KeyPath


FLAGS = (
    Flag("--progressive", "progressive", ("stages", "progressive")),
    Flag("--pretrained", "pretrained", ("model", "pretrained")),
    Flag("--start-ratio", "start_ratio", ("stages", "start_ratio")),
    Flag("--step-size", "step_size", ("stages", "step_size")),
    Flag("--max-ratio", "max_ratio", ("stages", "max_ratio")),
    Flag("--epochs-per-stage", "epochs_per_stage", ("stages", "epochs")),
    Flag("--sample-ratio", "sample_ratio", ("data", "sample_ratio")),
    Flag("--max-files", "max_files", ("data", "max_files")),
    Flag("--max-memory-mb", "max_memory_mb", ("memory", "max_mb")),
    Flag("--nproc", "nproc", ("workers", "nproc")),
    Flag("--device", "device", ("device",)),
    Flag("--seed", "seed", ("seed",)),
    Flag("--evaluate", "evaluate", ("evaluate",)),
)

_SETTABLE = ("model", "data", "training", "stages", "memory", "workers", "device", "seed")
_BATCH: KeyPath = ("training", "batch")
_STAGE_STEPS: KeyPath = ("training", "stage_steps")
_BATCHES: KeyPath = ("training", "batch_by_ratio")
_ELSEWHERE: dict[KeyPath, str] = {
    ("data", "path"): "use --data",
    ("model", "family"): "choose another preset, since a family has settings of its own",
}


def resolve(spec: RunSpec) -> RunConfig:
    """The configuration that a request stands for.

    Args:
        spec: preset, flags (None: the preset's value) and overrides; later ones win. Relative paths count
            from the working directory of this process. An override of ``training.batch`` holds for every
            stage: the preset's ``batch_by_ratio`` is dropped, unless an override sets that too.

    Returns:
        A checked configuration. ``data.path`` and a pre-trained folder are absolute. A pre-trained id named
        after DistilBERT makes the architecture ``distilbert``, unless an override says otherwise.

    Raises:
        PresetError: no such preset, an unknown key, a value that does not hold; names the flag, the override
            or the preset that it comes from.
    """
    if not spec.data:
        raise PresetError("--data is missing; give a session file or a directory of them.")
    preset = load_preset(spec.preset)
    config: dict[str, Any] = msgspec.to_builtins(preset)
    for key in ("name", "title", "summary", "order"):
        del config[key]
    config["preset"], config["engine_version"] = preset.name, __version__
    config["data"]["path"] = _absolute(spec.data, "--data")
    origins: dict[KeyPath, str] = {("data", "path"): "--data"}
    for flag in FLAGS:
        value = getattr(spec, flag.field)
        if value is None:
            continue
        if flag.field == "pretrained":
            _set_pretrained(config, spec, isinstance(preset.model, Encoder))
        else:
            _put(config, flag.path, _absolute(value, flag.name) if flag.field == "evaluate" else value)
        if flag.field == "epochs_per_stage":
            _put(config, _STAGE_STEPS, 0)  # who asks for epochs means so many times through the sessions
        origins[flag.path] = f"{flag.name} {value}" if flag.field != "progressive" else _progressive(value)
    for text in spec.overrides:
        path = _override(config, text)
        origins[path] = f"--set {shorten(text).strip(chr(34))}"
    if _BATCH in origins and _BATCHES not in origins:
        _put(config, _BATCHES, ())  # who asks for one batch means every stage
    return _checked(config, origins, spec.preset)


def _set_pretrained(config: dict[str, Any], spec: RunSpec, encoder: bool) -> None:
    name = spec.pretrained or ""
    if not encoder:
        raise PresetError(
            f"--pretrained {name}: the preset {spec.preset} is a decoder, which starts from nothing; "
            "leave --pretrained out, or choose an encoder preset such as transfer."
        )
    local = name.startswith(("/", "./", "../", "~")) or os.path.isdir(name)  # noqa: PTH112 (never raises)
    config["model"]["pretrained"] = _absolute(name, "--pretrained") if local else name
    last = PurePath(name).name
    if last.startswith(("bert", "distilbert")):
        config["model"]["architecture"] = "distilbert" if last.startswith("distilbert") else "bert"


def _absolute(path: str, flag: str) -> str:
    try:
        return str(given_path(path, flag).absolute())
    except LogbertError as error:
        raise PresetError(str(error)) from error
    except OSError as error:  # the working directory is gone
        raise PresetError(f"{flag} {path}: {error.strerror or error}; give an absolute path.") from error


def _override(config: dict[str, Any], text: str) -> KeyPath:
    key, equals, value = text.partition("=")
    name = f"--set {shorten(text).strip(chr(34))}"
    if not equals:
        raise PresetError(f"{name}: there is no = in it; write path.to.key=value.")
    path = tuple(key.strip().split("."))
    _known(config, path, name)
    declared = type_at(type_of(RunConfig), config, path)
    assert declared is not None
    raw = value.strip()
    if is_text(declared) and not (raw.startswith(("'", '"'))):
        plain: Any = None if raw in ("", "~", "null") and may_be_null(declared) else raw
    else:
        plain = parse(value, f"{name}: value").value
    _put(config, path, plain)
    return path


def _known(config: dict[str, Any], path: tuple[str, ...], name: str) -> None:
    declared = type_of(RunConfig)
    for i, step in enumerate(path):
        above = path[:i]
        here = type_at(declared, config, above)
        assert here is not None
        keys = list(_SETTABLE) if not above else keys_of(here, _at(config, above))
        if step not in keys:
            hint = nearest(step, [k for k in keys if (*above, k) not in _ELSEWHERE])
            inside = f" in {show_path(above)}" if above else ""
            raise PresetError(f"{name}: unknown key {shorten(step)}{inside}; {sentence(hint)}")
    if path in _ELSEWHERE:
        raise PresetError(f"{name}: this is not set so; {_ELSEWHERE[path]}.")
    inner = type_at(declared, config, path)
    if inner is not None and (keys := keys_of(inner, _at(config, path))):
        known = ", ".join(f"{path[-1]}.{k}" for k in keys if (*path, k) not in _ELSEWHERE)
        raise PresetError(f"{name}: {show_path(path)} is a group of keys; set one of {known}.")


def _at(config: dict[str, Any], path: KeyPath) -> Any:
    value: Any = config
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _put(config: dict[str, Any], path: KeyPath, value: Any) -> None:
    for step in path[:-1]:
        config = config[str(step)]
    config[str(path[-1])] = value


def _checked(config: dict[str, Any], origins: dict[KeyPath, str], preset: str) -> RunConfig:
    try:
        _check_plain(config, ())
        resolved = checking.convert(config, RunConfig)
        checking.check(resolved)
    except Fault as fault:
        given = next(
            (
                origins[path[:n]]
                for path in fault.paths
                for n in range(len(path), 0, -1)
                if path[:n] in origins
            ),
            f"preset {preset}",
        )
        raise PresetError(f"{given}: {sentence(fault.message)}") from fault
    return resolved


def _check_plain(value: Any, path: KeyPath) -> None:
    """Flags can carry what no file can: infinities, endless numbers, names of files that are not UTF-8."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_plain(inner, (*path, key))
    elif isinstance(value, str) and not is_unicode(value):
        raise Fault((path,), f"{show_path(path)} is {shorten(value)}, which is not UTF-8; rename it")
    elif isinstance(value, float) and not math.isfinite(value):
        raise Fault((path,), f"{show_path(path)} is {value}; it must be a finite number")
    elif isinstance(value, int) and abs(value) > 2**53:
        raise Fault((path,), f"{show_path(path)} is too large a number; write a smaller one")


def _progressive(value: bool) -> str:
    return "--progressive" if value else "--no-progressive"


def command_line(spec: RunSpec) -> list[str]:
    """The words that repeat a request: ``logbert-engine train …``. Flags left to the preset are left out."""
    words = ["logbert-engine", "train"]
    words += _option("--data", spec.data)
    words += _option("--run-dir", spec.run_dir)
    words += _option("--preset", spec.preset)
    for flag in FLAGS:
        value = getattr(spec, flag.field)
        if value is None:
            continue
        if flag.field == "progressive":
            words.append(_progressive(value))
        else:
            words += _option(flag.name, _number(value) if isinstance(value, float) else str(value))
    for text in spec.overrides:
        words += _option("--set", text)
    return words


def _option(name: str, value: str) -> list[str]:
    """A value that begins with a dash would be taken for a flag."""
    return [f"{name}={value}"] if value.startswith("-") else [name, value]


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")
