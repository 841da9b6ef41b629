from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from logbert_engine.data.sampling import Split
from logbert_engine.data.store import Store
from logbert_engine.detection.scoring import score_store
from logbert_engine.models.checkpoint import ModelRecord
from logbert_engine.models.device import Compute
from logbert_engine.models.encoder import MaskedModel, new_model
from logbert_engine.models.vocabulary import Vocabulary
from logbert_engine.presets.merging import resolve
from logbert_engine.presets.types import Encoder
from logbert_engine.protocol.messages import RunSpec
from logbert_engine.rundir import control
from logbert_engine.rundir.layout import RunLayout
from logbert_engine.training.context import RunContext
from logbert_engine.training.recorder import Recorder
from logbert_engine.training.team import Place, Team
from logbert_engine.training.validation import validate
from logbert_engine.training.wishes import Interrupted, Wishes

SIZES = Encoder(hidden=16, layers=1, heads=2, max_length=14)


@pytest.fixture
def context(
    store: Store,
    vocabulary: Vocabulary,
    run: RunLayout,
    compute: Compute,
    request_for: Callable[..., RunSpec],
) -> Iterator[RunContext]:
    sessions = np.arange(store.n_sessions, dtype=np.int64)
    run.root.mkdir()
    recorder = Recorder(run)
    yield RunContext(
        run=run,
        config=resolve(request_for()),
        sizes=SIZES,
        room=14,
        compute=compute,
        store=store,
        split=Split(train=sessions[:30], valid=sessions[30:]),
        vocabulary=vocabulary,
        templates={},
        recorder=recorder,
        wishes=Wishes(run),
        team=Team(Place(), compute.device),
        micro_batch_cap=0,
    )
    recorder.close()


@pytest.fixture
def model(vocabulary: Vocabulary) -> MaskedModel:
    return new_model(SIZES, vocabulary, 2).train()


def test_the_loss_is_the_mean_surprisal_of_every_event_of_every_held_out_session(
    context: RunContext, model: MaskedModel, store: Store, vocabulary: Vocabulary, compute: Compute
) -> None:
    loss, calibration = validate(context, model, context.valid_pieces())
    record = ModelRecord(vocabulary=vocabulary, calibration=calibration)
    scores = score_store(model, record, store, compute.device)
    of_each = store.sequence_of[context.split.valid]
    values = np.concatenate(
        [scores.surprisals.values[store.offsets[u] : store.offsets[u + 1]] for u in of_each]
    )
    assert loss == pytest.approx(float(values.mean()), rel=1e-6)
    assert calibration.sessions == len(of_each) == 42
    assert calibration.highest_event == pytest.approx(float(values.max()))


def test_the_calibration_is_that_of_the_held_out_sessions_as_inference_scores_them(
    context: RunContext, model: MaskedModel, store: Store, vocabulary: Vocabulary, compute: Compute
) -> None:
    _, calibration = validate(context, model, context.valid_pieces())
    record = ModelRecord(vocabulary=vocabulary, calibration=calibration)
    scores = score_store(model, record, store, compute.device).score[store.sequence_of[context.split.valid]]
    np.testing.assert_allclose(np.sort(scores), calibration.scores, atol=1e-3)
    assert np.median(scores) == pytest.approx(0, abs=0.2)


def test_a_request_is_heard_while_validating(context: RunContext, model: MaskedModel, run: RunLayout) -> None:
    control.request(run, "pause")
    with pytest.raises(Interrupted, match="asked to pause"):
        validate(context, model, context.valid_pieces())


def test_validation_draws_no_random_number_and_changes_no_weight(
    context: RunContext, model: MaskedModel, tmp_path: Path
) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    one, _ = validate(context, model, context.valid_pieces())
    model.train()
    again, _ = validate(context, model, context.valid_pieces())
    assert one == again
    assert all((model.state_dict()[name] == tensor).all() for name, tensor in before.items())
