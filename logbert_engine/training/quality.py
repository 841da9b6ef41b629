"""How well a stage's model finds labelled anomalies, for the record: no label reaches training or a threshold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from logbert_engine.presets.types import Device
from logbert_engine.protocol.errors import LogbertError
from logbert_engine.protocol.events import Quality
from logbert_engine.rundir.layout import StageLayout

if TYPE_CHECKING:
    from logbert_engine.training.context import RunContext

_MEASURES = ("f1", "average_precision")


def quality_of(context: RunContext, layout: StageLayout) -> Quality | None:
    """Evaluate the best model of a stage on the labelled sessions that the run names.

    What cannot be evaluated is said and does not end the run: training does not rest on it.

    Returns:
        The figures; None where no labelled sessions are named, or they cannot be evaluated.
    """
    named = context.config.evaluate
    if named is None:
        return None
    from logbert_engine.detection.evaluating import evaluate

    try:
        found = evaluate(
            layout.best, [Path(named)], device=cast("Device", context.compute.kind), seed=context.config.seed
        ).comparison
    except LogbertError as error:
        context.recorder.log("warning", f"{layout.name} was not evaluated: {error}")
        return None
    everything = next(part for part in found.slices if part.name == "all")
    rows = {row.detector: row for row in everything.rows}
    model, floor = rows[found.model], rows.get(found.best_floor or "")
    intervals = {
        name: (interval.low, interval.high)
        for name in _MEASURES
        if (interval := model.intervals[name]) is not None
    }
    return Quality(
        sessions=found.data.sessions,
        anomalies=found.data.anomalies,
        f1=model.figures.f1,
        average_precision=model.figures.average_precision,
        false_alarm_rate=model.figures.false_alarm_rate,
        intervals=intervals,
        floor=found.best_floor or "",
        floor_f1=floor.figures.f1 if floor is not None else None,
    )
