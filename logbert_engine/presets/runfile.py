"""``run.yaml``: the resolved configuration of a run, enough to repeat it."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import yaml

from logbert_engine.presets.document import Dumper, no_file, parse
from logbert_engine.presets.loading import read_as
from logbert_engine.presets.types import RunConfig
from logbert_engine.protocol.errors import PresetError, RunError
from logbert_engine.rundir import reading
from logbert_engine.rundir.atomic import write_file
from logbert_engine.rundir.layout import RunLayout

_HEADER = "# What this run trains: the preset with every flag and override of its command line put in.\n"
_DIGEST = b"# sha256 of the lines above: "
"""Begins the last line. Without that line the file is taken as it is."""


def config_text(config: RunConfig) -> str:
    """The content of ``run.yaml``: the configuration, and in the last line its sha256."""
    text = _HEADER + as_yaml(msgspec.to_builtins(config))
    return f"{text}{_DIGEST.decode()}{hashlib.sha256(text.encode()).hexdigest()}\n"


def as_yaml(value: dict[str, Any]) -> str:
    """A plain value as YAML for people, in the order of its keys; ``document.parse`` reads it back."""
    text: str = yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=4096)
    return text


def write_config(run: RunLayout, config: RunConfig) -> None:
    """Write ``run.yaml`` as a whole; the directory is made when it is not there.

    Raises:
        StorageError: no room, no permission.
    """
    write_file(run.config, config_text(config))


def read_config(run: RunLayout) -> RunConfig:
    """The configuration of a run.

    Raises:
        RunError: there is no run in the directory.
        PresetError: ``run.yaml`` is damaged; names line and column, where something in it cannot be read.
    """
    try:
        content = reading.content(run.config, reading.SMALL)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunError(
            f"{run.root} is not a run directory (it has no run.yaml); give the --run-dir of a run, "
            "or start one there with logbert-engine train."
        ) from error
    except OSError as error:
        no_file(run.config, error)
    config = read_as(parse(content, str(run.config)), RunConfig)
    if not _as_written(content):
        raise PresetError(
            f"{run.config} is damaged: its lines do not have the sha256 that the last one tells; put back a copy, or "
            "remove the last line if the file was edited on purpose."
        )
    return config


def _as_written(content: bytes) -> bool:
    above, mark, digest = content.rpartition(_DIGEST)
    return not mark or digest.strip() == hashlib.sha256(above).hexdigest().encode()
