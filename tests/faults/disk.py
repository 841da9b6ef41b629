"""Every change that code makes to a folder, seen on its way to the disk: to note it, to fail it, to be killed at it.

The operations are the real ones, caught between Python's libraries and the system. Nothing in the product knows.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import safetensors.torch

from logbert_engine.models import checkpoint
from logbert_engine.rundir import atomic

Kind = Literal[
    "open", "read", "write", "sync", "sync folder", "rename", "link", "remove", "make folder", "remove folder"
]


@dataclass(frozen=True)
class Operation:
    """One change; paths are relative to the watched folder."""

    kind: Kind
    path: str
    target: str = ""
    """Where a rename or link leads to."""
    data: bytes = b""
    """What a write appends."""

    def __str__(self) -> str:
        """Its name, the same in every process and thread."""
        words = f"{self.kind} {self.path}" + (f" to {self.target}" if self.target else "")
        return re.sub(r"\.\d+\.\d+\.(old\.)?tmp", r".\1tmp", words)


class Disk:
    """What happens around each operation; subclasses say what. This one lets all of them pass."""

    def before(self, operation: Operation) -> None:
        """It has not begun."""

    def middle(self, operation: Operation) -> None:
        """Of a write: half of it has reached the system."""

    def after(self, operation: Operation) -> None:
        """It is done."""


class Noting(Disk):
    """Remembers all operations that succeed."""

    def __init__(self) -> None:
        self.seen: list[Operation] = []

    def after(self, operation: Operation) -> None:
        self.seen.append(operation)


@contextmanager
def watched(root: Path, disk: Disk) -> Iterator[None]:
    """Everything that this process does to a folder, and below it, passes by ``disk``."""
    watch = _Watch(root.absolute(), disk)
    changes = {
        "open": watch.os_open,
        "write": watch.os_write,
        "fsync": watch.fsync,
        "rename": watch.two("rename", os.rename),
        "replace": watch.two("rename", os.replace),
        "link": watch.two("link", os.link),
        "unlink": watch.one("remove", os.unlink),
        "mkdir": watch.one("make folder", os.mkdir),
        "rmdir": watch.one("remove folder", os.rmdir),
    }
    with ExitStack() as patched:
        for name, function in changes.items():
            patched.enter_context(mock.patch.object(os, name, function))
        patched.enter_context(mock.patch.object(io, "open", watch.io_open))
        patched.enter_context(mock.patch.object(checkpoint, "save_file", watch.save_file))
        patched.enter_context(
            mock.patch.object(atomic, "_FULL_SYNC", None)
        )  # of macOS, which knows fsync too
        yield


class _Watch:
    def __init__(self, root: Path, disk: Disk) -> None:
        self._root, self._disk = root, disk
        self._paths: dict[int, str] = {}
        """Of descriptors; those of files outside are taken out when the number is used again."""
        self._real_open, self._real_os_open = io.open, os.open
        self._real_write, self._real_fsync = os.write, os.fsync
        self._real_save_file = safetensors.torch.save_file

    def _relative(self, path: Any, dir_fd: int | None = None) -> str | None:
        """The path from the watched folder on; None outside of it."""
        if not isinstance(path, str | os.PathLike):
            return None
        if dir_fd is not None:
            return f"{self._paths[dir_fd]}/{os.fspath(path)}" if dir_fd in self._paths else None
        name = os.path.relpath(Path(path).absolute(), self._root)
        return None if name == ".." or name.startswith("../") else name

    def _pass(self, operation: Operation, act: Callable[[], Any]) -> Any:
        self._disk.before(operation)
        result = act()
        self._disk.after(operation)
        return result

    def io_open(self, path: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
        name = self._relative(path)
        if name is None:
            file = self._real_open(path, mode, *more, **named)
            self._paths.pop(file.fileno(), None)
            return file
        if set(mode) & set("wax+"):
            raw = self._pass(Operation("open", name), lambda: self._real_open(path, "wb", buffering=0))
            self._paths[raw.fileno()] = name
            return _File(raw, lambda data: self._write(raw.fileno(), data), "b" not in mode)
        file = self._pass(Operation("read", name), lambda: self._real_open(path, mode, *more, **named))
        self._paths[file.fileno()] = name
        return file

    def os_open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        name = self._relative(path, dir_fd)

        def act() -> int:
            return self._real_os_open(path, flags, mode, dir_fd=dir_fd)

        if name is None:
            descriptor = act()
            self._paths.pop(descriptor, None)
            return descriptor
        descriptor = int(self._pass(Operation("open" if flags & os.O_CREAT else "read", name), act))
        self._paths[descriptor] = name
        return descriptor

    def os_write(self, descriptor: int, data: Any) -> int:
        if descriptor not in self._paths:
            return self._real_write(descriptor, data)
        return self._write(descriptor, bytes(data))

    def _write(self, descriptor: int, data: bytes) -> int:
        """In two halves, so that there is a middle."""
        operation = Operation("write", self._paths[descriptor], data=data)
        self._disk.before(operation)
        half = len(data) // 2
        self._all(descriptor, data[:half])
        self._disk.middle(operation)
        self._all(descriptor, data[half:])
        self._disk.after(operation)
        return len(data)

    def _all(self, descriptor: int, data: bytes) -> None:
        while data:
            data = data[self._real_write(descriptor, data) :]

    def fsync(self, descriptor: int) -> None:
        name = self._paths.get(descriptor)
        if name is None:
            return self._real_fsync(descriptor)
        kind: Kind = "sync folder" if (self._root / name).is_dir() else "sync"
        return self._pass(Operation(kind, name), lambda: self._real_fsync(descriptor))  # type: ignore[no-any-return]

    def one(self, kind: Kind, real: Callable[..., None]) -> Callable[..., None]:
        def call(path: Any, *more: Any, dir_fd: int | None = None) -> None:
            name = self._relative(path, dir_fd)
            if name is None:
                return real(path, *more, dir_fd=dir_fd)
            return self._pass(Operation(kind, name), lambda: real(path, *more, dir_fd=dir_fd))  # type: ignore[no-any-return]

        return call

    def two(self, kind: Kind, real: Callable[..., None]) -> Callable[..., None]:
        def call(source: Any, target: Any, **named: Any) -> None:
            name, to = self._relative(source), self._relative(target)
            if name is None or to is None:
                return real(source, target, **named)
            return self._pass(Operation(kind, name, to), lambda: real(source, target, **named))  # type: ignore[no-any-return]

        return call

    def save_file(self, tensors: Any, path: Path, **named: Any) -> None:
        """Weights written by a library of machine code: seen as an open and a write."""
        name = self._relative(path)
        assert name is not None
        self._pass(Operation("open", name), lambda: self._real_save_file(tensors, path, **named))
        self._pass(Operation("write", name, data=path.read_bytes()), lambda: None)


class _File:
    """A file open for writing, without a buffer of its own."""

    def __init__(self, raw: Any, write: Callable[[bytes], int], text: bool) -> None:
        self._raw, self._write, self._text = raw, write, text
        self.fileno, self.close, self.flush = raw.fileno, raw.close, raw.flush

    def write(self, data: Any) -> int:
        return self._write(data.encode() if self._text else bytes(data))

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
