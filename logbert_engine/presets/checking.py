"""Checks of a preset or a run's configuration: types and ranges, then the figures against each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import msgspec

from logbert_engine.presets.document import KeyPath, shorten, show_path
from logbert_engine.presets.fields import describe, keys_of, nearest, type_at, type_of
from logbert_engine.presets.pretrained import POSITIONS, known_sizes
from logbert_engine.presets.types import Decoder, Encoder, Preset, RunConfig

T = TypeVar("T", bound=msgspec.Struct)

_UNKNOWN = re.compile(r"^Object contains unknown field `(.*)`\Z", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `([^`]*)`")
_WHERE = re.compile(r" - at (?:`key` in )?`\$([^`]*)`\Z")
_STEP = re.compile(r"\.([A-Za-z0-9_]+)|\[(\d+)\]|(\[\.\.\.\])")


@dataclass
class Fault(Exception):
    """What is wrong with a value, in one sentence without the place; the caller knows the place."""

    paths: tuple[KeyPath, ...]
    """The settings at fault, the likeliest first."""
    message: str
    on_key: bool = False
    """Whether the key itself is at fault, not its value."""


def convert(value: Any, kind: type[T]) -> T:
    """A plain value as the declared type.

    Raises:
        Fault: an unknown or missing key, a wrong type, a figure out of range.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _fault(str(error), value, kind) from error


def _fault(message: str, value: Any, kind: type[msgspec.Struct]) -> Fault:
    where = _WHERE.search(message)
    path = _key_path(where[1] if where else "", value)
    problem = message[: where.start()] if where else message
    declared, given = type_of(kind), _value_at(value, path)
    here = type_at(declared, value, path)
    if (unknown := _UNKNOWN.match(problem)) and here is not None:
        key = unknown[1]
        hint = nearest(key, keys_of(here, given))
        return Fault(((*path, key),), f"unknown key {shorten(key)}{_inside(path)}; {hint}", on_key=True)
    if (missing := _MISSING.match(problem)) and here is not None:
        inner = (*path, missing[1])
        expected = describe(type_at(declared, value, inner))
        return Fault((path,), f"{show_path(inner)} is missing; add it: {expected}")
    return Fault((path,), f"{show_path(path)} is {_shown(given)}; it must be {describe(here)}")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a group of keys"
    if isinstance(value, list | tuple):
        return shorten("[" + ", ".join(shorten(item, 20) for item in value) + "]").strip('"')
    return shorten(value) if value is not None else "empty"


def _inside(path: KeyPath) -> str:
    return f" in {show_path(path)}" if path else ""


def _key_path(text: str, value: Any) -> KeyPath:
    path: KeyPath = ()
    for name, index, any_key in _STEP.findall(text):
        if any_key:  # msgspec does not name the key of a dict; the only dicts here map text to text
            group = _value_at(value, path)
            path = (*path, next((k for k, v in group.items() if not isinstance(v, str)), ""))
        else:
            path = (*path, name or int(index))
    return path


def _value_at(value: Any, path: KeyPath) -> Any:
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list | tuple) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def check(config: Preset | RunConfig) -> None:
    """The figures against each other.

    Raises:
        Fault: two settings that cannot stand together.
    """
    if isinstance(config.model, Encoder):
        _check_encoder(config.model)
    else:
        _check_decoder(config.model)
    if isinstance(config, Preset):  # a run reads as far as its model can
        _check_positions(config)
    _check_batch(config)
    _check_hypersphere(config)
    _check_stages(config)


def _check_encoder(model: Encoder) -> None:
    low, high = model.mask_ratio
    if low > high:
        raise Fault(
            (("model", "mask_ratio"),),
            f"model.mask_ratio is [{low:g}, {high:g}]; the lower share comes first",
        )
    if model.pretrained is None:
        _check_heads(model)
    elif not model.pretrained.strip():
        raise Fault(
            (("model", "pretrained"),),
            "model.pretrained is empty; name a model or a folder, or write null to start from nothing",
        )


def _check_positions(preset: Preset) -> None:
    model = preset.model
    if not isinstance(model, Encoder) or not model.pretrained or known_sizes(model.pretrained) is None:
        return
    if model.max_length > POSITIONS:
        raise Fault(
            (("model", "max_length"), ("model", "pretrained")),
            f"model.max_length {model.max_length} is more than the {POSITIONS} positions of {model.pretrained}; "
            "lower it, longer sessions are read in windows",
        )


def _check_hypersphere(config: Preset | RunConfig) -> None:
    views = config.model.views if isinstance(config.model, Encoder) else ()
    if config.training.hypersphere and set(views) == {"next"}:
        raise Fault(
            (("training", "hypersphere"), ("model", "views")),
            "training.hypersphere needs a view whose first token sees the session; "
            "add order or bag to model.views, or write 0",
        )


def _check_heads(model: Encoder | Decoder) -> None:
    if model.hidden % model.heads:
        fitting = (
            [n for n in range(1, model.hidden + 1) if model.hidden % n == 0] if model.hidden < 1 << 20 else []
        )
        near = sorted(sorted(fitting, key=lambda n: abs(n - model.heads))[:3])
        hint = f", such as {' or '.join(map(str, near))}" if near else ""
        raise Fault(
            (("model", "heads"), ("model", "hidden")),
            f"model.heads {model.heads} does not divide model.hidden {model.hidden}; "
            f"choose a number of heads that does{hint}",
        )


def _check_decoder(model: Decoder) -> None:
    _check_heads(model)
    if model.heads % model.kv_heads:
        raise Fault(
            (("model", "kv_heads"), ("model", "heads")),
            f"model.kv_heads {model.kv_heads} does not divide model.heads {model.heads}; "
            "each key-value head serves the same number of heads, so choose a number that divides it",
        )
    if model.hidden // model.heads % 2:
        raise Fault(
            (("model", "heads"), ("model", "hidden")),
            f"a head is {model.hidden // model.heads} wide (model.hidden / model.heads) and rotary positions "
            "need an even width; change one of the two",
        )
    if model.train_length is not None and model.train_length > model.max_length:
        raise Fault(
            (("model", "train_length"), ("model", "max_length")),
            f"model.train_length {model.train_length} is more than model.max_length {model.max_length}; "
            "lower it, or leave it out to train at the full length",
        )


def _check_batch(config: Preset | RunConfig) -> None:
    training = config.training
    micro = training.micro_batch or training.batch
    paths = (("training", "micro_batch"), ("training", "batch"))
    if training.batch % micro:
        raise Fault(
            paths,
            f"training.micro_batch {micro} does not divide training.batch {training.batch}; "
            "choose a divisor, or 0 for the whole batch at once",
        )
    if training.accumulation > 1 and micro * training.accumulation != training.batch:
        raise Fault(
            (("training", "accumulation"), *paths),
            f"training.micro_batch {micro} × training.accumulation {training.accumulation} is not "
            f"training.batch {training.batch}; set batch to {micro * training.accumulation}",
        )
    _check_batch_by_ratio(config)


def _check_batch_by_ratio(config: Preset | RunConfig) -> None:
    training = config.training
    path: KeyPath = ("training", "batch_by_ratio")
    for (share, _), (later, _) in pairwise(training.batch_by_ratio):
        if later <= share:
            raise Fault(
                (path,),
                f"training.batch_by_ratio has the share {later:g} after {share:g}; each share stands once, "
                "the smallest first",
            )
    for share, batch in training.batch_by_ratio:
        micro = min(training.micro_batch or batch, batch)
        if batch % micro:
            raise Fault(
                (path, ("training", "micro_batch")),
                f"training.micro_batch {micro} does not divide the batch {batch} that training.batch_by_ratio "
                f"gives from a share of {share:g} on; choose a divisor, or 0 for the whole batch at once",
            )
    if training.batch_by_ratio and training.accumulation > 1:
        raise Fault(
            (path, ("training", "accumulation")),
            f"training.batch_by_ratio changes the batch and training.accumulation {training.accumulation} "
            "fixes it; leave one of them out",
        )


def _check_stages(config: Preset | RunConfig) -> None:
    stages = config.stages
    if stages.progressive and stages.start_ratio > stages.max_ratio:
        raise Fault(
            (("stages", "start_ratio"), ("stages", "max_ratio"), ("stages", "progressive")),
            f"stages.start_ratio {stages.start_ratio:g} is more than stages.max_ratio {stages.max_ratio:g}; "
            "lower the start or raise the end",
        )
