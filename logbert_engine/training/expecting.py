"""What a run is expected to take, once its data have been read, and what its stages teach about this machine."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import msgspec
import numpy as np

from logbert_engine.estimates.asking import this_machine
from logbert_engine.estimates.estimate import estimate_work
from logbert_engine.estimates.learned import Measured, model_key
from logbert_engine.estimates.machine import Machine, place_of
from logbert_engine.estimates.pace import computed_seconds
from logbert_engine.estimates.setting import Setting
from logbert_engine.estimates.work import StageWork, Work, scorings_of
from logbert_engine.presets.pretrained import with_its_sizes
from logbert_engine.presets.shape import shape_of
from logbert_engine.presets.types import Device, RunConfig
from logbert_engine.protocol import figures_in_words
from logbert_engine.protocol.errors import LogbertError
from logbert_engine.protocol.estimates import Estimate
from logbert_engine.protocol.events import Expected, StagePlan
from logbert_engine.protocol.expectation import Figure, StageExpectation, peak_mb
from logbert_engine.training.context import RunContext
from logbert_engine.training.position import Position

_ODD = (LogbertError, OSError, ValueError, ArithmeticError)
"""What a machine that tells of itself in an unknown way, or a file of measurements that is not ours, may lead to."""

_OTHERS = 0.25
"""The same stage trained twice took 5.9 and 7.9 s on two cores that others used as well."""
_FEW = 0.5
"""How far off the time of a step may be, as a share, where a stage was too short to tell."""


def expect(context: RunContext, plans: list[StagePlan]) -> Expecting | None:
    """Say what stages will take, in the journal and the log.

    Nothing of training rests on it: where it cannot be said, that is said.

    Args:
        context: of the run.
        plans: stages to come, with the sizes that the data give them.
    """
    if not plans:
        return None
    try:
        machine = this_machine()
        expecting = Expecting(
            context, machine, {plan.index: _expected(context, plan, machine) for plan in plans}
        )
    except _ODD as error:
        context.recorder.log("info", f"what the run will take cannot be said: {error}")
        return None
    stages = list(expecting.stages.values())
    context.recorder.record(Expected(stages=stages))
    context.recorder.log("info", f"expected: {figures_in_words.expected(stages)}")
    return expecting


@dataclass(frozen=True)
class Expecting:
    """Expectations of the stages to come, by their number."""

    context: RunContext
    machine: Machine
    stages: dict[int, StageExpectation]

    def of(self, plan: StagePlan) -> StageExpectation | None:
        """Of a stage; None where there is none."""
        return self.stages.get(plan.index)

    def learn(self, plan: StagePlan, position: Position, micro_batch: int) -> None:
        """Keep what a complete stage took, so that later estimates on this machine are better.

        Processes that share a processor say nothing about one that has it for itself; nothing is kept of them.

        Args:
            plan: of the stage.
            position: at its end.
            micro_batch: that its steps were taken with, as far as ``position.windows`` goes.
        """
        place = self.context.team.place
        if self.context.compute.kind == "cpu" and not place.alone:
            return
        try:
            measured = _measured(self.context, plan, self.machine, position, micro_batch)
            if measured is not None:
                self.machine.learned.with_(measured)
        except _ODD as error:
            self.context.recorder.log("info", f"what {plan.name} took was not kept for estimates: {error}")


def _settled(context: RunContext, micro_batch: int) -> RunConfig:
    """The configuration with what was chosen for this attempt."""
    config, replaced = context.config, msgspec.structs.replace
    compute, world_size = context.compute, context.team.place.world_size
    return replaced(
        config,
        device=cast("Device", compute.kind),
        training=replaced(config.training, precision=compute.precision, micro_batch=micro_batch),
        workers=replaced(config.workers, nproc=world_size),
    )


def _work(context: RunContext, plan: StagePlan) -> Work:
    """What a stage has to do."""
    checked = context.valid_pieces()
    return Work(
        events=len(context.vocabulary.events),
        tokens=round(plan.tokens),
        longest=plan.longest,
        validation=float(scorings_of(context.sizes) * np.sum(checked.tokens)),
        stages=(
            StageWork(
                ratio=plan.ratio,
                sessions=plan.sessions,
                batch=plan.batch,
                epochs=plan.epochs,
                steps=plan.steps,
            ),
        ),
        sessions=context.store.n_sessions,
        events_each=float(np.mean(context.store.lengths[context.store.sequence_of])),
        assumed=(),
    )


def _estimate(context: RunContext, plan: StagePlan, machine: Machine, micro_batch: int) -> Estimate:
    return estimate_work(_settled(context, micro_batch), _work(context, plan), machine, as_set=True)


def _expected(context: RunContext, plan: StagePlan, machine: Machine) -> StageExpectation:
    found = _estimate(context, plan, machine, context.micro_batch(plan))
    (stage,) = found.stages
    return StageExpectation(
        stage=plan.index, memory=_told(found), step_s=found.step_s, end_s=stage.end_s, seconds=stage.seconds
    )


def _told(found: Estimate) -> Figure:
    """The memory as it will be told: of a GPU without what its driver takes, which torch does not count."""
    figure = found.memory
    if found.device != "cuda":
        return figure
    driver = found.memory_parts["libraries"]
    return Figure(
        value=figure.value - driver,
        low=figure.low - driver,
        high=figure.high - driver,
        origin=figure.origin,
    )


def _measured(
    context: RunContext, plan: StagePlan, machine: Machine, position: Position, micro_batch: int
) -> Measured | None:
    """What a stage took; None where that is not known of the device."""
    place = place_of(_settled(context, micro_batch), machine)
    if isinstance(place, str) or not position.step:
        return None
    windows = position.windows or [(position.step, position.steps_s)]
    work = _work(context, plan)
    shape = shape_of(with_its_sizes(context.sizes)[0], len(context.vocabulary.events))
    micro_batches = -(-plan.batch // (micro_batch * place.count))
    step_s = sum(seconds for _, seconds in windows) / sum(count for count, _ in windows)
    micro_s, update_s, expected_s, rate = step_s / micro_batches, 0.0, 0.0, 0.0
    if place.speed is not None:
        setting = Setting(work, shape, place, machine)
        micro_c, update_c = computed_seconds(setting, micro_batch, work.tokens, place.speed)
        slower = step_s / (micro_batches * micro_c + update_c)
        micro_s, update_s = slower * micro_c, slower * update_c
        expected_s, rate = micro_c + update_c, place.speed.matmul
    peak: float | None = None
    if micro_batch == context.micro_batch(plan):  # else the peak is of steps with the one before
        peak = peak_mb(place.kind, position.peak_rss_mb, position.peak_device_mb)
    data = _estimate(context, plan, machine, micro_batch).memory_parts.get("data", 0.0)
    epochs = max(1, len(position.epochs))
    ends = sum(epoch.end_s or 0.0 for epoch in position.epochs)
    return Measured(
        model=model_key(shape),
        device=place.kind,
        precision=place.precision,
        devices=place.count,
        micro_batch=micro_batch,
        tokens=work.tokens,
        micro_s=micro_s,
        update_s=update_s,
        expected_s=expected_s,
        rate=rate,
        rows=shape.rows,
        spread=_spread([seconds / count for count, seconds in windows]),
        longest=plan.longest,
        peak_mb=peak - data if peak is not None else None,
        accumulates=micro_batches > 1,
        at=datetime.now().isoformat(timespec="seconds"),
        source="stage",
        check_s=position.validation_s / epochs / work.validation if work.validation else None,
        write_s=max(0.0, ends - position.validation_s) / epochs,
    )


def _spread(paces: list[float]) -> float:
    """How far off their mean may be for another stage of the same sizes, as a share.

    Their interquartile range as a share of the median, by the root of how many they are, and no less than what else
    is at work on a machine makes of it.
    """
    if len(paces) < 2:
        return _FEW
    low, middle, high = statistics.quantiles(paces, n=4)
    return max(_OTHERS, (high - low) / middle / math.sqrt(len(paces)))
