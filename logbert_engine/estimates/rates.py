"""How fast devices are: nominal rates of known ones, what is gained of them in training, and how wide that is off."""

from __future__ import annotations

import re
from dataclasses import dataclass

from logbert_engine.protocol.estimates import Origin

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
    origin: Origin = "computed"

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


def _chip(pattern: str, short: float, full: float, bandwidth: float) -> Nominal:
    return Nominal(re.compile(pattern, re.IGNORECASE), short, full, bandwidth)


# Sources: NVIDIA's data sheets (dense rates); Apple's memory bandwidths, and for its GPUs cores × 128 × 2 × clock.
# The more special name comes first.
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
    _chip(r"\bV100\b", 125, 15.7, 900),
    _chip(r"\bT4\b", 65, 8.1, 320),
    _chip(r"\bP100\b", 18.7, 9.3, 732),
    _chip(r"RTX A6000", 155, 38.7, 768),
    _chip(r"RTX 5090", 210, 105, 1792),
    _chip(r"RTX 4090", 165, 82.6, 1008),
    _chip(r"RTX 3090", 71, 35.6, 936),
    _chip(r"M4 Max", 14, 14, 410),
    _chip(r"M4 Pro", 8, 8, 273),
    _chip(r"\bM4\b", 4.3, 4.3, 120),
    _chip(r"M3 Ultra", 28, 28, 819),
    _chip(r"M3 Max", 14, 14, 400),
    _chip(r"M3 Pro", 6.4, 6.4, 150),
    _chip(r"\bM3\b", 3.5, 3.5, 100),
    _chip(r"M2 Ultra", 27, 27, 800),
    _chip(r"M2 Max", 13.6, 13.6, 400),
    _chip(r"M2 Pro", 6.8, 6.8, 200),
    _chip(r"\bM2\b", 3.6, 3.6, 100),
    _chip(r"M1 Ultra", 21, 21, 800),
    _chip(r"M1 Max", 10.4, 10.4, 400),
    _chip(r"M1 Pro", 5.2, 5.2, 200),
    _chip(r"\bM1\b", 2.6, 2.6, 68),
)

CPU_CORE = 60 * GIGA
"""FLOP/s in fp32 of a processor core of the last ten years, where none were measured: within a factor of two."""
CPU_BANDWIDTH = 12 * GIGA


def nominal(name: str) -> Nominal | None:
    """What is known of a GPU by its name; None where it is not known."""
    return next((chip for chip in NOMINAL if chip.pattern.search(name)), None)


def speed_of(kind: str, name: str, precision: str, cores: int, measured: float | None = None) -> Speed | None:
    """The speed of a device.

    Args:
        kind: ``cpu``, ``mps`` or ``cuda``.
        name: the GPU's.
        precision: that training uses.
        cores: of the processor.
        measured: FLOP/s of large matrix products in that precision, where they were.

    Returns:
        None for a GPU that is not known and was not measured.
    """
    origin: Origin = "computed"
    if kind == "cpu":
        rate = measured or cores * CPU_CORE
        return Speed(rate, CPU_BANDWIDTH, 8e-6, 0.62, 1.4 if measured else 2.5, origin)
    chip = nominal(name)
    if chip is None and measured is None:
        return None
    bandwidth = (chip.bandwidth if chip is not None else 300.0) * GIGA
    if kind == "mps":
        rate = measured or (chip.full if chip is not None else 0.0) * TERA
        return Speed(rate, bandwidth, 20e-6, 0.4 if measured else 0.3, 1.8, origin)
    short = precision != "fp32"
    rate = measured or ((chip.short if short else chip.full) if chip is not None else 0.0) * TERA
    return Speed(rate, bandwidth, 8e-6, 0.5 if measured else 0.35 if short else 0.6, 1.8, origin)
