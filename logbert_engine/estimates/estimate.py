"""The estimate of a run: what it computes from sizes and rates, and what was measured where it was."""

from __future__ import annotations

import math

import msgspec

from logbert_engine.estimates.duration import flop_per_token
from logbert_engine.estimates.elsewhere import beyond_reach, machine_of
from logbert_engine.estimates.machine import Machine, Place, place_of
from logbert_engine.estimates.pace import stage_estimate, step_seconds
from logbert_engine.estimates.peak import memory, memory_parts
from logbert_engine.estimates.setting import Setting
from logbert_engine.estimates.verdict import judge, smaller
from logbert_engine.estimates.work import Work, work_of
from logbert_engine.presets.batching import batch_for, micro_batch_for, within_tokens
from logbert_engine.presets.pretrained import with_its_sizes
from logbert_engine.presets.shape import shape_of
from logbert_engine.presets.types import Decoder, RunConfig
from logbert_engine.protocol.estimates import Elsewhere, Estimate, Verdict
from logbert_engine.protocol.expectation import Figure, together
from logbert_engine.protocol.messages import DataSummary


def estimate(config: RunConfig, machine: Machine, data: DataSummary | None = None) -> Estimate:
    """What a run will take on a machine, and on the one that its preset was written for.

    Args:
        config: of the run.
        machine: what is known of it.
        data: a look at the sessions; None where there are none yet.

    Raises:
        PresetError: the stages do not hold.
    """
    work = work_of(as_built(config)[0], data)
    found = estimate_work(config, work, machine)
    return msgspec.structs.replace(found, elsewhere=_elsewhere(config, work))


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
    found = place_of(config, machine)
    refused = found if isinstance(found, str) else ""
    place = _nowhere(config) if isinstance(found, str) else found
    setting = Setting(work, shape, place, machine)
    batch, micro_batch = _batches(config, work, place)
    if refused:
        verdict = Verdict(fit="no device", words=refused)
    else:
        verdict = judge(
            lambda micro, again: memory(setting, batch, micro, again).value,
            [micro_batch, *smaller(_divided(config), micro_batch)],
            shape.checkpointing,
            place.room_mb,
            _where(place),
        )
        verdict = msgspec.structs.replace(verdict, settings=_settings(config, verdict, micro_batch))
    micro, again = micro_batch, shape.checkpointing
    if not as_set:
        micro, again = verdict.micro_batch or micro, verdict.checkpointing or again
    fitted = setting.recomputing(again)
    runs = as_set or verdict.fit in ("fits", "adjusted")
    stages = [stage_estimate(fitted, stage, micro) for stage in work.stages]
    if not runs:
        stages = [msgspec.structs.replace(stage, seconds=None) for stage in stages]
    per_token, tokens_per_step = flop_per_token(shape, work.tokens), float(batch * work.tokens)
    assumed = [*work.assumed, *([unknown] if unknown else [])]
    assumed += [f"torch did not answer: {machine.problem}"] if machine.problem else []
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
        memory=memory(setting, batch, micro_batch, shape.checkpointing),
        memory_parts=memory_parts(setting, batch, micro_batch, shape.checkpointing),
        fitted=memory(setting, batch, micro, again) if verdict.fit == "adjusted" else None,
        room_mb=place.room_mb,
        budget_mb=config.memory.max_mb,
        step_s=step_seconds(fitted, batch, micro) if runs else None,
        stages=stages,
        seconds=together([stage.seconds for stage in stages if stage.seconds is not None]),
        verdict=verdict,
        documented=config.documented,
        assumed=assumed,
    )


def _elsewhere(config: RunConfig, work: Work) -> Elsewhere | None:
    """The same on the machine that the preset names; None where it names no GPU that is known."""
    there = config.hardware
    machine = machine_of(there)
    if machine is None:
        return None
    kind, count = there.devices[0], there.gpus
    settings = {"device": kind, "workers": msgspec.structs.replace(config.workers, nproc=count)}
    found = estimate_work(msgspec.structs.replace(config, **settings), work, machine)
    step, whole, cost = found.step_s, found.seconds, None
    if whole is not None and there.price_per_hour is not None:
        cost = _times(whole, there.price_per_hour / 3600)
    return Elsewhere(
        machine=there.label,
        seconds=whole,
        cost=cost,
        price=there.price,
        steps_per_s=None
        if step is None
        else Figure(value=1 / step.value, low=1 / step.high, high=1 / step.low, origin="computed"),
        fits=found.verdict.fit in ("fits", "adjusted"),
        words=beyond_reach(config, found, machine),
    )


def _times(figure: Figure, factor: float) -> Figure:
    return Figure(
        value=figure.value * factor, low=figure.low * factor, high=figure.high * factor, origin=figure.origin
    )


def _nowhere(config: RunConfig) -> Place:
    """Stands for a device that is not there, for what does not depend on it."""
    kind, precision = config.device if config.device != "auto" else "cpu", config.training.precision
    return Place(kind, "", 1, precision if precision != "auto" else "fp32", 0.0, None)


def as_built(config: RunConfig) -> tuple[RunConfig, str]:
    """With the sizes of the model that it begins from, and what had to be taken for granted."""
    if isinstance(config.model, Decoder):
        return config, ""
    model, unknown = with_its_sizes(config.model)
    return msgspec.structs.replace(config, model=model), unknown


def _batches(config: RunConfig, work: Work, place: Place) -> tuple[int, int]:
    """Sessions of a step of the last stage, and on a device at once."""
    ratio, training = config.stages.max_ratio, config.training
    batch = within_tokens(training, batch_for(training, ratio), work.tokens)
    if work.stages:
        ratio, batch = work.stages[-1].ratio, work.stages[-1].batch
    return batch, min(-(-batch // place.count), micro_batch_for(training, ratio))


def _where(place: Place) -> str:
    gb = f"{place.room_mb / 1024:,.1f} GB free"
    return f"in memory ({gb})" if place.kind == "cpu" else f"on {place.name} ({gb})"


def _divided(config: RunConfig) -> int:
    """What the micro-batch has to divide."""
    training = config.training
    return math.gcd(training.batch, *(batch for _, batch in training.batch_by_ratio))


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
