"""Walking forward in time: what many later sessions hold becomes ordinary, what few hold stays an alarm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from logbert_engine.commands import main
from logbert_engine.data.contract import EventId
from logbert_engine.data.store import Store, open_store
from logbert_engine.detection import adapting
from logbert_engine.detection.adapting import (
    BLOCKS,
    ORDINARY_SHARE,
    SMALLEST_BLOCK,
    TOO_FEW,
    Adapted,
    adapt,
    ordinary_now,
)
from logbert_engine.detection.evaluating import evaluate
from logbert_engine.detection.inference import infer
from logbert_engine.detection.scoring import score_store
from logbert_engine.models.checkpoint import ModelRecord, open_checkpoint
from logbert_engine.models.device import Compute
from logbert_engine.models.encoder import MaskedModel

Write = Callable[..., Path]
COMPUTE = Compute(device=torch.device("cpu"), precision="fp32", name="CPU")
SIZE = 1000
OLD: list[EventId] = [0, "E1", 5]
LATER: list[EventId] = [0, "new", 5]
"""What all ordinary sessions are from the middle on."""
ODD: list[EventId] = [0, "odd", 5]


def sessions() -> list[list[EventId]]:
    rng = np.random.default_rng(2)
    drawn = [LATER if i >= SIZE // 2 and rng.random() < 0.8 else OLD for i in range(SIZE)]
    return [ODD if i % 50 == 7 else events for i, events in enumerate(drawn)]


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapting, "STEPS", 15)


@pytest.fixture
def file(write: Write) -> Path:
    found = sessions()
    labels = [int(events == ODD) for events in found]
    return write("sessions/preprocessed_logs_2025-04-03.json", found, label=labels)


@pytest.fixture
def later(file: Path) -> Store:
    return open_store([file])


def adapted(model: MaskedModel, record: ModelRecord, store: Store) -> Adapted:
    return adapt(model, record, store, COMPUTE, 0.01, lambda _phase, _done, _all: None)


def test_an_event_is_ordinary_once_enough_of_the_sessions_so_far_hold_it(
    later: Store, record: ModelRecord
) -> None:
    found = sessions()
    for end in (100, 500, 560, 600, SIZE):
        held = sum("new" in events for events in found[:end])
        expected = ["new"] if held >= ORDINARY_SHARE * end else []
        assert ordinary_now(later, end, record.vocabulary) == expected
    assert ordinary_now(later, SIZE, record.vocabulary) == ["new"]


def test_what_changed_for_good_stops_alarming_and_what_is_rare_goes_on(
    model: MaskedModel, record: ModelRecord, later: Store
) -> None:
    before = score_store(model, record, later, COMPUTE.device, budget=0.01)
    walked = adapted(model, record, later)
    after = walked.scores()
    kinds = np.array([["odd" in events, "new" in events] for events in sessions()])
    odd, new = kinds[:, 0], kinds[:, 1]
    old = ~odd & ~new
    assert before.findings.fires("unseen")[later.sequence_of].tolist() == (odd | new).tolist()
    found = walked.store.sequence_of
    assert after.findings.fires("unseen")[found][odd].all()
    assert not after.findings.fires("unseen")[found][~odd].any()
    assert after.alarms[found][~odd].mean() <= 0.02
    assert after.p[found][odd].max() < np.quantile(after.p[found][old], 0.05)
    assert walked.learnt == ["new"]
    assert len(walked.blocks) == BLOCKS
    known = [block.record.vocabulary.events for block in walked.blocks]
    assert ["new" in events for events in known] == [False, False, True, True, True]
    assert all(events[: len(record.vocabulary.events)] == record.vocabulary.events for events in known)


def test_the_same_walk_gives_the_same_scores(checkpoint: Path, later: Store) -> None:
    model, record, _ = open_checkpoint(checkpoint)
    again, same, _ = open_checkpoint(checkpoint)
    one, other = (adapted(*each, later).scores() for each in ((model, record), (again, same)))
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-6)
    assert np.array_equal(one.alarms, other.alarms)


def test_labels_are_not_looked_at(checkpoint: Path, write: Write, later: Store) -> None:
    wrong = write("wrong/preprocessed_logs_2025-04-03.json", sessions(), label=[i % 2 for i in range(SIZE)])
    found = []
    for store in (later, open_store([wrong])):
        model, record, _ = open_checkpoint(checkpoint)
        found.append(adapted(model, record, store).scores())
    np.testing.assert_allclose(found[0].mean, found[1].mean, rtol=1e-6)
    assert np.array_equal(found[0].alarms, found[1].alarms)


def test_few_sessions_are_one_block_and_leave_the_model_as_it_is(
    model: MaskedModel, record: ModelRecord, write: Write
) -> None:
    few = open_store([write("few/preprocessed_logs_2025-04-03.json", [OLD, ODD, OLD, [9, 9]])])
    before = score_store(model, record, few, COMPUTE.device, budget=0.01)
    walked = adapted(model, record, few)
    assert len(walked.blocks) == 1
    np.testing.assert_allclose(walked.blocks[0].weighing.scores().mean[:1], before.mean[:1], rtol=1e-5)


def test_infer_says_what_it_learnt_and_leaves_the_checkpoint_alone(
    checkpoint: Path, file: Path, tmp_path: Path
) -> None:
    content = checkpoint.read_bytes()
    found = infer(checkpoint, [file], tmp_path / "results.json", budget=0.01, adapting=True)
    assert found.adapted is not None
    assert found.adapted.learnt == ["new"]
    assert found.adapted.blocks == BLOCKS
    assert found.anomalies < found.adapted.alarms_before
    assert found.sessions == SIZE
    assert checkpoint.read_bytes() == content


def test_evaluate_shows_what_was_before_beside_it(checkpoint: Path, file: Path) -> None:
    found = evaluate(checkpoint, [file], budget=0.01, adapting=True, operator=5)
    names = [detector.name for detector in found.detectors]
    assert names[:4] == ["adapted", "after 0 answers", "after 5 answers", "all evidence"]
    figures = {row.detector: row.figures for row in found.comparison.slices[0].rows}
    assert found.comparison.model == "adapted"
    false_alarms = [figures[name].false_alarm_rate for name in ("adapted", "all evidence")]
    assert all(rate is not None for rate in false_alarms)
    assert (false_alarms[0] or 0) < (false_alarms[1] or 0)


@pytest.mark.parametrize("sessions", [SMALLEST_BLOCK - 1, SMALLEST_BLOCK])
def test_infer_and_evaluate_adapt_to_the_same_numbers_of_sessions_and_say_where_they_do_not(
    checkpoint: Path, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], sessions: int
) -> None:
    drawn = [ODD if i % 50 == 7 else OLD for i in range(sessions)]
    labels = [int(events == ODD) for events in drawn]
    file = write("sessions/preprocessed_logs_2025-04-03.json", drawn, label=labels)
    words = ["--checkpoint", str(checkpoint), "--input", str(file), "--adapt"]
    assert main(["infer", *words, "--output", str(tmp_path / "results.json")]) == 0
    inferred = capsys.readouterr().out
    assert main(["evaluate", *words]) == 0
    evaluated = " ".join(capsys.readouterr().out.split())
    few = sessions < SMALLEST_BLOCK
    assert (TOO_FEW in inferred, TOO_FEW in evaluated) == (few, few)
    assert ("adapted in 1 block" in inferred, "Evaluation of adapted on" in evaluated) == (not few, not few)
