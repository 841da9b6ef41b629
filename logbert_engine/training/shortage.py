"""Memory that runs short in training: refused by the device, or close to the budget."""

from __future__ import annotations

from logbert_engine.protocol.errors import DeviceError


class OutOfMemory(DeviceError):
    """The device or the system had no more memory. The supervisor decides how to go on."""

    def __init__(self, message: str, *, stage: int = 0, step: int = 0, in_step: bool = False) -> None:
        super().__init__(message)
        self.stage, self.step = stage, step
        self.in_step = in_step
        """Whether it happened within a step, where fewer sessions at once need less."""
