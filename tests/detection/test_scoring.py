from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from logbert_engine.data.contract import EventId
from logbert_engine.data.store import Store, open_store
from logbert_engine.detection.scoring import check_vocabulary, score_store
from logbert_engine.models.checkpoint import ModelRecord
from logbert_engine.models.encoder import MaskedModel
from logbert_engine.protocol.errors import CheckpointError

CPU = torch.device("cpu")
Write = Callable[..., Path]


def opened(write: Write, sequences: list[list[EventId]]) -> Store:
    return open_store([write("sessions/preprocessed_logs_2025-04-01.json", sequences)])


def test_scores_are_one_for_each_distinct_sequence(
    model: MaskedModel, record: ModelRecord, store: Store
) -> None:
    scores = score_store(model, record, store, CPU)
    assert tuple(scores.surprisals) == record.views
    for found in scores.surprisals.values():
        assert found.sequence.tolist() == list(range(store.n_unique))
    assert len(scores.mean) == len(scores.score) == len(scores.p) == store.n_unique
    assert len(scores.evidence.weight) == len(scores.evidence.ordinary) == store.n_unique
    assert len(scores.evidence.which) == store.n_unique
    assert np.isfinite(scores.score).all()
    means = [found.means() for found in scores.surprisals.values()]
    np.testing.assert_allclose(scores.mean, np.mean(means, axis=0))
    for rule in ("unseen", "counts", "pairs", "length"):
        assert not scores.findings.fires(rule).any()


def test_the_sessions_of_the_calibration_score_as_they_did_then(
    model: MaskedModel, record: ModelRecord, store: Store
) -> None:
    assert record.calibration is not None
    scores = score_store(model, record, store, CPU).score[store.sequence_of]
    np.testing.assert_allclose(np.sort(scores), record.calibration.scores, atol=2e-4)


def test_the_sessions_of_the_calibration_have_the_evidence_that_they_had_then(
    model: MaskedModel, record: ModelRecord, store: Store
) -> None:
    assert record.calibration is not None
    scores = score_store(model, record, store, CPU)
    found = np.sort(scores.evidence.ordinary[store.sequence_of])
    np.testing.assert_allclose(found, record.calibration.evidence, rtol=0.05)  # places of close ones may turn
    assert scores.p.min() >= 1 / (record.calibration.sessions + 1)
    assert scores.p.max() <= 1


def test_unseen_events_are_counted_and_surprise_no_less_than_the_worst_known_one(
    model: MaskedModel, record: ModelRecord, write: Write
) -> None:
    assert record.calibration is not None
    mixed = opened(write, [[0, "E1", 5], ["new", 0, 77, "E1", "new"], ["zero", 22], [9, 9, 9, "new"]])
    scores = score_store(model, record, mixed, CPU)
    assert scores.findings.unseen.tolist() == [0, 1, 1, 1], "what the model does not know is one event to it"
    unseen = np.array([event not in record.vocabulary.events for event in mixed.events])[mixed.tokens]
    for view, found in scores.surprisals.items():
        assert (found.values[unseen] >= np.float32(record.calibration.highest[view])).all()
    if record.views == ("order",):  # of other views these weights, which nothing trained, find "new" likelier
        assert scores.score[0] == scores.score.min()
    assert (scores.p[1:] < scores.p[0]).all()
    assert (scores.p[1:] == scores.p.min()).all(), "each lies further out than any ordinary session"


def test_a_checkpoint_without_a_calibration_scores_nothing(
    model: MaskedModel, record: ModelRecord, store: Store
) -> None:
    with pytest.raises(CheckpointError, match="no calibration"):
        score_store(model, msgspec.structs.replace(record, calibration=None), store, CPU)


def test_a_checkpoint_of_other_logs_is_refused_unless_asked_for(record: ModelRecord, write: Write) -> None:
    other = opened(write, [["a", "b"], ["c"] * 3, ["d", "a"]])
    with pytest.raises(CheckpointError, match=r"another vocabulary.*100%.*4 of 4 event ids.*--allow-unknown"):
        check_vocabulary(record, other, allow_unknown=False)
    check_vocabulary(record, other, allow_unknown=True)


def test_a_few_new_events_are_no_other_vocabulary(record: ModelRecord, write: Write) -> None:
    check_vocabulary(record, opened(write, [["new", 0], ["new"], ["E1"]]), allow_unknown=False)
