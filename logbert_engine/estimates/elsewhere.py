"""The machine that a preset was written for, as far as it is known, and what the documents count on there."""

from __future__ import annotations

from logbert_engine.estimates.duration import flop_per_token
from logbert_engine.estimates.learned import Learned
from logbert_engine.estimates.machine import Machine
from logbert_engine.estimates.rates import TERA, nominal
from logbert_engine.presets.shape import shape_of
from logbert_engine.presets.types import Hardware as Wanted
from logbert_engine.presets.types import RunConfig
from logbert_engine.protocol.estimates import Estimate
from logbert_engine.protocol.figures_in_words import flop as in_words
from logbert_engine.protocol.messages import Accelerator, Hardware


def machine_of(wanted: Wanted) -> Machine | None:
    """The machine that a preset names, with nothing else at work on it; None where it names no GPU that is known."""
    chip = nominal(wanted.gpu, wanted.gpu_cores)
    kind = wanted.devices[0]
    if not wanted.gpu or chip is None or kind == "cpu":
        return None
    memory_mb = 1024 * (wanted.gpu_memory_gb or wanted.memory_gb or 0.0)
    gpu = Accelerator(
        kind=kind,
        name=wanted.gpu,
        memory_mb=memory_mb,
        unified_memory=kind == "mps",
        cores=wanted.gpu_cores,
        bf16=chip.has_bf16,
    )
    hardware = Hardware(
        host=wanted.label,
        system="",
        processor="",
        cores=1,
        threads=1,
        memory_mb=1024 * (wanted.memory_gb or 0.0),
        memory_available_mb=max(memory_mb, 1024 * (wanted.memory_gb or 0.0)),
        disk_free_mb=0.0,
        accelerators=[gpu] * wanted.gpus,
    )
    return Machine(hardware, Learned(None))


def beyond_reach(config: RunConfig, found: Estimate, machine: Machine) -> str:
    """About the rate that the documents count on; empty where it can be reached, or there is none.

    Args:
        config: of the run.
        found: what it takes on the machine that its preset was written for.
        machine: that one.
    """
    claimed, gpu = config.documented_rate, machine.hardware.accelerators[0]
    chip = nominal(gpu.name, gpu.cores)
    if claimed is None or found.step_s is None or chip is None:
        return ""
    low, high = claimed.steps_per_s
    flop = flop_per_token(shape_of(config.model), found.tokens) * claimed.tokens
    rates = [found.tokens_per_step / (claimed.tokens * s) for s in (found.step_s.high, found.step_s.low)]
    if low <= rates[1]:
        return ""
    most = max(chip.short, chip.full) * len(machine.hardware.accelerators)
    return (
        f"The documents count on {low:g}–{high:g} steps/s of {claimed.tokens:,} tokens. That cannot be reached: such "
        f"a step is {in_words(flop)}, so {low:g} a second are {low * flop / TERA:,.0f} TFLOP/s, and {gpu.name} does "
        f"{most:,.0f} at most. What it can do is {rates[0]:.3f} to {rates[1]:.3f} steps/s, one in "
        f"{1 / rates[1]:,.0f} to {1 / rates[0]:,.0f} s."
    )
