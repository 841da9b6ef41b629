"""How many processes train together: what the preset says, or one for each CUDA device."""

from __future__ import annotations

import subprocess
import sys

from logbert_engine.hardware.cuda import Nvml
from logbert_engine.hardware.processor import check_count
from logbert_engine.presets.types import RunConfig
from logbert_engine.protocol.errors import DeviceError

_ASK = "import torch; print(torch.cuda.device_count())"
_PATIENCE_S = 120.0


def process_count(config: RunConfig) -> int:
    """The number of processes of a run.

    Raises:
        DeviceError: more than this machine has use for, or the CUDA devices cannot be counted.
    """
    wanted = config.workers.nproc
    if wanted != "auto":
        check_count(wanted)
        return wanted
    if config.device not in ("auto", "cuda"):
        return 1
    nvml = Nvml()
    try:
        there = len(nvml.read())
    finally:
        nvml.close()
    return 1 if there < 2 else _counted_by_torch()


def _counted_by_torch() -> int:
    """Torch may see fewer than the driver: it follows CUDA_VISIBLE_DEVICES, and may be built without CUDA."""
    try:
        found = subprocess.run(
            [sys.executable, "-P", "-c", _ASK],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=True,
        )
        return max(1, int(found.stdout))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise DeviceError(
            f"the CUDA devices cannot be counted ({error}); say how many processes are to train with --nproc N."
        ) from error
