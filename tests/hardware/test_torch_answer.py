"""Asking torch in a process of its own, what goes wrong there, and the answer that is kept."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from logbert_engine.hardware.apple import TOLD
from logbert_engine.hardware.probe import probe
from logbert_engine.hardware.sampler import Sampler
from logbert_engine.hardware.torch_answer import TorchAnswer, TorchDevice, keep, key_of, remembered
from logbert_engine.hardware.torch_ask import ask_torch
from logbert_engine.protocol.errors import DeviceError
from logbert_engine.protocol.locations import cache_dir
from tests.hardware.machines import RECORDED, machine

ANSWER = TorchAnswer(torch="2.13.0", devices=[TorchDevice(kind="cpu", flops={"fp32": 1e11})])


def worker(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def saying(answer: TorchAnswer) -> list[str]:
    return worker(f"print('a library greets'); print({msgspec.json.encode(answer).decode()!r})")


def test_the_torch_that_is_installed_multiplies_on_the_processor(tmp_path: Path) -> None:
    hardware = probe(tmp_path)
    answer = ask_torch(hardware)
    (cpu,) = answer.of_kind("cpu")
    assert not cpu.problem
    assert cpu.flops["fp32"] > 1e8
    assert remembered(key_of(hardware)) == answer


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "raise ImportError('libcudart.so.12: no such file')",
            "torch cannot be used: ImportError: libcudart.so.12",
        ),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
            "torch crashed with SIGILL: it left no message",
        ),
        ("print('hello')", "torch's answer makes no sense"),
        ("", "torch's answer makes no sense"),
    ],
)
def test_a_torch_that_breaks_is_told_with_what_to_do(code: str, words: str) -> None:
    with pytest.raises(DeviceError, match="pip install --force-reinstall torch") as caught:
        ask_torch(machine("colab-t4"), command=worker(code))
    assert str(caught.value).startswith(words)
    assert remembered(key_of(machine("colab-t4"))) is None


def test_a_torch_that_hangs_is_given_up() -> None:
    with pytest.raises(DeviceError, match=r"torch did not answer within 0.01 s; try again"):
        ask_torch(machine("colab-t4"), 0.01, worker("import threading; threading.Event().wait()"))


def test_without_torch_the_way_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DeviceError, match="torch is not installed; run: pip install torch"):
        ask_torch(machine("colab-t4"))


def test_an_answer_is_kept_for_this_machine_with_this_driver_and_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hardware = machine("dgx-a100")
    assert ask_torch(hardware, command=saying(ANSWER)) == ANSWER
    assert remembered(key_of(hardware)) == ANSWER
    assert remembered(key_of(machine("dgx-spark"))) is None
    for gpu in hardware.accelerators:
        gpu.driver = "600.1"
    assert remembered(key_of(hardware)) is None
    monkeypatch.setattr("logbert_engine.hardware.torch_answer.torch_version", lambda: "9.9")
    assert remembered(key_of(machine("dgx-a100"))) is None


def test_a_rate_that_was_higher_before_on_this_machine_stands() -> None:
    def rates(**flops: float) -> list[str]:
        return saying(TorchAnswer(torch="2.13.0", devices=[TorchDevice(kind="cpu", flops=flops)]))

    hardware = machine("colab-t4")
    ask_torch(hardware, command=rates(fp32=2.0, bf16=3.0))
    assert ask_torch(hardware, command=rates(fp32=1.0)).devices[0].flops == {"fp32": 2.0, "bf16": 3.0}
    assert ask_torch(hardware, command=rates(fp32=4.0)).devices[0].flops == {"fp32": 4.0}, (
        "the short one is slower"
    )
    assert ask_torch(machine("dgx-spark"), command=rates(fp32=1.0)).devices[0].flops == {"fp32": 1.0}


def test_a_damaged_answer_is_asked_anew() -> None:
    hardware = machine("dgx-a100")
    keep(key_of(hardware), ANSWER)
    (kept,) = cache_dir().glob("torch-*.json")
    for damage in (kept.read_bytes()[:-20], b"", b"[" * 100_000, b"\xff\xfe", b"{}"):
        kept.write_bytes(damage)
        assert remembered(key_of(hardware)) is None
    assert ask_torch(hardware, command=saying(ANSWER)) == ANSWER
    assert remembered(key_of(hardware)) == ANSWER


def test_an_answer_that_cannot_be_kept_is_still_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LOGBERT_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert ask_torch(machine("colab-t4"), command=saying(ANSWER)) == ANSWER
    assert remembered(key_of(machine("colab-t4"))) is None


def test_what_macos_told_torch_takes_the_place_of_the_rule_of_thumb() -> None:
    told = TorchAnswer(torch="2.13.0", devices=[TorchDevice(kind="mps", recommended_mb=28_000.0, bf16=True)])
    keep(key_of(machine("m4-max-36")), told)
    (gpu,) = machine("m4-max-36").accelerators
    assert (gpu.memory_mb, gpu.note, gpu.bf16) == (28_000.0, TOLD, True)
    sampler = Sampler(RECORDED["m4-max-36"].sources(), gpus=list)
    assert sampler.sample(None).accelerators[0].memory_mb == 28_000.0
    assert machine("m4-pro-24").accelerators[0].memory_mb == 16 * 1024
