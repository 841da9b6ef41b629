"""How long steps and stages take: as measured, as measured at other sizes, as computed."""

from __future__ import annotations

import math

from logbert_engine.estimates.duration import micro_seconds, scoring_seconds, update_seconds
from logbert_engine.estimates.learned import Measured
from logbert_engine.estimates.rates import Speed
from logbert_engine.estimates.setting import Setting
from logbert_engine.estimates.work import StageWork
from logbert_engine.protocol.estimates import StageEstimate
from logbert_engine.protocol.expectation import Figure, Origin

EXCHANGE = 1.1
"""Longer that a step takes where several devices exchange gradients."""
NEAR = 1.25
"""By which factor time may be off where the same model was measured at other sizes."""
CALIBRATED = 1.5
"""By which where other models were measured on the device, or the same at sizes far off."""
_FAR = 8.0
"""From this factor of work on, sizes are far off."""
_SCORED = 16
"""Sequences scored at once, about."""


def computed_seconds(setting: Setting, micro_batch: int, tokens: int, speed: Speed) -> tuple[float, float]:
    """Seconds of a micro-batch and of an update, from the device's rate alone."""
    load, place = setting.load(micro_batch, tokens), setting.place
    shared = place.count if place.kind == "cpu" else 1
    return shared * micro_seconds(setting.shape, load, speed), shared * update_seconds(setting.shape, speed)


def step_seconds(setting: Setting, batch: int, micro_batch: int) -> Figure | None:
    """Seconds of an optimizer step; None where nothing is known of the device."""
    speed, place, learned = setting.place.speed, setting.place, setting.machine.learned
    tokens, count = setting.work.tokens, setting.micro_batches(batch, micro_batch)
    known = learned.exact(setting.shape, place.kind, place.precision, micro_batch, tokens, place.count)
    if speed is None:
        return None if known is None else _measured(known, count, 1.0)
    micro_s, update_s = computed_seconds(setting, micro_batch, tokens, speed)
    if known is not None:
        then = sum(computed_seconds(setting.with_rows(known.rows), micro_batch, known.tokens, speed))
        return _measured(known, count, (micro_s + update_s) / then)
    seconds = count * micro_s + update_s

    def of(m: Measured) -> float:
        return sum(computed_seconds(setting.with_rows(m.rows), m.micro_batch, m.tokens, speed))

    work = micro_s + update_s
    near = learned.near(setting.shape, place.kind, place.precision, work, of, place.count)
    origin: Origin = "computed"
    factor, off = EXCHANGE if place.count > 1 and place.kind != "cpu" else 1.0, speed.range
    if near is not None:
        far = abs(math.log(of(near) / work)) > math.log(_FAR)
        factor = (near.micro_s + near.update_s) / of(near)
        off, origin = (CALIBRATED, "calibrated") if far else (NEAR, "measured")
    elif (ratio := learned.ratio(place.kind, place.precision, speed.matmul)) is not None:
        factor, off, origin = ratio * factor, CALIBRATED, "calibrated"
    return _within(seconds * factor, off, origin)


def _measured(known: Measured, count: int, longer: float) -> Figure:
    return _within(longer * (count * known.micro_s + known.update_s), 1 + max(0.1, known.spread), "measured")


def _within(value: float, off: float, origin: Origin) -> Figure:
    return Figure(value=value, low=value / off, high=value * off, origin=origin)


def stage_estimate(setting: Setting, stage: StageWork, micro_batch: int) -> StageEstimate:
    """A stage, with the micro-batch of the last one where its batch is as large."""
    seconds, end = None, _end_seconds(setting)
    each = -(-stage.batch // setting.place.count)
    step = step_seconds(setting, stage.batch, max(1, min(micro_batch, each)))
    if step is not None:
        whole = stage.steps * step.value + stage.epochs * end
        share = whole / step.value
        seconds = Figure(value=whole, low=share * step.low, high=share * step.high, origin=step.origin)
    return StageEstimate(
        ratio=stage.ratio, sessions=stage.sessions, steps=stage.steps, seconds=seconds, end_s=end
    )


def _end_seconds(setting: Setting) -> float:
    """Seconds of an epoch's end."""
    place, tokens = setting.place, setting.work.validation
    known = setting.machine.learned.ends(setting.shape, place.kind, place.precision)
    if known is not None and known.check_s is not None:
        return known.check_s * tokens + (known.write_s or 0.0)
    if place.speed is None or not tokens:
        return 0.0
    return scoring_seconds(setting.shape, setting.load(_SCORED, setting.work.tokens), place.speed, tokens)
