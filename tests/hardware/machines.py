"""Machines as their kernels and drivers answer, for the real probing code: ``machine("dgx-a100")``.

After data sheets and public reports of these machines; what varies between two of a kind (memory in use, driver,
the capacities of the Spark's cores) is of the right size, not measured here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from logbert_engine.hardware.cuda import GpuReading
from logbert_engine.hardware.probe import probe
from logbert_engine.hardware.sources import HostMemory, Sources
from logbert_engine.protocol.messages import Hardware

GB = 1 << 30
KB = 1 << 10


@dataclass(frozen=True)
class Recorded:
    """What was asked of a machine, and what it said."""

    host: str
    memory: HostMemory
    physical_cores: int
    threads: int
    system: str = "Linux"
    machine: str = "x86_64"
    files: Mapping[str, str] = field(default_factory=dict)
    commands: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    gpus: tuple[GpuReading, ...] = ()
    free_disk: int = 500 * GB

    def sources(self) -> Sources:
        """The door that the probe asks through."""
        return Sources(
            system=self.system,
            machine=self.machine,
            read_text=lambda path: self.files.get(str(path)),
            run=self.commands.get,
            memory=lambda: self.memory,
            host=lambda: self.host,
            cpus=lambda: frozenset(range(self.threads)),
            physical_cores=lambda: self.physical_cores,
            free_disk=lambda _path: self.free_disk,
        )


def mac(chip: str, memory: HostMemory, performance: int, efficiency: int, gpu_cores: int) -> Recorded:
    """A MacBook Pro."""
    values = {
        "machdep.cpu.brand_string": chip,
        "hw.perflevel0.physicalcpu": performance,
        "hw.perflevel1.physicalcpu": efficiency,
        "iogpu.wired_limit_mb": 0,
    }
    statistics = (
        f'    "gpu-core-count" = {gpu_cores}\n    "PerformanceStatistics" = {{"Alloc system memory"=1073741824,'
        '"Device Utilization %"=3,"In use system memory"=536870912,"Renderer Utilization %"=3}\n'
    )
    return Recorded(
        host=f"{chip.removeprefix('Apple ').lower().replace(' ', '-')}.local",
        system="Darwin",
        machine="arm64",
        memory=memory,
        physical_cores=performance + efficiency,
        threads=performance + efficiency,
        commands={("/usr/sbin/sysctl", "-n", name): f"{value}\n" for name, value in values.items()}
        | {("/usr/sbin/ioreg", "-r", "-d", "1", "-w", "0", "-c", "IOAccelerator"): statistics},
    )


def cpuinfo(name: str) -> dict[str, str]:
    """As Linux tells an Intel or AMD processor, without a cgroup's limit."""
    return {
        "/proc/cpuinfo": f"processor\t: 0\nmodel name\t: {name}\n",
        "/proc/self/cgroup": "0::/user.slice\n",
    }


def _spark_capacities() -> dict[str, str]:
    # Its clusters: five A725, five X925, twice; one X925 has the highest clock.
    kinds = [718] * 5 + [1017] * 5 + [718] * 5 + [1017] * 4 + [1024]
    return {f"/sys/devices/system/cpu/cpu{n}/cpu_capacity": f"{kind}\n" for n, kind in enumerate(kinds)}


V100 = GpuReading(
    name="Tesla V100-DGXS-32GB",
    total=34_087_305_216,
    used=460_324_864,
    utilization_percent=0.0,
    temperature_c=41,
    power_mw=37_800,
    capability=(7, 0),
    driver="535.161.08",
    driver_cuda=12020,
)
A100 = GpuReading(
    name="NVIDIA A100-SXM4-80GB",
    total=85_899_345_920,
    used=455_081_984,
    utilization_percent=0.0,
    temperature_c=31,
    power_mw=61_300,
    capability=(8, 0),
    driver="580.95.05",
    driver_cuda=13000,
)
GB10 = GpuReading(  # the driver answers NOT_SUPPORTED to questions about its memory
    name="NVIDIA GB10",
    utilization_percent=0.0,
    temperature_c=36,
    power_mw=3_000,
    capability=(12, 1),
    driver="580.126.09",
    driver_cuda=13000,
)
T4 = GpuReading(
    name="Tesla T4",
    total=16_106_127_360,
    used=0,
    utilization_percent=0.0,
    temperature_c=48,
    power_mw=9_800,
    capability=(7, 5),
    driver="550.54.15",
    driver_cuda=12040,
)

RECORDED = {
    "m4-pro-24": mac("Apple M4 Pro", HostMemory(24 * GB, 14 * GB), 8, 4, 16),
    "m4-max-36": mac("Apple M4 Max", HostMemory(36 * GB, 24 * GB), 10, 4, 32),
    "dgx-station-v100": Recorded(
        host="dgx-station",
        memory=HostMemory(263_736_840 * KB, 250_101_124 * KB),
        physical_cores=20,
        threads=40,
        files=cpuinfo("Intel(R) Xeon(R) CPU E5-2698 v4 @ 2.20GHz"),
        gpus=(V100,) * 4,
        free_disk=1500 * GB,
    ),
    "dgx-a100": Recorded(
        host="dgx-a100",
        memory=HostMemory(2_113_548_404 * KB, 2_080_221_552 * KB),
        physical_cores=128,
        threads=256,
        files=cpuinfo("AMD EPYC 7742 64-Core Processor"),
        gpus=(A100,) * 8,
        free_disk=12_000 * GB,
    ),
    "dgx-spark": Recorded(
        host="spark",
        machine="aarch64",
        memory=HostMemory(127_600_748 * KB, 118_566_368 * KB),
        physical_cores=20,
        threads=20,
        files={
            "/proc/cpuinfo": "processor\t: 0\nCPU part\t: 0xd87\n",
            "/proc/self/cgroup": "0::/user.slice\n",
        }
        | _spark_capacities(),
        gpus=(GB10,),
        free_disk=3_000 * GB,
    ),
    "colab-t4": Recorded(
        host="colab",
        memory=HostMemory(13_289_428 * KB, 12_091_216 * KB),
        physical_cores=1,
        threads=2,
        files=cpuinfo("Intel(R) Xeon(R) CPU @ 2.00GHz") | {"/proc/self/cgroup": "0::/\n"},
        gpus=(T4,),
        free_disk=70 * GB,
    ),
    "container-4gb": Recorded(
        host="3f1c2b7d9a10",
        memory=HostMemory(527_987_844 * KB, 402_113_900 * KB),
        physical_cores=64,
        threads=128,
        files=cpuinfo("AMD EPYC 7763 64-Core Processor")
        | {
            "/proc/self/cgroup": "0::/\n",
            "/sys/fs/cgroup/memory.max": f"{4 * GB}\n",
            "/sys/fs/cgroup/memory.current": f"{GB}\n",
            "/sys/fs/cgroup/memory.stat": f"anon {GB // 2}\ninactive_file {GB // 4}\n",
            "/sys/fs/cgroup/cpu.max": "200000 100000\n",
        },
        free_disk=40 * GB,
    ),
}


def machine(name: str) -> Hardware:
    """The recorded machine of that name, probed."""
    recorded = RECORDED[name]
    return probe(Path("/"), recorded.sources(), list(recorded.gpus))
