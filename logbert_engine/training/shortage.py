"""Memory that runs short in training: refused by the device, or close to the budget."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from logbert_engine.models.device import Compute, is_out_of_memory
from logbert_engine.protocol.errors import DeviceError

_ALLOCATOR = "DefaultCPUAllocator: "
_MOST_WORDS = 200
_OTHER_WORDS = (
    "bad_alloc",
    "could not create a primitive",
    "could not execute a primitive",
    "start new thread",
)
"""What C++, oneDNN and Python say when memory lacks for things other than a tensor."""


class OutOfMemory(DeviceError):
    """The device or the system had no more memory. The supervisor decides how to go on."""

    def __init__(self, message: str, *, stage: int = 0, step: int = 0, in_step: bool = False) -> None:
        super().__init__(message)
        self.stage, self.step = stage, step
        self.in_step = in_step
        """Whether it happened in training or validation, where fewer sessions at once leave more memory."""


class Shortage(NamedTuple):
    """What is kept of an error about memory. The error itself would keep alive what took the memory."""

    whose: str
    """``host memory`` or ``device memory``."""
    words: str
    """What the allocator said, in a line; may be empty."""

    def sentence(self, where: str) -> str:
        """What ran out, where, and what the allocator said."""
        said = f" ({self.words})" if self.words else ""
        return f"out of {self.whose} {where}{said}"


def shortage_of(error: RuntimeError | MemoryError, compute: Compute) -> Shortage:
    """Tell what ran out.

    Raises:
        RuntimeError: the error, where it is about something else.
    """
    if not (is_out_of_memory(error) or any(words in str(error) for words in _OTHER_WORDS)):
        raise error
    first = next(iter(str(error).splitlines()), "")
    on_host = compute.kind == "cpu" or isinstance(error, MemoryError) or _ALLOCATOR in first
    words = first.rpartition(_ALLOCATOR)[2]  # before it stands a line of C++
    return Shortage("host memory" if on_host else "device memory", words[:_MOST_WORDS])


@contextmanager
def lacking(where: str, compute: Compute) -> Iterator[None]:
    """Say where memory ran out, for what no micro-batch makes smaller.

    Raises:
        OutOfMemory: it did.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        raise OutOfMemory(shortage_of(error, compute).sentence(where)) from error
