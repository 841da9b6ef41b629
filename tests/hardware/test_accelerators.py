"""Accelerators and processors from recorded answers: NVML's, sysctl's, ioreg's and /proc's."""

from __future__ import annotations

import pytest

from logbert_engine.hardware.apple import SET, THUMB, rule_of_thumb_mb
from logbert_engine.hardware.cuda import GpuReading, cuda_gpu
from logbert_engine.hardware.memory import Memory
from logbert_engine.hardware.probe import accelerators
from logbert_engine.hardware.processor import processor_name
from logbert_engine.hardware.sources import MB, Sources

GB = 1 << 30
HOST = Memory(total_mb=128 * 1024, available_mb=100 * 1024, limit_mb=None)
V100 = GpuReading(
    name="Tesla V100-SXM2-16GB",
    total=16 * GB,
    used=3 * GB,
    utilization_percent=87.0,
    temperature_c=61,
    power_mw=250_500,
    capability=(7, 0),
    driver="535.161.08",
    driver_cuda=12020,
)
M4_MAX = {
    ("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"): "Apple M4 Max\n",
    ("/usr/sbin/sysctl", "-n", "hw.perflevel0.physicalcpu"): "10\n",
    ("/usr/sbin/sysctl", "-n", "hw.perflevel1.physicalcpu"): "4\n",
    ("/usr/sbin/sysctl", "-n", "iogpu.wired_limit_mb"): "0\n",
    ("/usr/sbin/ioreg", "-r", "-d", "1", "-w", "0", "-c", "IOAccelerator"): (
        '    "PerformanceStatistics" = {"In use system memory (driver)"=0,"Alloc system memory"=4294967296,'
        '"Device Utilization %"=37,"In use system memory"=2147483648,"Renderer Utilization %"=36}\n'
    ),
}
MAC = Memory(total_mb=36 * 1024, available_mb=20 * 1024, limit_mb=None)


def mac(answers: dict[tuple[str, ...], str], machine: str = "arm64") -> Sources:
    return Sources(system="Darwin", machine=machine, run=answers.get)


def linux(files: dict[str, str], machine: str = "x86_64") -> Sources:
    return Sources(system="Linux", machine=machine, read_text=lambda path: files.get(str(path)))


def test_a_gpu_of_its_own_memory_is_told_as_the_driver_tells_it() -> None:
    gpu = cuda_gpu(V100, HOST)
    assert (gpu.kind, gpu.name, gpu.unified_memory, gpu.note) == ("cuda", V100.name, False, "")
    assert (gpu.memory_mb, gpu.memory_used_mb) == (16 * 1024, 3 * 1024)
    assert (gpu.utilization_percent, gpu.temperature_c, gpu.power_w) == (87.0, 61, 250.5)
    assert (gpu.compute_capability, gpu.bf16, gpu.driver, gpu.driver_cuda) == (
        "7.0",
        False,
        "535.161.08",
        "12.2",
    )


def test_a_driver_that_does_not_tell_what_a_gpu_can_leaves_it_open() -> None:
    gpu = cuda_gpu(GpuReading(name="x", total=GB), HOST)
    assert (gpu.compute_capability, gpu.bf16, gpu.driver, gpu.driver_cuda) == ("", None, "", "")


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        (GpuReading(name="NVIDIA GB10"), "the driver does not tell this GPU's memory;"),
        (GpuReading(name="NVIDIA GB10", total=0, used=0), "the driver gives this GPU's memory as zero;"),
        (
            GpuReading(name="NVIDIA GB10", total=1 << 50, used=GB),
            "the driver gives this GPU's memory as 1,073,741,824 MB, more than 4 times the machine's;",
        ),
    ],
)
def test_memory_that_cannot_be_believed_is_the_hosts_and_says_so(reading: GpuReading, reason: str) -> None:
    gpu = cuda_gpu(reading, HOST)
    assert gpu.unified_memory
    assert (gpu.memory_mb, gpu.memory_used_mb) == (HOST.available_mb, None)
    assert gpu.note == f"{reason} the machine's available memory is shown instead"


def test_a_large_gpu_in_a_smaller_machine_is_believed() -> None:
    gpu = cuda_gpu(GpuReading(name="NVIDIA H200", total=141 * GB, used=0), HOST)
    assert (gpu.memory_mb, gpu.unified_memory) == (141 * 1024, False)


def test_a_containers_limit_does_not_make_a_gpu_absurd() -> None:
    boxed = Memory(total_mb=128 * 1024, available_mb=1024, limit_mb=2048)
    assert not cuda_gpu(V100, boxed).unified_memory


def test_more_used_than_there_is_stays_unknown() -> None:
    assert cuda_gpu(GpuReading(name="x", total=GB, used=2 * GB), HOST).memory_used_mb is None


def test_an_apple_chips_gpu_shares_the_memory() -> None:
    (gpu,) = accelerators(mac(M4_MAX), MAC, [])
    assert (gpu.kind, gpu.name, gpu.unified_memory) == ("mps", "Apple M4 Max", True)
    assert (gpu.memory_mb, gpu.memory_used_mb, gpu.utilization_percent) == (27 * 1024, 2 * GB / MB, 37)
    assert gpu.note == THUMB


def test_a_limit_set_for_the_apple_gpu_is_its_memory() -> None:
    answers = M4_MAX | {("/usr/sbin/sysctl", "-n", "iogpu.wired_limit_mb"): "30720\n"}
    (gpu,) = accelerators(mac(answers), MAC, [])
    assert (gpu.memory_mb, gpu.note) == (30720, SET)


@pytest.mark.parametrize(("total_gb", "recommended_mb"), [(32, 21845), (36, 27648), (64, 49152), (96, 73728)])
def test_the_rule_of_thumb_is_what_macs_were_seen_to_recommend(total_gb: int, recommended_mb: int) -> None:
    assert int(rule_of_thumb_mb(total_gb * 1024)) == recommended_mb


def test_an_apple_gpu_that_tells_nothing_is_still_there() -> None:
    (gpu,) = accelerators(mac({}), MAC, [])
    assert (gpu.name, gpu.utilization_percent, gpu.memory_used_mb) == ("Apple GPU", None, None)


def test_an_intel_mac_and_a_bare_linux_have_none() -> None:
    assert accelerators(mac({}, "x86_64"), MAC, []) == []
    assert accelerators(linux({}), HOST, []) == []


def test_gpus_keep_the_drivers_order() -> None:
    readings = [GpuReading(name=f"gpu {i}", total=GB) for i in range(4)]
    assert [gpu.name for gpu in accelerators(linux({}), HOST, readings)] == [
        "gpu 0",
        "gpu 1",
        "gpu 2",
        "gpu 3",
    ]


def test_processors_are_named_as_their_makers_do() -> None:
    cpuinfo = (
        "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC   7763 64-Core Processor\nstepping\t: 1\n"
    )
    assert processor_name(linux({"/proc/cpuinfo": cpuinfo})) == "AMD EPYC 7763 64-Core Processor"
    arm = {"/proc/cpuinfo": "CPU part\t: 0xd0c\n", "/proc/device-tree/model": "Raspberry Pi 5\0"}
    assert processor_name(linux(arm, "aarch64")) == "Raspberry Pi 5"
    assert processor_name(linux({"/proc/cpuinfo": "CPU part\t: 0xd0c\n"}, "aarch64")) == "aarch64"
    assert processor_name(mac(M4_MAX)) == "Apple M4 Max (10 performance and 4 efficiency cores)"
    assert processor_name(mac({})) == "arm64"
