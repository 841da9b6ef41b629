"""The stages of a progression."""

from __future__ import annotations

from logbert_engine.presets.types import Stages
from logbert_engine.protocol.errors import PresetError
from logbert_engine.protocol.events import StagePlan
from logbert_engine.rundir.layout import stage_name

_TOLERANCE = 1e-9
_MOST_STAGES = 1000


def plan_stages(stages: Stages) -> list[StagePlan]:
    """The stages of a progression: ``start_ratio``, then ``step_size`` more each, ending at ``max_ratio``.

    The last stage has ``max_ratio`` itself where the steps do not meet it.

    Raises:
        PresetError: the start lies above the end, or there are too many stages.
    """
    if not stages.progressive:
        ratios = [stages.max_ratio]
    else:
        if stages.start_ratio > stages.max_ratio + _TOLERANCE:
            raise PresetError(
                f"start ratio {stages.start_ratio} is above max ratio {stages.max_ratio}; lower the first."
            )
        count = int((stages.max_ratio - stages.start_ratio) / stages.step_size + _TOLERANCE) + 1
        if count > _MOST_STAGES:
            raise PresetError(
                f"step size {stages.step_size:g} makes {count:,} stages; raise --step-size so that there are at "
                f"most {_MOST_STAGES}."
            )
        ratios = [round(stages.start_ratio + i * stages.step_size, 6) for i in range(count)]
        if ratios[-1] < stages.max_ratio - 1e-6:
            ratios.append(stages.max_ratio)
    return [
        StagePlan(index=i, name=stage_name(i, ratio), ratio=ratio, epochs=stages.epochs)
        for i, ratio in enumerate(ratios, start=1)
    ]
