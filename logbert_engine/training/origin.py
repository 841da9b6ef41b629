"""What an exact state belongs to. Light: it tells without torch where a resume would pick up."""

from __future__ import annotations

import hashlib

import msgspec

from logbert_engine.presets.batching import decisive
from logbert_engine.presets.types import RunConfig
from logbert_engine.rundir.atomic import storage_error, write_file
from logbert_engine.rundir.checksums import remove_checked
from logbert_engine.rundir.layout import StageLayout
from logbert_engine.rundir.reading import NotAFileError
from logbert_engine.rundir.reading import content as content_of


class Origin(msgspec.Struct, kw_only=True, frozen=True):
    """What an exact state belongs to; it is of use only where all of it is the same."""

    stage: str
    config: str
    """sha256 of what determines the training."""
    data: str
    """Tells the sessions, in their order."""
    parent: str
    """sha256 of the checkpoint that the stage started from; its name where it is none of ours."""


def origin(stage: str, config: RunConfig, content: str, parent: str) -> Origin:
    """The origin of a stage's states.

    Args:
        stage: its name.
        config: of the run.
        content: of the store.
        parent: the checkpoint that the stage starts from.
    """
    return Origin(stage=stage, config=settings_digest(config), data=content, parent=parent)


def settings_digest(config: RunConfig) -> str:
    """sha256 of what determines the training. Where the run may go on to (``max_ratio``) does not matter."""
    stages = (config.stages.epochs, config.stages.start_ratio)
    model = msgspec.to_builtins(config.model)
    del model["gradient_checkpointing"]  # which changes no figure
    matters = msgspec.json.encode([model, config.data, decisive(config.training), stages, config.seed])
    return hashlib.sha256(matters).hexdigest()


def has_exact_state(stage: StageLayout) -> bool:
    """Whether a stage has one, of whatever settings."""
    return stage.resume.is_file() or stage.resume_previous.is_file()


def record_origin(stage: StageLayout, found: Origin) -> None:
    """Write beside the exact states what they belong to, where that is not there yet.

    Raises:
        StorageError: no room, no permission.
    """
    if read_origin(stage) != found:
        write_file(stage.origin, msgspec.json.encode(found))


def read_origin(stage: StageLayout) -> Origin | None:
    """What the exact states of a stage belong to; None where that is not known: they tell it themselves.

    Raises:
        StorageError: the file cannot be read.
    """
    try:
        return msgspec.json.decode(content_of(stage.origin), type=Origin)
    except (
        FileNotFoundError,
        NotADirectoryError,
        NotAFileError,
        msgspec.DecodeError,
        RecursionError,
        UnicodeDecodeError,
    ):
        return None
    except OSError as error:
        raise storage_error(stage.origin, error) from error


def forget_exact_state(stage: StageLayout) -> None:
    """Remove the exact states of a stage.

    Raises:
        StorageError: the files cannot be removed.
    """
    remove_checked(stage.resume_previous, stage.resume, stage.origin)
