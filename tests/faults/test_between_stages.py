"""Row 5: killed at each point between the last step of a stage and the first of the next one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from logbert_engine.protocol.events import Metric, StageEnded, StageStarted
from logbert_engine.rundir.journal import read_journal
from logbert_engine.rundir.layout import RunLayout
from tests.faults.exact import (
    SMALL,
    assert_same,
    assert_whole,
    begin,
    came_to,
    complete,
    end_of,
    last_end,
    new_run,
    reference,
)
from tests.faults.harness import Fault, environment

pytestmark = [pytest.mark.row(5), pytest.mark.timeout(1200)]
STAGES = 3
RESULTS = "after the results"
"""They are written by the attempt that trained the stage, so not by one that finds it complete."""
_RECORD = "logbert_engine.training.recorder:Recorder.record"


def _said(event: str, stage: int) -> str:
    return f"type(args[1]).__name__ == {event!r} and getattr(args[1], 'stage', 0) == {stage}"


def points(stage: int) -> dict[str, tuple[str, str, bool]]:
    """What is done at the end of a stage, in order: name to function, condition, and whether it is done first."""
    in_stage = f"'/stage_{stage}_' in str(args[0])"
    found = {
        "after the save of the last epoch": (
            "logbert_engine.training.stage:StageTrainer._save_exact",
            f"args[0]._plan.index == {stage} and len(args[0]._position.epochs) == args[0]._plan.epochs",
            True,
        ),
        "before the export": ("logbert_engine.models.checkpoint:export", in_stage, False),
        "after the export": ("logbert_engine.models.checkpoint:export", in_stage, True),
        "after training_metrics.json": (
            "logbert_engine.training.plan:write_metrics",
            f"args[0].index == {stage}",
            True,
        ),
        "after the exact state is removed": (
            "logbert_engine.rundir.checksums:remove_checked",
            in_stage,
            True,
        ),
        "before StageEnded": (_RECORD, _said("StageEnded", stage), False),
        "after StageEnded": (_RECORD, _said("StageEnded", stage), True),
        RESULTS: (
            "logbert_engine.training.results:write_results",
            f"(args[0].root / args[2][{stage - 1}].name / 'training_metrics.json').exists()",
            True,
        ),
    }
    if stage < STAGES:
        found["before the next StageStarted"] = (_RECORD, _said("StageStarted", stage + 1), False)
        found["after the next StageStarted"] = (_RECORD, _said("StageStarted", stage + 1), True)
    else:
        found["before RunEnded"] = (_RECORD, _said("RunEnded", 0), False)
    return found


EVERY = [(stage, name) for stage in range(1, STAGES + 1) for name in points(stage) if name != RESULTS]
SOME = [
    (1, "after the save of the last epoch"),
    (1, "after training_metrics.json"),
    (2, "after StageEnded"),
]


def trained_in_order(run: RunLayout) -> None:
    """Assert that every stage ended once, in order, and that nothing of a stage was trained after its end."""
    ended: list[int] = []
    for event in read_journal(run.journal):
        if isinstance(event, StageEnded):
            ended.append(event.stage)
        elif isinstance(event, Metric | StageStarted):
            assert event.stage == len(ended) + 1, f"{event} after the ends of {ended}"
    assert ended == list(range(1, STAGES + 1))


@pytest.mark.parametrize(
    "chosen",
    [
        SOME,
        pytest.param(EVERY, marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
        pytest.param([(stage, RESULTS) for stage in range(1, STAGES + 1)], marks=pytest.mark.slow),
    ],
    ids=["some", "every", "results"],
)
def test_no_stage_is_skipped_or_run_twice_wherever_between_two_it_is_killed(
    real_run: RunLayout,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    chosen: list[tuple[int, str]],
    record_property: Callable[[str, object], None],
) -> None:
    undisturbed = reference(tmp_path_factory, SMALL)
    new_run(tmp_path_factory, real_run, SMALL)
    faults = {}
    for stage, name in chosen:
        at, when, after = points(stage)[name]
        marks = tmp_path / "marks" / f"{stage} {name}"
        faults[stage, name] = Fault(at, "signal", marks, when=when, after=after, process="training.worker")
    for point, fault in faults.items():
        supervisor = begin(real_run, environment(fault))
        end_of(supervisor)
        assert len(fault.happened()) == 1, f"{point} was not reached: {last_end(real_run)}"
        assert "killed (signal 9, SIGKILL)" in last_end(real_run).reason
        assert_whole(real_run)
    complete(real_run)
    trained_in_order(real_run)
    assert_same(came_to(real_run), undisturbed)
    record_property("points", len(faults))
