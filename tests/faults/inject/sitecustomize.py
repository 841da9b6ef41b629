"""Faults in real processes, without a hook in the product.

Python imports a module of this name when it starts, wherever it finds it on its path. A test that puts this folder
into ``PYTHONPATH`` of a process, and a list of faults as JSON into ``LOGBERT_TEST_FAULT``, has functions of that
process patched as soon as their module has been imported. Children inherit both. ``tests/faults/harness.py`` has
the typed form, ``Fault``, which says what each field means.

The functions of a module that is run with ``-m`` cannot be patched: there it is another module, ``__main__``.
"""

from __future__ import annotations

import errno
import functools
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

VARIABLE = "LOGBERT_TEST_FAULT"


class _Fault:
    """A function that misbehaves."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.module, _, self.name = spec["at"].partition(":")
        self._spec = spec
        self._calls = 0

    def patch(self, module: ModuleType) -> None:
        """Put the misbehaving function in the place of the other."""
        owner: Any = module
        *path, last = self.name.split(".")
        for step in path:
            owner = getattr(owner, step)
        found = inspect.getattr_static(owner, last)
        if isinstance(found, staticmethod | classmethod):
            setattr(owner, last, type(found)(self._wrapped(found.__func__)))
        else:
            setattr(owner, last, self._wrapped(found))

    def _wrapped(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            self._calls += 1
            if not self._is_due(args, kwargs):
                return original(*args, **kwargs)
            if self._spec.get("after") or self._spec["does"] == "nan":
                result = original(*args, **kwargs)
                return self._happen(result, args)
            self._happen(None, args)
            return original(*args, **kwargs)

        return call

    def _is_due(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        spec = self._spec
        if self._calls < spec.get("call", 1):
            return False
        if _steps < spec.get("step", 0):
            return False
        when = spec.get("when")
        if when and not eval(when, {"args": args, "kwargs": kwargs, "calls": self._calls, "steps": _steps}):
            return False
        return self._claim()

    def _claim(self) -> bool:
        """Take one of the times that it may happen, over all processes together; a file tells of each."""
        if self._spec.get("times", 1) == 0:
            return True
        for number in range(self._spec.get("times", 1)):
            mark = Path(self._spec["marks"]) / str(number)
            try:
                descriptor = _open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                continue
            _write(descriptor, f"{os.getpid()} {os.environ.get('RANK', '')}\n".encode())
            _close(descriptor)
            return True
        return False

    def _happen(self, result: Any, args: tuple[Any, ...]) -> Any:
        does, amount = self._spec["does"], self._spec.get("amount", 0)
        match does:
            case "device_memory":
                import torch

                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            case "cpu_memory":
                raise RuntimeError(
                    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: "
                    "you tried to allocate 4294967296 bytes. Error code 12 (Cannot allocate memory)"
                )
            case "memory_error":
                raise MemoryError
            case "os_error":
                number = getattr(errno, self._spec["error"])
                raise OSError(number, os.strerror(number))
            case "nan":
                return _not_finite(result)
            case "infinite_gradient":
                next(iter(args[0].parameters())).grad[0] = float("inf")
            case "limit_memory":
                _limit_memory(round(amount))
            case "signal":
                os.kill(os.getpid(), getattr(signal, self._spec["signal"]))
            case "clock":
                _shift_clock(amount)
            case "sleep":
                deadline = _monotonic() + (amount or float("inf"))
                while (left := deadline - _monotonic()) > 0:
                    _sleep(min(left, 3600.0))
            case _:
                raise ValueError(f"{VARIABLE}: no such happening: {does}")
        return result


class _Patching(importlib.abc.Loader):
    """Loads a module as its own loader does, then patches it."""

    def __init__(self, loader: Any, faults: list[_Fault]) -> None:
        self._loader, self._faults = loader, faults

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        for fault in self._faults:
            fault.patch(module)
        if module.__name__ == _COUNTS_STEPS:
            module.register_optimizer_step_post_hook(_count_step)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, faults: dict[str, list[_Fault]]) -> None:
        self._faults = faults

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in self._faults:
            return None
        for finder in sys.meta_path:
            if finder is self:
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Patching(spec.loader, self._faults[name])
                return spec
        return None


_COUNTS_STEPS = "torch.optim.optimizer"
_steps = 0
# As they were before anything was patched.
_time, _time_ns, _monotonic, _sleep = time.time, time.time_ns, time.monotonic, time.sleep
_open, _write, _close = os.open, os.write, os.close


def _count_step(*_: Any) -> None:
    global _steps
    _steps += 1


def _shift_clock(seconds: float) -> None:
    """The clock of this process is set: forward, or back with a negative number."""
    time.time = lambda: _time() + seconds
    time.time_ns = lambda: _time_ns() + round(seconds * 1e9)


def _limit_memory(mb: int) -> None:
    """From here on the address space of this process may grow by so many MB, and no more."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + (mb << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _not_finite(value: Any) -> Any:
    """The value with its first number, tensor or not, turned into NaN."""
    if isinstance(value, tuple) and value:
        changed = (_not_finite(value[0]), *value[1:])
        return type(value)(*changed) if hasattr(value, "_fields") else changed
    return value * float("nan")


def _concerns_us(spec: dict[str, Any]) -> bool:
    rank = spec.get("rank")
    ours = rank is None or int(os.environ.get("RANK", 0)) == rank
    return ours and re.search(spec.get("process", ""), " ".join(sys.orig_argv)) is not None


def _install() -> None:
    faults: dict[str, list[_Fault]] = {}
    for spec in json.loads(os.environ[VARIABLE]):
        if _concerns_us(spec):
            fault = _Fault(spec)
            faults.setdefault(fault.module, []).append(fault)
            if "step" in spec:
                faults.setdefault(_COUNTS_STEPS, [])
    for name in [name for name in faults if name in sys.modules]:
        for fault in faults.pop(name):
            fault.patch(sys.modules[name])
    sys.meta_path.insert(0, _Finder(faults))


if os.environ.get(VARIABLE):
    _install()
