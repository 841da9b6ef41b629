"""The same run on the machine that its preset was written for: what it would take and cost there."""

from __future__ import annotations

from logbert_engine.estimates.duration import flop_per_token, micro_seconds, update_seconds
from logbert_engine.estimates.machine import Precision
from logbert_engine.estimates.memory import Load, parts_of
from logbert_engine.estimates.rates import TERA, nominal, speed_of
from logbert_engine.estimates.verdict import smaller
from logbert_engine.estimates.work import Work
from logbert_engine.presets.shape import Shape
from logbert_engine.presets.types import Hardware, RunConfig
from logbert_engine.protocol.estimates import Elsewhere, Figure

_KEPT_MB = 500.0
"""Of a device's memory, what drivers and libraries take."""
_EXCHANGE = 1.1
"""Longer that a step takes where several devices exchange gradients."""


def elsewhere(config: RunConfig, work: Work, shape: Shape, batch: int) -> Elsewhere | None:
    """What a run takes on the machine that its preset names; None where it names no GPU."""
    there = config.hardware
    chip = nominal(there.gpu, there.gpu_cores)
    if not there.gpu or chip is None:
        return None
    kind = there.devices[0]
    precision: Precision = "fp32" if kind == "mps" else "fp16" if chip.short > chip.full else "fp32"
    speed = speed_of(kind, there.gpu, precision, there.gpu_cores)
    assert speed is not None
    micro = _largest(config, shape, work, batch, there)
    load = Load(kind, precision, max(1, micro), work.tokens)
    steps = -(-batch // (load.micro_batch * there.gpus))
    step_s = steps * micro_seconds(shape, load, speed) + update_seconds(shape, speed)
    step_s *= _EXCHANGE if there.gpus > 1 else 1.0
    rate = Figure(
        value=1 / step_s, low=1 / (step_s * speed.range), high=speed.range / step_s, origin="computed"
    )
    total = sum(stage.steps * stage.batch for stage in work.stages) / batch * step_s
    seconds = _range(total, speed.range) if work.stages else None
    cost = None
    if seconds is not None and there.price_per_hour is not None:
        cost = _range(total / 3600 * there.price_per_hour, speed.range)
    return Elsewhere(
        machine=there.label,
        seconds=seconds,
        cost=cost,
        price=there.price,
        steps_per_s=rate,
        fits=micro > 0,
        words=_claim(config, shape, work, batch, speed.matmul * there.gpus, rate),
    )


def _largest(config: RunConfig, shape: Shape, work: Work, batch: int, there: Hardware) -> int:
    """The micro-batch, halved until it fits; 0 where none does."""
    if there.gpu_memory_gb is None:
        return batch
    kind = there.devices[0]
    room = there.gpu_memory_gb * 1024 - _KEPT_MB
    begin = min(config.training.micro_batch or batch, -(-batch // there.gpus))
    for micro in (begin, *smaller(batch, begin)):
        load = Load(kind, "fp32" if kind == "mps" else "fp16", micro, work.longest)
        if sum(parts_of(shape, load).values()) <= room:
            return micro
    return 0


def _claim(config: RunConfig, shape: Shape, work: Work, batch: int, matmul: float, rate: Figure) -> str:
    """About the rate that the documents count on; empty where it can be reached, or there is none."""
    claimed = config.documented_steps_per_s
    if claimed is None:
        return ""
    tokens = batch * work.tokens
    flop = flop_per_token(shape, work.tokens) * tokens
    low, high = claimed
    if low <= rate.high:
        return ""
    return (
        f"The documents count on {low:g}–{high:g} steps/s of {tokens:,} tokens. That cannot be reached: a step is "
        f"{flop:.1e} FLOP, so {low:g} a second are {low * flop / TERA:,.0f} TFLOP/s, and {config.hardware.gpu} does "
        f"{matmul / TERA:,.0f} at most. What it can do is {rate.low:.3f} to {rate.high:.3f} steps/s, a step in "
        f"{1 / rate.high:,.0f} to {1 / rate.low:,.0f} s."
    )


def _range(value: float, off: float) -> Figure:
    return Figure(value=value, low=value / off, high=value * off, origin="computed")
