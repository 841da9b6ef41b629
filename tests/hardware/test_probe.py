"""The machine that the tests run on, asked for real."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from logbert_engine.hardware.cuda import GpuReading, Nvml
from logbert_engine.hardware.probe import free_disk_mb, probe
from logbert_engine.hardware.sources import MB


def test_this_machine_is_described(tmp_path: Path) -> None:
    found = probe(tmp_path)
    assert found.host == socket.gethostname()
    assert found.processor
    assert 1 <= found.cores <= found.threads <= (os.cpu_count() or 1)
    assert 0 < found.memory_available_mb <= found.memory_mb
    assert found.disk_free_mb > 0


def test_recorded_gpus_appear_among_the_machines(tmp_path: Path) -> None:
    gpus = probe(tmp_path, gpus=[GpuReading(name="recorded", total=1 << 30)]).accelerators
    assert [gpu.name for gpu in gpus if gpu.kind == "cuda"] == ["recorded"]


def test_free_space_is_told_for_a_directory_that_is_not_made_yet(tmp_path: Path) -> None:
    assert abs(free_disk_mb(tmp_path / "a" / "b") - shutil.disk_usage(tmp_path).free / MB) < 1024


def test_nvml_can_be_closed_twice_and_tells_nothing_afterwards() -> None:
    nvml = Nvml()
    before = nvml.read()
    assert all(reading.name for reading in before)
    nvml.close()
    nvml.close()
    assert nvml.read() == []


def test_probing_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom logbert_engine.hardware.probe import probe\n"
        "from logbert_engine.hardware.sampler import Sampler\n"
        "import logbert_engine.hardware.torch_ask\nprobe(Path('.'))\nSampler().sample(None)\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    words = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
