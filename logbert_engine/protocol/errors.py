"""Errors that a user can act on. Their kind travels over the wire; a traceback never does."""

from __future__ import annotations


class LogbertError(Exception):
    """Something a user can mend. The message says what is wrong, where, and how to mend it."""

    kind = "error"


class DataError(LogbertError):
    """Session files that are missing, empty or unreadable."""

    kind = "data"


class PresetError(LogbertError):
    """A preset or an override that does not hold."""

    kind = "preset"


class CheckpointError(LogbertError):
    """A checkpoint that is missing, damaged or of another vocabulary."""

    kind = "checkpoint"


class RunError(LogbertError):
    """A run directory that is held, missing, or not in the state that the request needs."""

    kind = "run"


class StorageError(LogbertError):
    """The file system refused: no room, no permission, a failed sync."""

    kind = "storage"


class DiskFullError(StorageError):
    """No room: nothing that was saved is lost, and what was under way goes on when there is room again."""

    kind = "disk_full"


class DeviceError(LogbertError):
    """A device that is not there or has no memory left."""

    kind = "device"


class EvaluationError(LogbertError):
    """Figures that would not be worth their name: a leak, or data that they cannot be made from."""

    kind = "evaluation"


class TriageError(LogbertError):
    """A verdict that makes no sense, or a database of verdicts that is damaged, foreign or held."""

    kind = "triage"


class EngineError(LogbertError):
    """The engine cannot be reached, speaks another protocol, or refused a request."""

    kind = "engine"


class EngineSilent(EngineError):
    """A process listens at the engine's socket and does not answer."""

    def __init__(self, message: str, pid: int) -> None:
        super().__init__(message)
        self.pid = pid
        """0 where the system does not tell."""


_BY_KIND: dict[str, type[LogbertError]] = {
    cls.kind: cls
    for cls in (
        LogbertError,
        DataError,
        PresetError,
        CheckpointError,
        RunError,
        StorageError,
        DiskFullError,
        DeviceError,
        TriageError,
        EvaluationError,
        EngineError,
    )
}


def error_of_kind(kind: str, message: str) -> LogbertError:
    """The error that a peer reported, as the class it had there."""
    return _BY_KIND.get(kind, LogbertError)(message)
