"""What is said of recorded machines: their processors, memory and GPUs."""

from __future__ import annotations

import msgspec
import pytest

from logbert_engine.diagnosis import machine as diagnosis
from logbert_engine.diagnosis.finding import Finding
from logbert_engine.hardware.processor import is_translated
from logbert_engine.hardware.sources import Sources
from tests.hardware.machines import RECORDED, machine


def odd(found: list[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.state != "well"]


@pytest.mark.parametrize("name", sorted(set(RECORDED) - {"container-4gb"}))
def test_a_machine_of_ones_own_is_well(name: str) -> None:
    hardware = machine(name)
    found = diagnosis.findings(hardware, now=2.0, written_at=1.0)
    assert odd([*found, *diagnosis.memory(hardware), *diagnosis.gpus(hardware)]) == []


def test_a_containers_limits_are_said_with_who_can_change_them() -> None:
    hardware = machine("container-4gb")
    (cores,) = odd(diagnosis.findings(hardware, now=2.0, written_at=1.0))
    assert cores.what.startswith("2 cores, 2 threads: a cgroup gives 2 processors' worth of time")
    assert "docker --cpus" in cores.mend
    (limit,) = odd(diagnosis.memory(hardware))
    assert (limit.state, limit.what) == ("notice", "a cgroup limits this to 4.0 GB")
    assert "--max-memory-mb" in limit.mend


@pytest.mark.parametrize(
    ("available_mb", "state"), [(511, "wrong"), (513, "notice"), (2047, "notice"), (2048, "well")]
)
def test_little_memory_is_said(available_mb: float, state: str) -> None:
    hardware = msgspec.structs.replace(machine("colab-t4"), memory_available_mb=available_mb)
    assert [finding.state for finding in diagnosis.memory(hardware)] == [state]


def test_an_intel_python_on_an_apple_chip_and_a_clock_of_the_past_are_said() -> None:
    rosetta, clock = odd(diagnosis.findings(machine("m4-pro-24"), translated=True, now=0.0, written_at=1e9))
    assert "runs under Rosetta" in rosetta.what
    assert "arm64" in rosetta.mend
    assert "the clock says 1970-01-01" in clock.what


def test_rosetta_is_told_by_the_kernel() -> None:
    question = ("/usr/sbin/sysctl", "-n", "sysctl.proc_translated")
    assert is_translated(Sources(system="Darwin", machine="x86_64", run={question: "1\n"}.get))
    assert not is_translated(Sources(system="Darwin", machine="arm64", run={question: "0\n"}.get))
    assert not is_translated(Sources(system="Linux", run={question: "1\n"}.get))


def test_kinds_of_cores_are_named() -> None:
    _, cores = diagnosis.findings(machine("dgx-spark"), now=2.0, written_at=1.0)
    assert cores.what == "20 cores (10 for performance, 10 for efficiency), 20 threads"


def test_a_gpu_says_all_that_it_is() -> None:
    assert [finding.what for finding in diagnosis.gpus(machine("dgx-station-v100"))][3] == (
        "3: Tesla V100-DGXS-32GB, 31.7 GB, 439 MB in use, compute capability 7.0, fp16, no bf16, "
        "driver 535.161.08 for CUDA up to 12.2"
    )
    (apple,) = diagnosis.gpus(machine("m4-max-36"))
    assert apple.what.startswith("0: Apple M4 Max, 32 cores, 27.0 GB (shares the machine's memory; ")


def test_a_gpu_that_others_use_is_said_and_an_apple_one_never() -> None:
    hardware = machine("dgx-station-v100")
    hardware.accelerators[2].memory_used_mb = 9_000.0
    states = [finding.state for finding in diagnosis.gpus(hardware)]
    assert states == ["well", "well", "notice", "well"]
    assert "nvidia-smi" in diagnosis.gpus(hardware)[2].mend
    mac = machine("m4-pro-24")
    mac.accelerators[0].memory_used_mb = 9_000.0
    assert odd(diagnosis.gpus(mac)) == []


def test_without_a_gpu_the_processor_trains() -> None:
    (found,) = diagnosis.gpus(machine("container-4gb"))
    assert (found.state, found.what) == ("well", "none is seen; training uses the processor")
