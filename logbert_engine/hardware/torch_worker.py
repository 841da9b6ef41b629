"""``python -m logbert_engine.hardware.torch_worker``: tries out torch's devices and prints one line of JSON.

The one module here that imports torch; it is started, never imported (``torch_ask``).
"""

from __future__ import annotations

import platform
import sys
import time
import warnings
from collections.abc import Callable

import msgspec
import torch

from logbert_engine.hardware.sources import MB
from logbert_engine.hardware.torch_answer import TorchAnswer, TorchDevice

_LONGEST_S = 0.45
"""All products of one precision on one device take about so long."""
_SMALLEST = 512
"""Rows of the matrices to begin with: the product of smaller ones takes as long to hand out as to compute."""
_LARGEST = {"cpu": 2048, "mps": 8192, "cuda": 8192}
"""Rows to end with: three of 8192 take 768 MB in fp32."""
_REPEATS = 3
"""Of each size at least: the first loads the library, and on a busy machine one may take a thousand times as long."""


def main() -> int:
    """Try them all."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        devices = [_tried("cpu"), *(_tried("cuda", i) for i in range(_cuda_devices()))]
        if torch.backends.mps.is_available():
            devices.append(_tried("mps"))
    _measure(devices)
    no_cuda = torch.version.cuda is not None and not any(device.kind == "cuda" for device in devices)
    answer = TorchAnswer(
        torch=str(torch.__version__),
        cuda=torch.version.cuda or "",
        capabilities=list(torch.cuda.get_arch_list()),
        mps_built=torch.backends.mps.is_built(),
        machine=platform.machine(),
        threads=torch.get_num_threads(),
        said=_first_line(str(said[-1].message)) if said and no_cuda else "",
        devices=devices,
    )
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    return 0


def _cuda_devices() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip()


def _device(device: TorchDevice) -> torch.device:
    return torch.device(device.kind, device.number) if device.kind == "cuda" else torch.device(device.kind)


def _tried(kind: str, number: int = 0) -> TorchDevice:
    """A device after the smallest thing that can be asked of it."""
    found = msgspec.convert({"kind": kind, "number": number}, TorchDevice)
    try:
        if kind == "cuda":
            properties = torch.cuda.get_device_properties(number)
            found.name = properties.name
            found.capability = f"{properties.major}.{properties.minor}"
        if kind == "mps":
            found.recommended_mb = torch.mps.recommended_max_memory() / MB
        _compute(found, torch.float32)
    except RuntimeError as error:  # as torch reports a missing kernel, a lost device and full memory
        found.problem = _first_line(str(error)) or type(error).__name__
        return found
    try:
        _compute(found, torch.bfloat16)
        found.bf16 = kind != "cuda" or int(found.capability.partition(".")[0]) >= 8  # below it is emulated
    except (RuntimeError, TypeError):
        found.bf16 = False  # an answer: before macOS 14 there is none
    return found


def _compute(device: TorchDevice, dtype: torch.dtype) -> None:
    ones = torch.ones(16, 16, device=_device(device), dtype=dtype)
    if float((ones @ ones).sum()) != 16.0**3:
        raise RuntimeError("it computes 16 times 16 wrongly")


def _measure(devices: list[TorchDevice]) -> None:
    """How fast the usable ones multiply; of several of one name the first speaks for all."""
    known: dict[tuple[str, str], dict[str, float]] = {}
    for device in devices:
        if device.problem:
            continue
        name = (device.kind, device.name)
        if name not in known:
            known[name] = _rates(device)
        device.flops = known[name]


def _rates(device: TorchDevice) -> dict[str, float]:
    full = _rate(device, torch.float32)
    short, dtype = ("bf16", torch.bfloat16) if device.bf16 else ("fp16", torch.float16)
    quick = 0.0 if device.kind == "cpu" and short == "fp16" else _rate(device, dtype)
    return {"fp32": full} | ({short: quick} if quick > full else {})


def _rate(device: TorchDevice, dtype: torch.dtype) -> float:
    """Operations a second of the best of a few products, of matrices large enough to be timed."""
    rows, best = _SMALLEST, 0.0
    wait = _waiting(device.kind)
    deadline = time.perf_counter() + _LONGEST_S
    try:
        while True:
            a = torch.randn(rows, rows, device=_device(device)).to(dtype)
            took = min(_timed(a, wait) for _ in range(_REPEATS))
            grows = rows < _LARGEST[device.kind] and 8 * _REPEATS * took < deadline - time.perf_counter()
            while not grows and time.perf_counter() < deadline:
                took = min(took, _timed(a, wait))
            best = max(best, 2 * rows**3 / took)
            if not grows:
                break
            rows *= 2
    except RuntimeError:
        pass  # a GPU that others filled has no room for larger matrices: the smaller ones have told
    return best


def _timed(a: torch.Tensor, wait: Callable[[], None]) -> float:
    wait()
    began = time.perf_counter()
    a @ a
    wait()
    return max(time.perf_counter() - began, 1e-9)


def _waiting(kind: str) -> Callable[[], None]:
    if kind == "cuda":
        return torch.cuda.synchronize
    return torch.mps.synchronize if kind == "mps" else lambda: None


if __name__ == "__main__":
    sys.exit(main())
