"""What the probe finds on machines whose answers were recorded."""

from __future__ import annotations

import pytest

from tests.hardware.machines import RECORDED, machine

GB = 1024.0
V100_MB, A100_MB, T4_MB = (total / (1 << 20) for total in (34_087_305_216, 85_899_345_920, 16_106_127_360))


@pytest.mark.parametrize(
    ("name", "cores", "threads", "performance", "efficiency"),
    [
        ("m4-pro-24", 12, 12, 8, 4),
        ("m4-max-36", 14, 14, 10, 4),
        ("dgx-station-v100", 20, 40, 0, 0),
        ("dgx-a100", 128, 256, 0, 0),
        ("dgx-spark", 20, 20, 10, 10),
        ("colab-t4", 1, 2, 0, 0),
        ("container-4gb", 2, 2, 0, 0),
    ],
)
def test_cores_are_counted_by_kind_and_within_limits(
    name: str, cores: int, threads: int, performance: int, efficiency: int
) -> None:
    found = machine(name)
    assert (found.cores, found.threads) == (cores, threads)
    assert (found.performance_cores, found.efficiency_cores) == (performance, efficiency)


@pytest.mark.parametrize(
    ("name", "gpus", "kind", "memory_mb", "capability", "bf16"),
    [
        ("m4-pro-24", 1, "mps", 16 * GB, "", None),
        ("m4-max-36", 1, "mps", 27 * GB, "", None),
        ("dgx-station-v100", 4, "cuda", V100_MB, "7.0", False),
        ("dgx-a100", 8, "cuda", A100_MB, "8.0", True),
        ("dgx-spark", 1, "cuda", 118_566_368 / 1024, "12.1", True),
        ("colab-t4", 1, "cuda", T4_MB, "7.5", False),
    ],
)
def test_gpus_are_told_with_what_they_can(
    name: str, gpus: int, kind: str, memory_mb: float, capability: str, bf16: bool | None
) -> None:
    found = machine(name).accelerators
    assert len(found) == gpus
    for gpu in found:
        assert (gpu.kind, gpu.compute_capability, gpu.bf16) == (kind, capability, bf16)
        assert gpu.memory_mb == pytest.approx(memory_mb)


def test_only_chips_that_share_memory_say_so() -> None:
    shared = {name for name in RECORDED if any(gpu.unified_memory for gpu in machine(name).accelerators)}
    assert shared == {"m4-pro-24", "m4-max-36", "dgx-spark"}


def test_a_container_says_its_limits_beside_the_hosts_memory() -> None:
    found = machine("container-4gb")
    assert (found.memory_limit_mb, found.memory_available_mb, found.cpu_limit) == (4 * GB, 3.25 * GB, 2.0)
    assert found.memory_mb > 500 * GB
    assert not found.accelerators


def test_apples_gpu_cores_and_the_drivers_cuda_are_told() -> None:
    assert machine("m4-max-36").accelerators[0].cores == 32
    gpu = machine("dgx-station-v100").accelerators[0]
    assert (gpu.driver, gpu.driver_cuda) == ("535.161.08", "12.2")
