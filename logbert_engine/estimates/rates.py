"""How fast devices are: nominal rates of known ones, what is gained of them in training, and how wide that is off."""

from __future__ import annotations

import re
from dataclasses import dataclass

TERA, GIGA = 1e12, 1e9


@dataclass(frozen=True)
class Speed:
    """Of one device, for models of ours."""

    matmul: float
    """FLOP/s of large matrix products in the precision that is used."""
    bandwidth: float
    """Bytes/s of its memory."""
    launch_s: float
    """Seconds that an operation costs however small it is."""
    utilisation: float
    """Share of ``matmul`` that the products of a model come to."""
    range: float
    """Seconds may be this factor shorter or longer."""

    @property
    def achieved(self) -> float:
        """FLOP/s in training."""
        return self.matmul * self.utilisation


@dataclass(frozen=True)
class Nominal:
    """What a maker says of a chip."""

    pattern: re.Pattern[str]
    short: float
    """TFLOP/s in fp16 or bf16, dense, accumulated in fp32."""
    full: float
    """TFLOP/s in fp32."""
    bandwidth: float
    """GB/s."""
    has_bf16: bool = True


def _chip(pattern: str, short: float, full: float, bandwidth: float, *, has_bf16: bool = True) -> Nominal:
    return Nominal(re.compile(pattern, re.IGNORECASE), short, full, bandwidth, has_bf16)


# Source: NVIDIA's data sheets (dense rates). The more special name comes first.
NOMINAL = (
    _chip(r"\bGB10\b|DGX Spark", 125, 31, 273),
    _chip(r"\bB200\b", 2250, 80, 8000),
    _chip(r"\bH200\b", 989, 67, 4800),
    _chip(r"\bH100\b.*PCIe", 756, 51, 2000),
    _chip(r"\bH100\b", 989, 67, 3350),
    _chip(r"\bA100\b.*80", 312, 19.5, 2039),
    _chip(r"\bA100\b", 312, 19.5, 1555),
    _chip(r"\bA10G\b", 70, 31.5, 600),
    _chip(r"\bA10\b", 125, 31.2, 600),
    _chip(r"\bL40S\b", 362, 91.6, 864),
    _chip(r"\bL4\b", 121, 30.3, 300),
    _chip(r"\bV100\b", 125, 15.7, 900, has_bf16=False),
    _chip(r"\bT4\b", 65, 8.1, 320, has_bf16=False),
    _chip(r"\bP100\b", 18.7, 9.3, 732, has_bf16=False),
    _chip(r"RTX A6000", 155, 38.7, 768),
    _chip(r"RTX 5090", 210, 105, 1792),
    _chip(r"RTX 4090", 165, 82.6, 1008),
    _chip(r"RTX 3090", 71, 35.6, 936),
)

# Cores, where a chip is not told by how many it has; GB/s. A core does 256 operations a cycle. Source: Apple's
# technical specifications.
APPLE = (
    ("M4 Max", 32, 410),
    ("M4 Pro", 16, 273),
    ("M4", 10, 120),
    ("M3 Ultra", 60, 819),
    ("M3 Max", 30, 300),
    ("M3 Pro", 14, 150),
    ("M3", 8, 100),
    ("M2 Ultra", 60, 800),
    ("M2 Max", 30, 400),
    ("M2 Pro", 16, 200),
    ("M2", 8, 100),
    ("M1 Ultra", 48, 800),
    ("M1 Max", 24, 400),
    ("M1 Pro", 14, 200),
    ("M1", 7, 68),
)
APPLE_CORE = {"M4": 0.43, "M3": 0.37, "M2": 0.36, "M1": 0.325}
"""TFLOP/s of a GPU core, in fp32 as in fp16, by generation."""

CPU_CORE = 60 * GIGA
"""FLOP/s in fp32 of a processor core of the last ten years, where none were measured: within a factor of two."""
CPU_BANDWIDTH = 12 * GIGA


def nominal(name: str, cores: int = 0) -> Nominal | None:
    """What is known of a GPU by its name; None where it is not known.

    Args:
        name: as its driver has it, such as ``Tesla V100-DGXS-32GB`` or ``Apple M4 Max``.
        cores: of an Apple GPU; 0 where that is not told.
    """
    for chip, fewest, bandwidth in APPLE:
        if re.search(rf"\b{chip}\b", name):
            rate = APPLE_CORE[chip[:2]] * (cores or fewest)
            return Nominal(re.compile(chip), rate, rate, bandwidth)
    return next((chip for chip in NOMINAL if chip.pattern.search(name)), None)


def speed_of(kind: str, name: str, precision: str, cores: int, measured: float | None = None) -> Speed | None:
    """The speed of a device.

    Args:
        kind: ``cpu``, ``mps`` or ``cuda``.
        name: the GPU's.
        precision: that training uses.
        cores: of the processor, or of an Apple GPU.
        measured: FLOP/s of large matrix products in that precision, where they were.

    Returns:
        None for a GPU that is not known and was not measured.
    """
    if kind == "cpu":
        rate = measured or cores * CPU_CORE
        return Speed(rate, CPU_BANDWIDTH, 8e-6, 0.62, 1.4 if measured else 2.5)
    chip = nominal(name, cores)
    if chip is None and measured is None:
        return None
    bandwidth = (chip.bandwidth if chip is not None else 300.0) * GIGA
    if kind == "mps":
        rate = measured or (chip.full if chip is not None else 0.0) * TERA
        return Speed(rate, bandwidth, 30e-6, 0.4 if measured else 0.3, 1.8)
    short = precision != "fp32"
    rate = measured or ((chip.short if short else chip.full) if chip is not None else 0.0) * TERA
    return Speed(rate, bandwidth, 15e-6, 0.5 if measured else 0.35 if short else 0.6, 1.8)
