from __future__ import annotations

import mmap

import pytest
import torch

from logbert_engine.models.device import (
    Compute,
    choose,
    device_mb,
    free_memory,
    is_out_of_memory,
    resident_mb,
)
from logbert_engine.protocol.errors import DeviceError

CPU = Compute(device=torch.device("cpu"), precision="fp32", name="CPU")


def test_the_cpu_is_always_there_in_fp32_and_bf16() -> None:
    compute = choose("cpu", "auto")
    assert (compute.kind, compute.precision) == ("cpu", "fp32")
    assert choose("cpu", "bf16").precision == "bf16"
    assert "threads" in compute.name


def test_auto_takes_the_best_device_that_is_there() -> None:
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose("auto", "auto").kind == best


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(DeviceError, match=r"no cuda device on this machine.*cpu"):
        choose("cuda", "auto")


def test_fp16_on_the_cpu_is_refused() -> None:
    with pytest.raises(DeviceError, match="fp16 is for GPUs"):
        choose("cpu", "fp16")


def test_mixed_precision_shortens_products_and_fp32_does_not() -> None:
    a = torch.ones(2, 2)
    with choose("cpu", "bf16").autocast():
        assert (a @ a).dtype == torch.bfloat16
    with choose("cpu", "fp32").autocast():
        assert (a @ a).dtype == torch.float32


def test_processes_on_one_cpu_divide_its_threads() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(5)
        choose("cpu", "fp32", together=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_memory_that_runs_out_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(refused.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB)"))
    with pytest.raises(RuntimeError) as other:
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert not is_out_of_memory(other.value)
    assert not is_out_of_memory(ValueError("not enough memory of it"))


def test_memory_is_told_in_megabytes() -> None:
    before = resident_mb()
    with mmap.mmap(-1, 64 << 20) as block:
        block.write(bytes(64 << 20))
        assert 48 < resident_mb() - before < 160
    free_memory(CPU)
    assert resident_mb() - before < 48
    assert device_mb(CPU) is None
