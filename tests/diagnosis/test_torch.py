"""What is said of torch on recorded machines, and which build is proposed."""

from __future__ import annotations

import msgspec
import pytest

from logbert_engine.diagnosis import torch as diagnosis
from logbert_engine.diagnosis.finding import Finding
from logbert_engine.hardware.torch_answer import TorchAnswer, TorchDevice
from tests.hardware.machines import machine

CUDA_13 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]
NO_KERNEL = "CUDA error: no kernel image is available for execution on the device"
CPU = TorchDevice(kind="cpu", bf16=True, flops={"fp32": 1e11, "bf16": 3.5e11})


def answer(
    *devices: TorchDevice, cuda: str = "", mps: bool = False, said: str = "", threads: int = 1
) -> TorchAnswer:
    capabilities = CUDA_13 if cuda.startswith("13") else []
    return TorchAnswer(
        torch="2.13.0",
        cuda=cuda,
        capabilities=capabilities,
        mps_built=mps,
        said=said,
        threads=threads,
        devices=[CPU, *devices],
    )


def gpus(count: int, name: str, capability: str, problem: str = "") -> list[TorchDevice]:
    return [
        TorchDevice(kind="cuda", number=n, name=name, capability=capability, problem=problem)
        for n in range(count)
    ]


def odd(
    name: str, told: TorchAnswer | str, environment: dict[str, str] | None = None, macos: str = ""
) -> list[Finding]:
    found = diagnosis.findings(machine(name), told, environment or {}, macos)
    return [finding for finding in found if finding.state != "well"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("dgx-a100", answer(*gpus(8, "NVIDIA A100-SXM4-80GB", "8.0"), cuda="13.0")),
        ("dgx-spark", answer(*gpus(1, "NVIDIA GB10", "12.1"), cuda="13.0")),
        ("m4-max-36", answer(TorchDevice(kind="mps", recommended_mb=27648.0), mps=True)),
        ("container-4gb", answer(threads=2)),
    ],
)
def test_a_torch_that_can_use_all_is_well(name: str, told: TorchAnswer) -> None:
    assert odd(name, told) == []


def test_rates_are_told_for_each_device() -> None:
    told = answer(TorchDevice(kind="mps", flops={"fp32": 1.2e13}), mps=True)
    found = [finding.what for finding in diagnosis.findings(machine("m4-max-36"), told, {})]
    assert found == [
        "torch 2.13.0, built for mps",
        "the processor multiplies matrices at 0.1 TFLOP/s in fp32, 0.35 TFLOP/s in bf16",
        "the Apple GPU multiplies matrices at 12 TFLOP/s in fp32",
    ]


def test_no_torch_keeps_training_from_working() -> None:
    (found,) = odd("colab-t4", "torch crashed with SIGILL: a; b; run: this")
    assert found == Finding("wrong", "torch crashed with SIGILL: a; b", "Run: this")


@pytest.mark.parametrize(
    ("name", "wheel"),
    [("dgx-station-v100", "cu126"), ("colab-t4", "cu126"), ("dgx-a100", "cu130"), ("dgx-spark", "cu130")],
)
def test_a_torch_without_cuda_beside_a_gpu_is_said_with_the_build_to_install(name: str, wheel: str) -> None:
    (found,) = odd(name, answer())
    assert found.state == "notice"
    assert "without CUDA" in found.what
    assert found.mend == (
        f"Run: pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/{wheel}"
    )


def test_a_driver_that_is_too_old_for_the_build_is_said_with_a_build_that_it_runs() -> None:
    (found,) = odd("colab-t4", answer(cuda="13.0", said="The NVIDIA driver on your system is too old"))
    assert "the driver 550.54.15 runs CUDA up to 12.4, this build needs 13.0" in found.what
    assert found.mend.endswith("/cu126")


def test_a_build_without_code_for_the_gpu_is_wrong_as_training_would_choose_that_gpu() -> None:
    station = machine("dgx-station-v100")
    for gpu in station.accelerators:
        gpu.driver_cuda = "13.0"
    told = answer(*gpus(4, "Tesla V100-DGXS-32GB", "7.0", NO_KERNEL), cuda="13.0")
    found = [f for f in diagnosis.findings(station, told, {}) if f.state != "well"]
    assert {finding.state for finding in found} == {"wrong"}
    assert "no code for compute capability 7.0" in found[0].what
    assert found[0].mend.endswith("/cu126")


def test_a_gpu_that_fails_though_the_build_knows_it_is_looked_at_with_nvidia_smi() -> None:
    told = answer(*gpus(1, "Tesla T4", "7.5", "CUDA error: out of memory"), cuda="13.0")
    (found,) = odd("colab-t4", told)
    assert (found.state, "no code" in found.what) == ("wrong", False)
    assert "nvidia-smi" in found.mend


def test_hidden_gpus_are_said_with_what_hides_them() -> None:
    told = answer(*gpus(2, "NVIDIA A100-SXM4-80GB", "8.0"), cuda="13.0")
    (found,) = odd("dgx-a100", told, {"CUDA_VISIBLE_DEVICES": "0,1"})
    assert found.what == "CUDA_VISIBLE_DEVICES=0,1 hides 6 of 8 GPUs from torch"


def test_gpus_that_torch_does_not_find_are_said_in_its_words() -> None:
    (found,) = odd("dgx-spark", answer(cuda="13.0", said="CUDA unknown error"))
    assert found.what == "torch does not find the GPU: CUDA unknown error"
    assert "--gpus all" in found.mend


def test_one_build_for_very_old_and_very_new_gpus_does_not_exist() -> None:
    both = [*machine("dgx-station-v100").accelerators, *machine("dgx-spark").accelerators]
    assert diagnosis.right_build(both).startswith("No one build runs on all of them")


@pytest.mark.parametrize(
    ("name", "driver_cuda", "begins", "wheel"),
    [
        ("dgx-station-v100", "11.4", "Install NVIDIA's driver 580", "cu126"),
        ("dgx-spark", "12.8", "Install NVIDIA's driver 580", "cu130"),
        ("dgx-a100", "12.4", "Run: pip", "cu126"),
        ("dgx-a100", "", "Run: pip", "cu130"),
    ],
)
def test_a_driver_that_no_build_runs_on_is_to_be_replaced(
    name: str, driver_cuda: str, begins: str, wheel: str
) -> None:
    found = machine(name).accelerators
    for gpu in found:
        gpu.driver_cuda = driver_cuda
    assert diagnosis.right_build(found).startswith(begins)
    assert diagnosis.right_build(found).endswith(wheel)


@pytest.mark.parametrize(
    ("told", "macos", "words"),
    [
        (answer(), "15.1", "without mps"),
        (answer(mps=True), "13.6.1", "macOS 13.6.1 is too old"),
        (answer(mps=True), "15.1", "torch does not find the Apple GPU"),
        (answer(TorchDevice(kind="mps", problem="no Metal"), mps=True), "15.1", "cannot be used: no Metal"),
    ],
)
def test_an_apple_gpu_that_torch_cannot_use_is_said_with_why(
    told: TorchAnswer, macos: str, words: str
) -> None:
    (found,) = odd("m4-pro-24", told, macos=macos)
    assert words in found.what


def test_more_threads_than_a_quota_gives_and_fewer_than_there_are_cores_are_said() -> None:
    (many,) = odd("container-4gb", answer(threads=64))
    assert many.mend == "Run: export OMP_NUM_THREADS=2"
    spark = answer(*gpus(1, "NVIDIA GB10", "12.1"), cuda="13.0", threads=1)
    (few,) = odd("dgx-spark", spark, {"OMP_NUM_THREADS": "1"})
    assert few.what == "OMP_NUM_THREADS=1 lets torch compute with 1 of 20 cores"


def test_code_of_one_generation_runs_on_its_later_chips() -> None:
    told = msgspec.structs.replace(
        answer(*gpus(1, "Tesla T4", "7.5", NO_KERNEL), cuda="13.0"), capabilities=["sm_70", "sm_80"]
    )
    (found,) = odd("colab-t4", told)
    assert "no code" not in found.what, "7.5 runs what was built for 7.0"
