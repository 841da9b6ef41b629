"""Findings about torch: whether it can use what the machine has, and which build could."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from logbert_engine.diagnosis.finding import Finding, notice, refused, well, wrong
from logbert_engine.hardware.torch_answer import TorchAnswer, TorchDevice
from logbert_engine.protocol.messages import Accelerator, Hardware

Version = tuple[int, int]
_WHEELS = "https://download.pytorch.org/whl"
_OLDEST_OF_CUDA_13: Version = (7, 5)
"""Builds for CUDA 12.8 and later have no code for older chips (Volta and before); those for 12.6 do, up to torch
2.14."""
_FIRST_BLACKWELL: Version = (10, 0)
"""Builds for CUDA 12.6 have no code from here on."""
_OLDEST_MACOS = 14


def findings(
    hardware: Hardware, answer: TorchAnswer | str, environment: Mapping[str, str], macos: str = ""
) -> list[Finding]:
    """What torch makes of the machine.

    Args:
        hardware: as it was probed without torch.
        answer: torch's, or one sentence that says why there is none and what to do.
        environment: variables.
        macos: its version; empty on other systems.
    """
    if isinstance(answer, str):
        return [refused("wrong", answer)]
    built = f"CUDA {answer.cuda}" if answer.cuda else "mps" if answer.mps_built else "the processor alone"
    found = [well(f"torch {answer.torch}, built for {built}")]
    found += _cuda(hardware, answer, environment)
    found += _mps(hardware, answer, macos)
    found += _threads(hardware, answer, environment)
    found += [well(rates) for device in answer.devices if (rates := _rates(device))]
    return found


def right_build(gpus: Sequence[Accelerator]) -> str:
    """How to install a torch that these NVIDIA GPUs and their driver can run, in a sentence."""
    able = [version(gpu.compute_capability) for gpu in gpus if gpu.compute_capability]
    driver = min((version(gpu.driver_cuda) for gpu in gpus if gpu.driver_cuda), default=(13, 0))
    old, new = min(able, default=_OLDEST_OF_CUDA_13), max(able, default=_OLDEST_OF_CUDA_13)
    if old < _OLDEST_OF_CUDA_13 and new >= _FIRST_BLACKWELL:
        return "No one build runs on all of them: choose some with CUDA_VISIBLE_DEVICES and look again."
    wheel = "cu126" if old < _OLDEST_OF_CUDA_13 or (driver < (13, 0) and new < _FIRST_BLACKWELL) else "cu130"
    install = f"pip install --force-reinstall torch --index-url {_WHEELS}/{wheel}"
    least = (12, 0) if wheel == "cu126" else (13, 0)
    return f"Install NVIDIA's driver 580 first, then run: {install}" if driver < least else f"Run: {install}"


def version(text: str) -> Version:
    """The first two numbers of a version."""
    major, _, rest = text.partition(".")
    minor = rest.partition(".")[0]
    return (int(major) if major.isdecimal() else 0, int(minor) if minor.isdecimal() else 0)


def _cuda(hardware: Hardware, answer: TorchAnswer, environment: Mapping[str, str]) -> list[Finding]:
    seen = [gpu for gpu in hardware.accelerators if gpu.kind == "cuda"]
    usable = answer.of_kind("cuda")
    broken = [_broken(device, answer, seen) for device in usable if device.problem]
    if broken or len(usable) >= len(seen):
        return broken
    count = "the GPU" if len(seen) == 1 else f"{len(seen) - len(usable)} of {len(seen)} GPUs"
    if not answer.cuda:
        return [notice(f"this build cannot use {count}: it is without CUDA", right_build(seen))]
    if "CUDA_VISIBLE_DEVICES" in environment:
        hidden = f"CUDA_VISIBLE_DEVICES={environment['CUDA_VISIBLE_DEVICES']} hides {count} from torch"
        return [notice(hidden, "Unset it to train on all.")]
    driver = seen[0]
    if driver.driver_cuda and version(driver.driver_cuda)[0] < version(answer.cuda)[0]:
        what = (
            f"the driver {driver.driver} runs CUDA up to {driver.driver_cuda}, this build needs {answer.cuda}"
        )
        return [notice(f"torch cannot use {count}: {what}", right_build(seen))]
    return [
        notice(
            f"torch does not find {count}{f': {answer.said}' if answer.said else ''}",
            "See whether nvidia-smi is well, restart the machine after an update of the driver, and give a container "
            "the GPUs (docker run --gpus all).",
        )
    ]


def _broken(device: TorchDevice, answer: TorchAnswer, seen: Sequence[Accelerator]) -> Finding:
    what = f"GPU {device.number}, {device.name}, cannot be used: {device.problem}"
    if device.capability and not _has_code(answer.capabilities, version(device.capability)):
        return wrong(
            f"{what} (this build has no code for compute capability {device.capability})", right_build(seen)
        )
    return wrong(what, "See with nvidia-smi whether it is well and who uses it, or train with --device cpu.")


def _has_code(capabilities: Sequence[str], wanted: Version) -> bool:
    """Whether a build runs on a chip: code for its generation, or for an older one that the driver translates."""
    for told in capabilities:
        kind, _, number = told.partition("_")
        digits = "".join(c for c in number if c.isdecimal())
        have = (int(digits[:-1]), int(digits[-1])) if len(digits) > 1 else (99, 0)
        if have <= wanted and (kind == "compute" or have[0] == wanted[0]):
            return True
    return False


def _mps(hardware: Hardware, answer: TorchAnswer, macos: str) -> list[Finding]:
    if not any(gpu.kind == "mps" for gpu in hardware.accelerators):
        return []
    usable = answer.of_kind("mps")
    if usable:
        problem = usable[0].problem
        return (
            [wrong(f"the Apple GPU cannot be used: {problem}", "Train with --device cpu.")] if problem else []
        )
    if not answer.mps_built:
        return [
            notice(
                "this build is without mps, so that the Apple GPU cannot be used",
                "Run, with a Python for arm64: pip install --force-reinstall torch",
            )
        ]
    if macos and version(macos)[0] < _OLDEST_MACOS:
        return [
            notice(
                f"macOS {macos} is too old for torch to use the GPU",
                f"Update to macOS {_OLDEST_MACOS} or later.",
            )
        ]
    return [notice("torch does not find the Apple GPU", "Run: pip install --force-reinstall torch")]


def _threads(hardware: Hardware, answer: TorchAnswer, environment: Mapping[str, str]) -> list[Finding]:
    if answer.threads > hardware.threads:
        return [
            notice(
                f"torch computes with {answer.threads} threads, where {hardware.threads} may run at once",
                f"Run: export OMP_NUM_THREADS={hardware.threads}",
            )
        ]
    given = environment.get("OMP_NUM_THREADS", "")
    if given and answer.threads < hardware.cores:
        return [
            notice(
                f"OMP_NUM_THREADS={given} lets torch compute with {answer.threads} of {hardware.cores} cores",
                "Unset it to train on all.",
            )
        ]
    return []


def _rates(device: TorchDevice) -> str:
    if not device.flops:
        return ""
    name = (
        "the processor"
        if device.kind == "cpu"
        else "the Apple GPU"
        if device.kind == "mps"
        else f"GPU {device.number}"
    )
    rates = ", ".join(f"{rate / 1e12:.3g} TFLOP/s in {precision}" for precision, rate in device.flops.items())
    return f"{name} multiplies matrices at {rates}"
