"""The estimate of a run: what it computes from sizes and rates, and what was measured where it was."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import msgspec

from logbert_engine.estimates.duration import (
    flop_per_token,
    micro_seconds,
    scoring_seconds,
    update_seconds,
)
from logbert_engine.estimates.elsewhere import elsewhere
from logbert_engine.estimates.learned import Measured
from logbert_engine.estimates.machine import CONTEXT_MB, EMPTY_MB, Machine, Place, place_of
from logbert_engine.estimates.memory import MB, Load, parts_of, settled
from logbert_engine.estimates.rates import Speed
from logbert_engine.estimates.verdict import judge, smaller
from logbert_engine.estimates.work import StageWork, Work, work_of
from logbert_engine.presets.batching import batch_for, micro_batch_for, within_tokens
from logbert_engine.presets.pretrained import with_its_sizes
from logbert_engine.presets.shape import Shape, shape_of
from logbert_engine.presets.types import Decoder, RunConfig
from logbert_engine.protocol.estimates import Estimate, Figure, Origin, StageEstimate, Verdict
from logbert_engine.protocol.expectation import together
from logbert_engine.protocol.messages import DataSummary

MEMORY_RANGE = 0.15
"""By how much of itself computed memory may be off."""
NEAR = 1.25
"""By which factor time may be off where the same model was measured at other sizes."""
CALIBRATED = 1.5
"""By which where other models were measured on the device."""
_FP16_ROUND = 1.06
"""That a GPU's caching allocator takes above what it was asked for."""


@dataclass(frozen=True)
class _Run:
    """A run on a device."""

    config: RunConfig
    work: Work
    shape: Shape
    place: Place
    machine: Machine

    def load(self, micro_batch: int, tokens: int, *, accumulates: bool) -> Load:
        return Load(self.place.kind, self.place.precision, micro_batch, tokens, accumulates)


def estimate(config: RunConfig, machine: Machine, data: DataSummary | None = None) -> Estimate:
    """What a run will take on a machine.

    Args:
        config: of the run.
        machine: what is known of it.
        data: a look at the sessions; None where there are none yet.

    Raises:
        PresetError: the stages do not hold.
    """
    return estimate_work(config, work_of(as_built(config)[0], data), machine)


def estimate_work(config: RunConfig, work: Work, machine: Machine, *, as_set: bool = False) -> Estimate:
    """What some work will take on a machine.

    Args:
        config: of the run.
        work: what it has to do; figures of a step are those of its last stage.
        machine: what is known of it.
        as_set: whether the settings stay whatever fits, as those of a run that has begun do.
    """
    config, unknown = as_built(config)
    shape = shape_of(config.model, work.events)
    place = place_of(config, machine)
    batch, micro_batch = _batches(config, work, place)
    tokens_per_step = float(batch * work.tokens)
    per_token = flop_per_token(shape, work.tokens)
    there = elsewhere(config, work, shape, batch)
    if place is None:
        verdict = Verdict(
            fit="no device",
            words=f"needs {config.device}, which this machine does not have; --device auto takes what there is",
        )
        place = Place(config.device, "", 1, "fp32", 0.0, None) if config.device != "auto" else None
        assert place is not None
        run = _Run(config, work, shape, place, machine)
    else:
        run = _Run(config, work, shape, place, machine)
        verdict = judge(
            lambda micro, again: _memory(run, batch, micro, again).value,
            [micro_batch, *smaller(_divided(config), micro_batch)],
            shape.checkpointing,
            place.room_mb,
            _where(place),
        )
        verdict = msgspec.structs.replace(verdict, settings=_settings(config, verdict, micro_batch))
    micro, again = micro_batch, shape.checkpointing
    if not as_set:
        micro, again = verdict.micro_batch or micro, verdict.checkpointing or again
    fitted = replace(run, shape=replace(shape, checkpointing=again))
    step = _step(fitted, batch, micro)
    stages = [_stage(fitted, stage, step) for stage in work.stages]
    times = [stage.seconds for stage in stages if stage.seconds is not None]
    return Estimate(
        preset=config.preset,
        parameters=shape.parameters,
        parameter_parts=shape.parts,
        device=place.kind,
        device_name=place.name,
        devices=place.count,
        precision=place.precision,
        micro_batch=micro,
        batch=batch,
        tokens=work.tokens,
        longest=work.longest,
        tokens_per_step=tokens_per_step,
        flop_per_token=per_token,
        flop_per_step=per_token * tokens_per_step,
        memory=_memory(run, batch, micro_batch, shape.checkpointing),
        memory_parts=_memory_parts(run, batch, micro_batch, shape.checkpointing),
        fitted=_memory(run, batch, micro, verdict.checkpointing) if verdict.fit == "adjusted" else None,
        room_mb=place.room_mb,
        budget_mb=config.memory.max_mb,
        step_s=step,
        stages=stages,
        seconds=together(times),
        verdict=verdict,
        elsewhere=there,
        documented=config.documented,
        assumed=[*work.assumed, *([unknown] if unknown else [])],
    )


def as_built(config: RunConfig) -> tuple[RunConfig, str]:
    """With the sizes of the model that it begins from, and what had to be taken for granted."""
    if isinstance(config.model, Decoder):
        return config, ""
    model, unknown = with_its_sizes(config.model)
    return msgspec.structs.replace(config, model=model), unknown


def _batches(config: RunConfig, work: Work, place: Place | None) -> tuple[int, int]:
    """Sessions of a step of the last stage, and on a device at once."""
    ratio, training = config.stages.max_ratio, config.training
    batch = within_tokens(training, batch_for(training, ratio), work.tokens)
    if work.stages:
        ratio, batch = work.stages[-1].ratio, work.stages[-1].batch
    count = place.count if place is not None else 1
    return batch, min(-(-batch // count), micro_batch_for(training, ratio))


def _where(place: Place) -> str:
    gb = f"{place.room_mb / 1024:,.1f} GB free"
    return f"in memory ({gb})" if place.kind == "cpu" else f"on {place.name} ({gb})"


# Memory


def _memory_parts(run: _Run, batch: int, micro_batch: int, checkpointing: bool) -> dict[str, float]:
    """MB by part."""
    shape = replace(run.shape, checkpointing=checkpointing)
    load = run.load(micro_batch, run.work.longest, accumulates=batch > micro_batch * run.place.count)
    parts = parts_of(shape, load)
    if run.place.kind == "cpu":
        parts["allocator"] = settled(shape, load)
        parts["libraries"] = run.machine.learned.empty_mb() or EMPTY_MB
        parts["data"] = _data_mb(run)
    else:
        parts["allocator"] = (_FP16_ROUND - 1) * sum(parts.values())
        parts["libraries"] = CONTEXT_MB if run.place.kind == "cuda" else EMPTY_MB
    return parts


def _data_mb(run: _Run) -> float:
    """MB of the store and what is computed from it, where the device's memory holds that too."""
    of_session = 4.0 * run.work.tokens + 60.0
    return run.work.sessions * of_session / MB if run.place.kind == "cpu" else 0.0


def _memory(run: _Run, batch: int, micro_batch: int, checkpointing: bool) -> Figure:
    """MB at the peak."""
    computed = sum(_memory_parts(run, batch, micro_batch, checkpointing).values())
    shape, place = replace(run.shape, checkpointing=checkpointing), run.place
    known = run.machine.learned.exact(
        shape, place.kind, place.precision, micro_batch, run.work.tokens, place.count
    )
    accumulates = batch > micro_batch * place.count
    same = known is not None and (known.longest, known.accumulates) == (run.work.longest, accumulates)
    if known is not None and known.peak_mb is not None and same:
        peak = known.peak_mb + _data_mb(run)
        return Figure(value=peak, low=peak * 0.95, high=peak * 1.1, origin="measured")
    return Figure(
        value=computed,
        low=computed * (1 - MEMORY_RANGE),
        high=computed * (1 + MEMORY_RANGE),
        origin="computed",
    )


# Time


def _computed(run: _Run, micro_batch: int, tokens: int, speed: Speed) -> tuple[float, float]:
    """Seconds of a micro-batch and of an update."""
    load = run.load(micro_batch, tokens, accumulates=False)
    return micro_seconds(run.shape, load, speed), update_seconds(run.shape, speed)


def _step(run: _Run, batch: int, micro_batch: int) -> Figure | None:
    """Seconds of an optimizer step; None where nothing is known of the device."""
    speed, place, learned = run.place.speed, run.place, run.machine.learned
    micro_batches = -(-batch // (micro_batch * place.count))
    known = learned.exact(run.shape, place.kind, place.precision, micro_batch, run.work.tokens, place.count)
    if known is not None:
        seconds = micro_batches * known.micro_s + known.update_s
        off = 1 + max(0.1, known.spread)
        return Figure(value=seconds, low=seconds / off, high=seconds * off, origin="measured")
    if speed is None:
        return None
    micro_s, update_s = _computed(run, micro_batch, run.work.tokens, speed)
    seconds = micro_batches * micro_s + update_s
    origin: Origin = "computed"
    factor, off = 1.0, speed.range

    def of(m: Measured) -> float:
        return sum(_computed(run, m.micro_batch, m.tokens, speed))

    near = learned.near(run.shape, place.kind, place.precision, micro_s + update_s, of, place.count)
    if near is None and place.count > 1:
        seconds *= 1.1  # gradients are exchanged
    if near is not None:
        factor, off, origin = (near.micro_s + near.update_s) / of(near), NEAR, "measured"
    elif (ratio := learned.ratio(place.kind, place.precision)) is not None:
        factor, off, origin = ratio, CALIBRATED, "calibrated"
    seconds *= factor
    return Figure(value=seconds, low=seconds / off, high=seconds * off, origin=origin)


def _stage(run: _Run, stage: StageWork, step: Figure | None) -> StageEstimate:
    seconds, end = None, _end(run)
    if step is not None:
        per_session = step.value / max(1, run.work.stages[-1].batch)
        training = stage.steps * stage.batch * per_session
        whole = training + stage.epochs * end
        seconds = Figure(
            value=whole,
            low=whole * step.low / step.value,
            high=whole * step.high / step.value,
            origin=step.origin,
        )
    return StageEstimate(
        ratio=stage.ratio, sessions=stage.sessions, steps=stage.steps, seconds=seconds, end_s=end
    )


def _end(run: _Run) -> float:
    """Seconds of an epoch's end."""
    place, tokens = run.place, run.work.validation
    known = run.machine.learned.ends(run.shape, place.kind, place.precision)
    if known is not None and known.check_s is not None:
        return known.check_s * tokens + (known.write_s or 0.0)
    if place.speed is None or not tokens:
        return 0.0
    load = run.load(16, run.work.tokens, accumulates=False)
    return scoring_seconds(run.shape, load, place.speed, tokens)


def _divided(config: RunConfig) -> int:
    """What the micro-batch has to divide."""
    batches = [batch for _, batch in config.training.batch_by_ratio] or [config.training.batch]
    return math.gcd(*batches)


def _settings(config: RunConfig, verdict: Verdict, micro_batch: int) -> list[str]:
    """What has to be set so that a run is as the verdict has it."""
    if verdict.fit != "adjusted":
        return []
    settings = []
    if verdict.micro_batch != micro_batch:
        settings.append(f"training.micro_batch={verdict.micro_batch}")
        if config.training.accumulation > 1:
            settings.append(f"training.accumulation={config.training.batch // verdict.micro_batch}")
    if verdict.checkpointing and not config.model.gradient_checkpointing:
        settings.append("model.gradient_checkpointing=true")
    return settings
